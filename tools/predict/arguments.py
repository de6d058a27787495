"""The arguments of the command line."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from api import VERSION
from engine.drawing import check_font
from engine.tasks.task import MAX_TOP_K
from tools.predict.formats import FORMATS
from tools.predict.service import KEY_VARIABLE

_EVERY = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0}

_EXAMPLES = f"""\
examples:
  python run_locally.py cat.jpg                             a table of labels and scores, and the time of each stage
  python run_locally.py holiday/ --json                     one JSON object a line
  python run_locally.py < cat.jpg                           the picture from stdin
  python run_locally.py holiday/ --save out                 annotated copies, masks and vectors
  python run_locally.py holiday/ --save out --format coco   and out/coco.json
  python run_locally.py holiday/ --save out --format coco --resume
                                                            continue after an interruption
  python run_locally.py 'trips/**/*.jpg' photos.zip --format csv > answers.csv
  python run_locally.py street.mp4 --every 500ms --model picodet-s-416 --classes person,car --save out --crops
  python run_locally.py inbox/ --save out --watch           pictures as they arrive, until Ctrl-C
  python run_locally.py holiday/ --url http://127.0.0.1:8000 --json
                                                            a running service answers ({KEY_VARIABLE} has the key)

Exit status: 0; 1 if a picture failed or a path does not exist (each is named on stderr); 2 for wrong arguments, an
invalid setting or a model that cannot be loaded; 130 after Ctrl-C.
"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="run_locally.py",
        description="Runs a model on pictures, without a server.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="pictures, folders with sub-folders, patterns, zip archives, videos; -, or none in a pipe: stdin",
    )
    add_model_arguments(made)
    made.add_argument("--classes", metavar="A,B", help="only these labels or class ids")
    shape = made.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print one JSON object per line")
    shape.add_argument("--format", choices=FORMATS, help="print all results in this format, or save them with --save")
    made.add_argument("--save", type=Path, metavar="DIR", help="save annotated copies, masks and vectors below DIR")
    made.add_argument("--crops", action="store_true", help="with --save: the part of the picture in each box, too")
    made.add_argument(
        "--explain", action="store_true", help="with --save: a heat map of the best prediction, about 100 runs, too"
    )
    made.add_argument("--resume", action="store_true", help="with --save: skip what is finished in DIR")
    made.add_argument("--watch", action="store_true", help="wait for further pictures in the folders, until Ctrl-C")
    made.add_argument(
        "--every", type=_seconds, default=1.0, metavar="TIME", help="time between frames of a video; default: 1s"
    )
    made.add_argument("--font", type=_font, metavar="FILE", help="font of drawn labels; default: API_FONT")
    made.add_argument("--url", help="send the pictures to this running service")
    made.add_argument("--version", action="version", version=f"fovea {VERSION}")
    return made


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="name of the model; default: API_DEFAULT_MODEL")
    parser.add_argument("--top-k", type=_top_k, metavar="N", help="most predictions; default: 5 labels, 100 boxes")
    parser.add_argument("--threshold", type=_score, metavar="SCORE", help="least score; default: the model's own")


def problem_of(options: argparse.Namespace, paths: Sequence[str]) -> str | None:
    """What is wrong with the arguments together."""
    if options.save is None:
        needed = [f"--{name}" for name in ("crops", "explain", "resume") if getattr(options, name)]
        if needed or options.format == "yolo":
            return f"{needed[0] if needed else '--format yolo'} needs --save DIR"
    if options.watch and not any(Path(path).is_dir() for path in paths):
        return "--watch needs a folder"
    if options.watch and options.format not in (None, "ndjson") and options.save is None:
        return f"--watch with --format {options.format} needs --save DIR"
    return _overlap(options.save, paths) if options.save else None


def _overlap(save: Path, paths: Sequence[str]) -> str | None:
    """Nothing is written where pictures are read: the next run would read it."""
    folder = save.resolve()
    for path in map(Path, paths):
        inside = path.resolve()
        if inside.is_relative_to(folder) or (path.is_dir() and folder.is_relative_to(inside)):
            return f"--save {save} and {path} contain each other: choose a folder outside the pictures"
    return None


def _top_k(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_TOP_K:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_TOP_K}")
    return int(text)


def _score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0 <= score <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return score


def _seconds(text: str) -> float:
    found = _EVERY.fullmatch(text)
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 1s, 500ms or 2m")
    return seconds


def _font(text: str) -> Path:
    try:
        check_font(Path(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    return Path(text)
