"""What is printed: a table for each picture, JSON lines, errors and the summary."""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

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
from loaders.repository.specs.model_spec import TaskName
from tools.predict.journal import Record
from tools.predict.predictor import Answered

errors = Console(stderr=True)


def print_error(path: str, reason: str) -> None:
    errors.print(f"{path}: {reason}", markup=False, highlight=False, soft_wrap=True)


def print_json(result: Record) -> None:
    sys.stdout.write(orjson.dumps(result).decode() + "\n")


def print_table(shown: str, answered: Answered, saved: Iterable[str], folder: Path | None) -> None:
    image = answered.image
    table = Table()
    for name in _COLUMNS[answered.model.task]:  # a Column keeps its cells, so each table needs its own
        table.add_column(name, justify="right" if name == _SCORE else "left")
    for prediction in answered.predictions:
        table.add_row(*[escape(cell) for cell in _cells(prediction)])
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{shown}  {image.format} {image.width} x {image.height}", markup=False)
    console.print(table)
    console.print("  ".join(f"{stage} {ms:.1f} ms" for stage, ms in answered.timings_ms.items()))
    for path in saved:
        console.print(f"saved {folder}/{path}", markup=False)


def print_saved(saved: Counter[str], folder: Path) -> None:
    """What was saved and where, by folder or file."""
    table = Table("saved", Column("files", justify="right"), Column("where", overflow="fold"))
    for kind, count in sorted(saved.items()):
        table.add_row(escape(kind), f"{count:,}", escape(str(folder / kind)))
    errors.print(table)


def progress(total: int | None, *, shown: bool) -> Progress:
    """A bar on stderr with rate and time left."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
        console=errors, disable=not shown, transient=True, redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip
    bar.add_task("Pictures", total=total)
    return bar


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


_SCORE = "score"
_COLUMNS: dict[TaskName, tuple[str, ...]] = {
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
