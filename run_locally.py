"""The same pipeline on files, folders or stdin, without a server.

    python run_locally.py cat.jpg            a table of labels and scores, and the time of each stage
    python run_locally.py holiday/ --json    one JSON object a line
    python run_locally.py - < cat.jpg        the picture from stdin
    python run_locally.py                    asks for the path

Exit status: 0; 1 when some picture failed (each is named on stderr); 2 for a wrong call or a model that cannot run.
"""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
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
from engine.tasks.predictions import Classification, Detection, Embedding, OutputTensor, Prediction, Segment
from engine.tasks.task import MAX_TOP_K, InvalidOutputError, PredictOptions
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageLoader, ImageLoaderOptions
from loaders.images.errors import ImageError
from loaders.model_errors import ModelError, ModelRunError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.repository.model_state import ModelStateFile
from loaders.repository.specs.model_spec import TaskName
from loaders.runtimes.base import SessionOptions
from utils.blas import one_blas_thread
from utils.cpu_budget import cpu_budget
from utils.stdin_loader import ask_for_path, read_stdin
from utils.time_utils import StageTimer

STDIN = "-"
_PICTURE_SUFFIXES = {
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
}  # fmt: skip
_OK, _SOME_FAILED, _USAGE = 0, 1, 2

_errors = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; a wrong call raises SystemExit(2)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    paths = options.paths or [path for path in [ask_for_path()] if path]
    if not paths:
        parser.error("no picture given")
    one_blas_thread()
    try:
        settings = load_settings()
        pictures = list(_find_pictures(paths))
        model = _load_model(settings, options.model)
    except (SettingsError, ModelError, OSError) as error:
        parser.error(str(error))
    limits = ImageLoaderOptions(settings.max_image_pixels, settings.accept_truncated)
    loader = create_image_loader(settings.image_loader, limits)
    predict_options = PredictOptions(options.top_k)
    return _run(pictures, model, loader, predict_options, as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Labels pictures without a server.")
    parser.add_argument("paths", nargs="*", metavar="PICTURE", help="files or folders; - reads a picture from stdin")
    parser.add_argument("--model", metavar="NAME", help="the model that answers; default: API_DEFAULT_MODEL")
    parser.add_argument("--top-k", type=_top_k, metavar="N", help="at most so many; default: 5 labels or 100 boxes")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    return parser


def _top_k(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_TOP_K:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_TOP_K}")
    return int(text)


def _find_pictures(paths: Sequence[str]) -> Iterator[str]:
    """A folder gives the pictures in it and below it, by their suffix, in order of name."""
    for path in paths:
        if path == STDIN or Path(path).is_file():
            yield path
        elif Path(path).is_dir():
            found = [str(p) for p in sorted(Path(path).rglob("*")) if p.suffix.lower() in _PICTURE_SUFFIXES]
            if not found:
                raise FileNotFoundError(f"no picture in the folder {path}")
            yield from found
        else:
            raise FileNotFoundError(f"there is no file or folder {path}")


def _load_model(settings: ApiSettings, name: str | None) -> LoadedModel:
    """What the service would serve; one picture at a time, so one run gets all cores."""
    catalog = ModelRepository(settings.models_dir).scan().catalog
    choices = ModelStateFile(settings.models_dir).read()
    default = DefaultModel(settings.default_model)
    default.update(catalog, choices)
    version = choices.version(catalog, name or default.name)
    options = SessionOptions(settings.providers, threads=cpu_budget())
    model_loader = create_model_loader(settings.model_loader)
    return load_model(version, model_loader, options, exact_decode=settings.exact_decode)


def _run(
    pictures: Sequence[str], model: LoadedModel, loader: ImageLoader, options: PredictOptions, *, as_json: bool
) -> int:
    failed = 0
    several = len(pictures) > 1 and _errors.is_terminal
    for path in track(pictures, "Pictures", console=_errors, disable=not several, transient=True):
        timer = StageTimer()
        try:
            data = read_stdin() if path == STDIN else Path(path).read_bytes()
            [answer] = predict([model], loader, data, options, alone(timer, cpu_budget()))
        except (ImageError, InvalidOutputError, ModelRunError, MemoryError, OSError) as error:
            failed += 1
            reason = error.strerror if isinstance(error, OSError) else str(error)
            _errors.print(f"{path}: {reason}", markup=False, highlight=False, soft_wrap=True)
            continue
        timer.stop()
        show = _show_json if as_json else _show_table
        show(path, answer, timer.as_ms())
    return _SOME_FAILED if failed else _OK


def _show_json(path: str, answer: Answer, timings_ms: dict[str, float]) -> None:
    image = {
        "filename": path,
        "format": answer.image.format,
        "width": answer.image.width,
        "height": answer.image.height,
    }
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
    TaskName.IMAGE_SEGMENTATION: ("label", _SCORE, "mask"),
    TaskName.IMAGE_FEATURE_EXTRACTION: ("dimensions", "embedding"),
    TaskName.TENSOR: ("output", "dtype", "shape"),
}


def _cells(prediction: Prediction) -> tuple[str, ...]:
    """What fits a line; --json has all of it."""
    match prediction:
        case Classification(label=label, score=score):
            return label, f"{score:.4f}"
        case Detection(label=label, score=score, box=box):
            return label, f"{score:.4f}", f"{box.xmin:.1f}, {box.ymin:.1f}, {box.xmax:.1f}, {box.ymax:.1f}"
        case Segment(label=label, score=score, mask=mask):
            return label, "" if score is None else f"{score:.4f}", f"PNG, {len(mask) * 3 // 4:,} bytes"
        case Embedding(dimensions=dimensions, embedding=list(embedding)):
            return str(dimensions), ", ".join(f"{value:.4f}" for value in embedding[:4]) + ", ..."
        case OutputTensor(name=name, dtype=dtype, shape=shape):
            return name, dtype, " x ".join(map(str, shape))
        case _:
            return (str(prediction),)


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` may close the pipe
    sys.exit(main())
