"""Graphs of a few hundred bytes that output constants in the layouts of real exports.

A `Thing` is an object in the input's pixels; each function lays things out like the exporter of one head.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.preprocessing.geometry import Frame, place
from engine.tasks import create_task
from engine.tasks.predictions import Prediction
from engine.tasks.task import PredictOptions
from loaders.images.base import Size
from loaders.model_loader import create_model_loader
from loaders.repository.specs.model_spec import Head, ModelSpec, PreprocessSpec, Resize
from loaders.runtimes.base import Session, SessionOptions

Array = NDArray[np.float32]
Outputs = dict[str, NDArray[Any]]

TARGET = Size(64, 64)
CLASSES = 3


@dataclass(frozen=True)
class Thing:
    """`box`: xmin, ymin, xmax, ymax in the input's pixels."""

    box: tuple[float, float, float, float]
    class_id: int
    score: float


def constant_graph(outputs: Mapping[str, NDArray[Any]], open_dims: bool = False) -> onnx.ModelProto:
    """Outputs constants for any picture of TARGET's size. `open_dims`: their shapes are dynamic."""
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, TARGET.height, TARGET.width])
    nodes = [helper.make_node("Identity", [f"{name}_constant"], [name]) for name in outputs]
    constants = [numpy_helper.from_array(array, f"{name}_constant") for name, array in outputs.items()]
    infos = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(array.dtype),
            [f"{name}_{i}" for i in range(array.ndim)] if open_dims else array.shape,
        )
        for name, array in outputs.items()
    ]
    graph = helper.make_graph(nodes, "constant", [image], infos, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def paddle_graph(things: Sequence[Thing]) -> onnx.ModelProto:
    """PaddleDetection's export with NMS: `scale_factor` (down, across) scales its boxes to the picture's pixels."""
    rows = paddle_nms(things)["rows"]
    nodes = [
        helper.make_node("Gather", ["scale_factor", "across_down"], ["scale"], axis=1),
        helper.make_node("Concat", ["one", "scale", "scale"], ["divisors"], axis=1),
        helper.make_node("Div", ["input_rows", "divisors"], ["rows"]),
        helper.make_node("Identity", ["known"], ["count"]),
    ]
    constants = [
        numpy_helper.from_array(rows, "input_rows"),
        numpy_helper.from_array(np.array([1, 0]), "across_down"),
        numpy_helper.from_array(np.ones((1, 2), np.float32), "one"),
        numpy_helper.from_array(np.array([len(things)], np.int32), "known"),
    ]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, TARGET.height, TARGET.width]),
        helper.make_tensor_value_info("scale_factor", TensorProto.FLOAT, [1, 2]),
    ]
    outputs = [
        helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["rows", 6]),
        helper.make_tensor_value_info("count", TensorProto.INT32, [1]),
    ]
    graph = helper.make_graph(nodes, "paddle", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def open_session(folder: Path, graph: onnx.ModelProto) -> Session:
    path = folder / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    return create_model_loader("onnxruntime").load(path, SessionOptions())


def answer(
    folder: Path, outputs: Outputs, spec: ModelSpec, frame: Frame, options: PredictOptions | None = None
) -> list[Prediction]:
    """Predictions of the task for a graph that outputs constants, checked and run with ONNX Runtime."""
    session = open_session(folder, constant_graph(outputs))
    task = create_task(spec)
    task.check(session)
    picture = np.zeros((1, 3, TARGET.height, TARGET.width), np.float32)
    return task.postprocess(session.run({"images": picture}), frame, options or PredictOptions())


def frame_of(picture: Size, resize: Resize, target: Size = TARGET) -> Frame:
    return Frame(picture, place(picture, PreprocessSpec(resize=resize), target), target)


def yolov5(things: Sequence[Thing]) -> Outputs:
    rows = [[*_centre(t.box), 0.95, *_one_hot(t, t.score / 0.95)] for t in things]
    return {"output0": _rows(rows, 5 + CLASSES)}


def yolov8(things: Sequence[Thing]) -> Outputs:
    rows = _rows([[*_centre(t.box), *_one_hot(t, t.score)] for t in things], 4 + CLASSES)
    return {"output0": np.ascontiguousarray(rows.transpose(0, 2, 1))}


def end_to_end(things: Sequence[Thing]) -> Outputs:
    """300 rows, most of them unused, as in exports of Ultralytics."""
    rows = _rows([[*t.box, t.score, t.class_id] for t in things], 6)
    return {"output0": np.concatenate([rows, np.zeros((1, 300 - len(things), 6), np.float32)], axis=1)}


def boxes_scores(things: Sequence[Thing]) -> Outputs:
    """(N, C, B), as in PicoDet."""
    scores = _rows([_one_hot(t, t.score) for t in things], CLASSES)
    return {"boxes": _rows([t.box for t in things], 4), "scores": np.ascontiguousarray(scores.transpose(0, 2, 1))}


def boxes_scores_last(things: Sequence[Thing]) -> Outputs:
    """(N, B, C)."""
    return {
        "boxes": _rows([t.box for t in things], 4),
        "scores": _rows([_one_hot(t, t.score) for t in things], CLASSES),
    }


def paddle_nms(things: Sequence[Thing]) -> Outputs:
    """Boxes in the original picture's pixels, and more rows than `count`, as in padded outputs of Paddle."""
    rows = _rows([[t.class_id, t.score, *t.box] for t in things], 6)[0]
    return {
        "rows": np.concatenate([rows, np.full((2, 6), -1, np.float32)]),
        "count": np.array([len(things)], np.int32),
    }


def detr(things: Sequence[Thing]) -> Outputs:
    """The last class is "no object", with the remaining probability."""
    logits = np.full((1, len(things), CLASSES + 1), -40, np.float32)
    for i, thing in enumerate(things):
        logits[0, i, thing.class_id] = np.log(thing.score)
        logits[0, i, -1] = np.log1p(-thing.score)
    return {"logits": logits, "pred_boxes": _fractions(things)}


def ultralytics_rt_detr(things: Sequence[Thing]) -> Outputs:
    scores = _rows([_one_hot(t, t.score) for t in things], CLASSES)
    return {"output0": np.concatenate([_fractions(things), scores], axis=2)}


def ultralytics_rt_detr_top_k(things: Sequence[Thing]) -> Outputs:
    best = _rows([[t.score, t.class_id] for t in things], 2)
    return {"output0": np.concatenate([_fractions(things), best], axis=2)}


def rt_detr(things: Sequence[Thing]) -> Outputs:
    logits = np.full((1, len(things), CLASSES), -40, np.float32)
    for i, thing in enumerate(things):
        logits[0, i, thing.class_id] = np.log(thing.score / (1 - thing.score))
    return {"logits": logits, "pred_boxes": _fractions(things)}


def yolo_masks(things: Sequence[Thing], coefficients: Array, prototypes: Array) -> Outputs:
    """`coefficients` (B, K), `prototypes` (K, h, w)."""
    rows = [[*_centre(t.box), *_one_hot(t, t.score), *row] for t, row in zip(things, coefficients, strict=True)]
    columns = _rows(rows, 4 + CLASSES + len(prototypes)).transpose(0, 2, 1)
    return {"output0": np.ascontiguousarray(columns), "output1": prototypes[None]}


def yolo_masks_end_to_end(things: Sequence[Thing], coefficients: Array, prototypes: Array) -> Outputs:
    rows = [[*t.box, t.score, t.class_id, *row] for t, row in zip(things, coefficients, strict=True)]
    return {"output0": _rows(rows, 6 + len(prototypes)), "output1": prototypes[None]}


LAYOUTS: dict[str, tuple[Head, Callable[[Sequence[Thing]], Outputs]]] = {
    "yolov5": (Head.YOLOV5, yolov5),
    "yolov8": (Head.YOLOV8, yolov8),
    "end-to-end": (Head.END_TO_END, end_to_end),
    "boxes-scores": (Head.BOXES_SCORES, boxes_scores),
    "boxes-scores, classes last": (Head.BOXES_SCORES, boxes_scores_last),
    "paddle-nms": (Head.PADDLE_NMS, paddle_nms),
    "detr": (Head.DETR, detr),
    "rt-detr": (Head.RT_DETR, ultralytics_rt_detr),
    "rt-detr-top-k": (Head.RT_DETR_TOP_K, ultralytics_rt_detr_top_k),
}


def _rows(rows: Sequence[Sequence[float]], width: int) -> Array:
    """(1, B, width)."""
    return np.asarray(rows, np.float32).reshape(1, len(rows), width)


def _one_hot(thing: Thing, score: float) -> list[float]:
    return [score if class_id == thing.class_id else 0.0 for class_id in range(CLASSES)]


def _centre(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    xmin, ymin, xmax, ymax = box
    return (xmin + xmax) / 2, (ymin + ymax) / 2, xmax - xmin, ymax - ymin


def _fractions(things: Sequence[Thing]) -> Array:
    centres = _rows([_centre(t.box) for t in things], 4)
    return np.asarray(centres / np.array([TARGET.width, TARGET.height] * 2), np.float32)
