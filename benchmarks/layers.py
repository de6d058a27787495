"""The cost of each layer between the bare loop and a request, measured by adding one layer after another.

.venv/bin/python -m benchmarks.layers [ROUNDS] [PICTURE]

Prints pictures a second on all cores, medians of interleaved rounds, and each layer's share of the first.
"""

import asyncio
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from time import perf_counter

import uvloop

from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel
from engine.models.tuner import Tuner
from engine.pipeline import predict
from engine.scheduling.run_context import alone, completed
from engine.scheduling.scheduler import Scheduler
from engine.tasks.task import PredictOptions
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageLoader
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import SessionOptions
from utils.blas import one_blas_thread
from utils.cpu_budget import cpu_budget
from utils.time_utils import StageTimer

_ROOT = Path(__file__).parent.parent
_MODEL, _PICTURE = "efficientnet-lite0", _ROOT / "tests" / "data" / "cat.jpg"
_SECONDS, _CONNECTIONS = 2.0, 8
_CORES = cpu_budget()


@cache
def _parts() -> tuple[LoadedModel, ImageLoader]:
    """Model and image loader as in the service, made once in each process."""
    one_blas_thread()
    version = ModelRepository(_ROOT / "models").find(_MODEL)
    loader, options = create_model_loader("onnxruntime"), SessionOptions(cache=_ROOT / ".cache")
    model = Tuner(loader, options, _CORES)(load_model(version, loader, options), version)
    return model, create_image_loader("opencv")


def _bare(data: bytes) -> None:
    model, loader = _parts()
    picture = loader.load(data, model.preprocessor.decode_size)
    model.infer(model.preprocessor(picture), model.preprocessor.frame(picture.info.size))


def _whole(data: bytes) -> None:
    model, loader = _parts()
    completed(predict([model], loader, data, PredictOptions(), alone(StageTimer())))


def _loop(step: Callable[[bytes], None], data: bytes, seconds: float = _SECONDS) -> float:
    """Pictures a second."""
    step(data)
    done, started = 0, perf_counter()
    while (passed := perf_counter() - started) < seconds:
        step(data)
        done += 1
    return done / passed


def _in_threads(step: Callable[[bytes], None], data: bytes) -> float:
    _parts()
    with ThreadPoolExecutor(_CORES) as threads:
        return sum(threads.map(partial(_loop, step), [data] * _CORES))


def _in_processes(processes: ProcessPoolExecutor, data: bytes) -> float:
    return sum(processes.map(partial(_loop, _bare), [data] * _CORES))


async def _scheduled(data: bytes) -> float:
    """Eight requests in flight, as with eight connections."""
    model, loader = _parts()
    scheduler, done, started = Scheduler(_CORES, _CONNECTIONS, _CORES), 0, perf_counter()

    async def ask() -> None:
        nonlocal done
        while perf_counter() - started < _SECONDS:
            work = partial(predict, [model], loader, data, PredictOptions())
            await scheduler.run(work, StageTimer(), _MODEL)
            done += 1

    await asyncio.gather(*[ask() for _ in range(_CONNECTIONS)])
    passed = perf_counter() - started
    scheduler.close()
    return done / passed


def main(arguments: Sequence[str]) -> None:
    rounds = int(arguments[0]) if arguments else 5
    data = Path(arguments[1] if len(arguments) > 1 else _PICTURE).read_bytes()
    with ProcessPoolExecutor(_CORES) as processes:
        list(processes.map(partial(_loop, _bare, seconds=0.2), [data] * _CORES))
        layers: dict[str, Callable[[], float]] = {
            "decode, preprocess and run, a process a core": partial(_in_processes, processes, data),
            "the same, a thread a core of one process": partial(_in_threads, _bare, data),
            "and the answer: scores, labels, checks, times": partial(_in_threads, _whole, data),
            "and the scheduler, eight requests in flight": lambda: uvloop.run(_scheduled(data)),
        }
        figures: dict[str, list[float]] = {name: [] for name in layers}
        for _ in range(rounds):
            for name, measure in layers.items():
                figures[name].append(measure())
    first = next(iter(figures.values()))
    for name, rates in figures.items():
        share = statistics.median(rate / best for rate, best in zip(rates, first, strict=True))
        print(f"{name:<50}{statistics.median(rates):>8.1f}/s{share:>8.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
