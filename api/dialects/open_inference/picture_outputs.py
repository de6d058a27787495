"""Predictions as tensors: what the picture face of a model returns.

A picture has as many rows as predictions. Among several pictures, those with fewer are filled up with empty rows, and
`count` says how many are theirs.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from api.problems import InvalidRequestError
from engine.tasks.predictions import OutputTensor, Prediction
from loaders.repository.specs.model_spec import TaskName
from loaders.tensors import Tensor, TensorInfo

COUNT = "count"
_NO_SCORE = -1.0


@dataclass(frozen=True, slots=True)
class Column:
    """A value that every prediction of a task has. `sides`: its own dimensions, -1 if the model decides."""

    name: str
    dtype: str
    read: Callable[[Any], Any]
    sides: tuple[int, ...] = ()


def _box(prediction: Any) -> tuple[float, ...]:  # noqa: ANN401 - a prediction with or without a box
    box = getattr(prediction, "box", None)
    return (box.xmin, box.ymin, box.xmax, box.ymax) if box else (0.0,) * 4


_LABEL = Column("label", "object", lambda p: p.label.encode())
_CLASS_ID = Column("class_id", "int32", lambda p: p.class_id)
_SCORE = Column("score", "float32", lambda p: _NO_SCORE if p.score is None else p.score)
_BOX = Column("box", "float32", _box, (4,))
_JSON = Column("prediction", "object", orjson.dumps)
_COLUMNS: dict[TaskName, tuple[Column, ...]] = {
    TaskName.IMAGE_CLASSIFICATION: (_LABEL, _CLASS_ID, _SCORE),
    TaskName.OBJECT_DETECTION: (_LABEL, _CLASS_ID, _SCORE, _BOX, _JSON),
    TaskName.KEYPOINT_DETECTION: (_LABEL, _CLASS_ID, _SCORE, _BOX, _JSON),
    TaskName.IMAGE_SEGMENTATION: (
        _LABEL,
        _CLASS_ID,
        _SCORE,
        _BOX,
        Column("mask", "object", lambda p: base64.b64decode(p.mask)),
    ),
    TaskName.IMAGE_FEATURE_EXTRACTION: (
        Column("embedding", "float32", lambda p: np.frombuffer(base64.b64decode(p.embedding), "<f4"), (-1,)),
    ),
    TaskName.DEPTH_ESTIMATION: (
        Column("depth", "object", lambda p: base64.b64decode(p.depth)),
        Column("minimum", "float32", lambda p: p.minimum),
        Column("maximum", "float32", lambda p: p.maximum),
    ),
    TaskName.IMAGE_TO_TEXT: (Column("generated_text", "object", lambda p: p.generated_text.encode()), _SCORE),
}
# Tasks with exactly one prediction for each picture.
_ONE = {TaskName.IMAGE_FEATURE_EXTRACTION, TaskName.DEPTH_ESTIMATION, TaskName.IMAGE_TO_TEXT}


def output_infos(task: TaskName) -> list[TensorInfo]:
    """The outputs of every task but `tensor`, whose outputs are those of the graph."""
    infos = [TensorInfo(c.name, c.dtype, _shape(task, c)) for c in _COLUMNS[task]]
    return infos if task in _ONE else [*infos, TensorInfo(COUNT, "int32", (None, 1))]


def picture_outputs(task: TaskName, rows: Sequence[Sequence[Prediction]]) -> dict[str, Tensor]:
    """All outputs for the predictions of each picture. Raises InvalidRequestError."""
    if task is TaskName.TENSOR:
        return _joined(rows)
    width = max(len(row) for row in rows)
    outputs = {column.name: _fill(column, rows, width) for column in _COLUMNS[task]}
    if task is TaskName.IMAGE_FEATURE_EXTRACTION:
        return {name: array[:, 0] for name, array in outputs.items()}
    return outputs if task in _ONE else {**outputs, COUNT: np.array([[len(row)] for row in rows], np.int32)}


def join(name: str, arrays: Sequence[Tensor]) -> Tensor:
    """The outputs of several runs as one, whose first dimension is their number. Raises InvalidRequestError."""
    if len(arrays) == 1:
        return arrays[0]
    if any(array.shape != (1, *arrays[0].shape[1:]) for array in arrays):
        raise InvalidRequestError(
            f"the output '{name}' has no dimension for several pictures; send them in requests of their own"
        )
    return np.concatenate(arrays)


def _joined(rows: Sequence[Sequence[Any]]) -> dict[str, Tensor]:
    found: dict[str, list[Tensor]] = {}
    for row in rows:
        for output in row:
            found.setdefault(output.name, []).append(_array(output))
    return {name: join(name, arrays) for name, arrays in found.items()}


def _array(output: OutputTensor) -> Tensor:
    dtype = np.dtype(output.dtype).newbyteorder("<")
    return (
        np.frombuffer(base64.b64decode(str(output.data)), dtype).astype(output.dtype, copy=False).reshape(output.shape)
    )


def _shape(task: TaskName, column: Column) -> tuple[int | None, ...]:
    if task is TaskName.IMAGE_FEATURE_EXTRACTION:
        return (None, None)
    return (None, 1 if task in _ONE else None, *column.sides)


def _fill(column: Column, rows: Sequence[Sequence[Prediction]], width: int) -> Tensor:
    sides = column.sides
    if -1 in sides and width:
        sides = np.shape(column.read(rows[0][0]))
    filled = np.full((len(rows), width, *sides), b"" if column.dtype == "object" else 0, column.dtype)
    for index, row in enumerate(rows):
        for place, prediction in enumerate(row):
            filled[index, place] = column.read(prediction)
    return filled
