"""Runs the service's pipeline on files, folders or stdin, without a server.

    python run_locally.py cat.jpg            a table of labels and scores, and the time of each stage
    python run_locally.py holiday/ --json    one JSON object per line
    python run_locally.py < cat.jpg          the picture from stdin
    python run_locally.py                    on a terminal: asks for a path

Exit status: 0; 1 if a picture failed or a path does not exist (each is named on stderr); 2 for wrong arguments, an
invalid setting or a model that cannot be loaded.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Column, Table

from api.settings import ApiSettings, SettingsError, load_settings
from engine.models.default_model import DefaultModel
from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel
from engine.pipeline import Answer, predict
from engine.scheduling.run_context import alone
from engine.tasks.predictions import (
    Classification,
    DepthMap,
    Detection,
    Embedding,
    GeneratedText,
    OutputTensor,
    Prediction,
    Segment,
)
from engine.tasks.task import MAX_TOP_K, InvalidOutputError, PredictOptions
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageLoader, ImageLoaderOptions
from loaders.images.errors import ImageError
from loaders.images.formats import picture_files
from loaders.model_errors import ModelError, ModelRunError
from loaders.model_loader import DEFAULT_MODEL_LOADER, create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.repository.model_state import ModelStateFile
from loaders.repository.specs.model_spec import TaskName
from loaders.runtimes.base import SessionOptions
from utils.blas import one_blas_thread
from utils.cpu_budget import cpu_budget
from utils.stdin_loader import ask_for_path, read_stdin
from utils.time_utils import StageTimer

STDIN = "-"
_OK, _SOME_FAILED, _USAGE = 0, 1, 2

_errors = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status. Raises SystemExit(2) for wrong arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    paths = options.paths or _default_paths()
    if not paths:
        parser.error("no picture given")
    one_blas_thread()
    try:
        settings = load_settings()
        model = _load_model(settings, options.model)
    except (SettingsError, ModelError, OSError) as error:
        parser.error(str(error))
    limits = ImageLoaderOptions(settings.max_image_pixels, settings.accept_truncated)
    loader = create_image_loader(settings.image_loader, limits)
    predict_options = PredictOptions(options.top_k)
    pictures, missing = _find_pictures(paths)
    failed = _run(pictures, model, loader, predict_options, as_json=options.json)
    return _SOME_FAILED if failed or missing else _OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Runs a model on pictures, without a server.")
    parser.add_argument("paths", nargs="*", metavar="PICTURE", help="files or folders; -, or none in a pipe: stdin")
    parser.add_argument("--model", metavar="NAME", help="name of the model; default: API_DEFAULT_MODEL")
    parser.add_argument("--top-k", type=_top_k, metavar="N", help="most predictions; default: 5 labels, 100 boxes")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    return parser


def _top_k(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_TOP_K:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_TOP_K}")
    return int(text)


def _default_paths() -> list[str]:
    """Asks on a terminal; otherwise standard input is the picture."""
    if not sys.stdin.isatty():
        return [STDIN]
    path = ask_for_path()
    return [path] if path else []


def _find_pictures(paths: Sequence[str]) -> tuple[list[str], int]:
    """Returns the pictures of all paths, those of a folder sorted, and the number of paths without any."""
    found: list[str] = []
    missing = 0
    for path in paths:
        if path == STDIN or Path(path).is_file():
            found.append(path)
            continue
        try:
            found += map(str, picture_files(Path(path)))
        except FileNotFoundError as error:
            missing += 1
            _print_error(path, str(error))
    return found, missing


def _load_model(settings: ApiSettings, name: str | None) -> LoadedModel:
    """The version that the service would use, with all cores for one run."""
    catalog = ModelRepository(settings.models_dir).scan().catalog
    choices = ModelStateFile(settings.models_dir).read()
    default = DefaultModel(settings.default_model)
    default.update(catalog, choices)
    version = choices.version(catalog, name or default.name)
    options = SessionOptions(settings.providers, threads=cpu_budget())
    model_loader = create_model_loader(DEFAULT_MODEL_LOADER)
    return load_model(version, model_loader, options, exact_decode=settings.exact_decode)


def _run(
    pictures: Sequence[str], model: LoadedModel, loader: ImageLoader, options: PredictOptions, *, as_json: bool
) -> int:
    """Returns the number of pictures that failed."""
    failed = 0
    several = len(pictures) > 1 and _errors.is_terminal
    for path in track(pictures, "Pictures", console=_errors, disable=not several, transient=True):
        timer = StageTimer()
        try:
            data = read_stdin() if path == STDIN else Path(path).read_bytes()
            [answer] = predict([model], loader, data, options, alone(timer, cpu_budget()))
        except (ImageError, InvalidOutputError, ModelRunError, MemoryError, OSError) as error:
            failed += 1
            _print_error(path, error.strerror or str(error) if isinstance(error, OSError) else str(error))
            continue
        timer.stop()
        show = _show_json if as_json else _show_table
        show(path, answer, timer.as_ms())
    return failed


def _print_error(path: str, reason: str) -> None:
    _errors.print(f"{path}: {reason}", markup=False, highlight=False, soft_wrap=True)


def _show_json(path: str, answer: Answer, timings_ms: dict[str, float]) -> None:
    image: dict[str, object] = {
        "filename": path,
        "format": answer.image.format,
        "width": answer.image.width,
        "height": answer.image.height,
    }
    if answer.image.alpha:
        image["alpha"] = True
    line = {
        "model": answer.model,
        "image": image,
        "predictions": answer.predictions,
        "timings_ms": timings_ms,
    }
    sys.stdout.write(orjson.dumps(line).decode() + "\n")


def _show_table(path: str, answer: Answer, timings_ms: dict[str, float]) -> None:
    image = answer.image
    table = Table(*_COLUMNS[answer.model.task])
    for prediction in answer.predictions:
        table.add_row(*[escape(cell) for cell in _cells(prediction)])
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{path}  {image.format} {image.width} x {image.height}", markup=False)
    console.print(table)
    console.print("  ".join(f"{stage} {ms:.1f} ms" for stage, ms in timings_ms.items()))


_SCORE = Column("score", justify="right")
_COLUMNS: dict[TaskName, tuple[Column | str, ...]] = {
    TaskName.IMAGE_CLASSIFICATION: ("label", _SCORE),
    TaskName.OBJECT_DETECTION: ("label", _SCORE, "box: xmin, ymin, xmax, ymax"),
    TaskName.KEYPOINT_DETECTION: ("label", _SCORE, "box: xmin, ymin, xmax, ymax"),
    TaskName.IMAGE_SEGMENTATION: ("label", _SCORE, "mask"),
    TaskName.DEPTH_ESTIMATION: ("minimum", "maximum", "depth"),
    TaskName.IMAGE_TO_TEXT: ("text", _SCORE),
    TaskName.IMAGE_FEATURE_EXTRACTION: ("dimensions", "embedding"),
    TaskName.TENSOR: ("output", "dtype", "shape"),
}


def _cells(prediction: Prediction) -> tuple[str, ...]:
    """A row of the table, shortened; --json has everything."""
    cells: tuple[str, ...]
    match prediction:
        case Classification(label=text, score=score) | GeneratedText(generated_text=text, score=score):
            cells = text, f"{score:.4f}"
        case Detection(label=label, score=score, box=box):
            cells = label, f"{score:.4f}", f"{box.xmin:.1f}, {box.ymin:.1f}, {box.xmax:.1f}, {box.ymax:.1f}"
        case Segment(label=label, score=score, mask=mask):
            cells = label, "" if score is None else f"{score:.4f}", f"PNG, {len(mask) * 3 // 4:,} bytes"
        case DepthMap(minimum=minimum, maximum=maximum, depth=depth):
            cells = f"{minimum:.4g}", f"{maximum:.4g}", f"PNG, {len(depth) * 3 // 4:,} bytes"
        case Embedding(dimensions=dimensions, embedding=list(embedding)):
            cells = str(dimensions), ", ".join(f"{value:.4f}" for value in embedding[:4]) + ", ..."
        case OutputTensor(name=name, dtype=dtype, shape=shape):
            cells = name, dtype, " x ".join(map(str, shape))
        case _:
            cells = (str(prediction),)
    return cells


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # exits quietly when `| head` closes the pipe
    sys.exit(main())
