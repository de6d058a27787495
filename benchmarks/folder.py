"""run_locally.py on a folder of photos beside a bare loop over the same files, and the memory of both. Linux only.

.venv/bin/python -m benchmarks.folder [ROUNDS] [PHOTOS]

Each measurement runs in a separate process; the time runs from the loaded model to the last result. The command writes
CSV, so that it takes the way through its journal. The bare loop decodes, preprocesses and runs, on as many threads.
Processor time is the figure to read on a machine that is not idle.
"""

import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from api.environment import load_settings
from engine.models.load import load_model
from engine.models.tuner import Tuner
from engine.scheduling.run_plan import RunLimits
from loaders.image_loader import create_image_loader
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import SessionOptions
from tools.predict.arguments import parser
from tools.predict.command import Run
from tools.predict.sources import SourceFinder
from utils.blas import one_blas_thread
from utils.cpu_budget import cpu_budget
from utils.memory import keep_freed_memory

_ROOT = Path(__file__).parent.parent
_PICTURES = _ROOT / "tests" / "data" / "photos"
_MODEL = "efficientnet-lite0"
_WAYS = ("bare", "command")


def _bare(folder: Path) -> tuple[float, float]:
    version = ModelRepository(_ROOT / "models").find(_MODEL)
    model_loader, options, cores = create_model_loader("onnxruntime"), SessionOptions(), cpu_budget()
    loaded = load_model(version, model_loader, options)
    model = Tuner(model_loader, options, cores, limits=RunLimits(intra_op_threads=1, batch=1))(loaded, version)
    loader = create_image_loader("opencv")

    def run(file: Path) -> None:
        picture = loader.load(file.read_bytes(), model.preprocessor.decode_size)
        model.infer(model.preprocessor(picture), model.preprocessor.frame(picture.info.size))

    files = sorted(folder.iterdir())
    started, cpu_started = perf_counter(), process_time()
    with ThreadPoolExecutor(cores) as threads:
        for _ in threads.map(run, files):
            pass
    return perf_counter() - started, process_time() - cpu_started


def _command(folder: Path) -> tuple[float, float]:
    options = parser().parse_args([str(folder), "--format", "csv", "--model", _MODEL])
    finder = SourceFinder(options.paths)
    sources, _ = finder.find()
    run = Run(load_settings(), options, sources)
    started, cpu_started = perf_counter(), process_time()
    run.until_done(sources, finder)
    return perf_counter() - started, process_time() - cpu_started


def _child(way: str, folder: Path) -> None:
    one_blas_thread()
    keep_freed_memory()
    seconds, cpu_s = _bare(folder) if way == "bare" else _command(folder)
    peak_kib = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]
    print(f"{seconds} {cpu_s} {int(peak_kib) / 1024}", file=sys.stderr)


def _measure(way: str, folder: Path) -> tuple[float, float, float]:
    """Seconds, seconds of processor time, and the peak of the memory in MiB."""
    command = [sys.executable, "-m", "benchmarks.folder", way, str(folder)]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    seconds, cpu_s, peak_mib = map(float, done.stderr.split()[-3:])
    return seconds, cpu_s, peak_mib


def _fill(folder: Path, count: int) -> None:
    files = sorted(file for file in _PICTURES.iterdir() if file.suffix != ".json")
    folder.mkdir()
    for number in range(count):
        file = files[number % len(files)]
        (folder / f"{number:05}{file.suffix}").symlink_to(file)


def main(arguments: Sequence[str]) -> None:
    if arguments and arguments[0] in _WAYS:
        _child(arguments[0], Path(arguments[1]))
        return
    rounds = int(arguments[0]) if arguments else 5
    count = int(arguments[1]) if len(arguments) > 1 else 500
    with TemporaryDirectory() as temporary:
        few, many = Path(temporary, "few"), Path(temporary, "many")
        _fill(few, count)
        _fill(many, 4 * count)
        measured: dict[str, list[tuple[float, float, float]]] = {way: [] for way in _WAYS}
        for _ in range(rounds):
            for way in _WAYS:
                measured[way].append(_measure(way, few))
        peak = _measure("command", many)[2]
    for way in _WAYS:
        seconds, cpu_s, memory = (statistics.median(column) for column in zip(*measured[way], strict=True))
        print(f"{way:<10}{count / seconds:8.1f} photos/s  {cpu_s / count * 1e3:6.2f} ms CPU a photo  {memory:5.0f} MiB")
    for name, column in (("photos by the clock", 0), ("photos by processor time", 1)):
        pairs = zip(*measured.values(), strict=True)
        ratios = [bare[column] / command[column] for bare, command in pairs]
        print(f"{name}, command / bare: {statistics.median(ratios):.3f} ({', '.join(f'{one:.3f}' for one in ratios)})")
    print(f"peak of the command with {4 * count} photos: {peak:.0f} MiB")


if __name__ == "__main__":
    main(sys.argv[1:])
