"""A graph that a task cannot read is rejected at load with the reason."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.tasks import create_task
from engine.tasks.task import InvalidOutputError, PredictOptions
from loaders.images.base import Size
from loaders.model_errors import ModelSpecError
from loaders.repository.specs.model_spec import Head, ModelSpec, Resize, TaskName
from loaders.runtimes.base import RunStop, Session
from loaders.tensors import Tensor, TensorInfo
from tests.engine.tasks.graphs import constant_graph, frame_of, open_session

DETECTION, SEGMENTATION = TaskName.OBJECT_DETECTION, TaskName.IMAGE_SEGMENTATION
KEYPOINTS = TaskName.KEYPOINT_DETECTION
THREE = ("a", "b", "c")


def zeros(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


def session_of(folder: Path, outputs: list[NDArray[Any]], *, open_dims: bool = False) -> Session:
    return open_session(folder, constant_graph({f"out{i}": a for i, a in enumerate(outputs)}, open_dims=open_dims))


FITTING: list[tuple[TaskName, Head | None, list[NDArray[Any]]]] = [
    (DETECTION, Head.YOLOV5, [zeros(1, 20, 8)]),
    (DETECTION, Head.YOLOV8, [zeros(1, 7, 20)]),
    (DETECTION, Head.END_TO_END, [zeros(1, 20, 6)]),
    (DETECTION, Head.BOXES_SCORES, [zeros(1, 20, 4), zeros(1, 3, 20)]),
    (DETECTION, Head.BOXES_SCORES, [zeros(1, 20, 4), zeros(1, 20, 3)]),
    (DETECTION, Head.PADDLE_NMS, [zeros(20, 6), np.zeros(1, np.int32)]),
    (DETECTION, Head.DETR, [zeros(1, 20, 4), zeros(1, 20, 4)]),
    (SEGMENTATION, Head.SEMANTIC, [zeros(1, 3, 8, 8)]),
    (SEGMENTATION, Head.YOLO_MASKS, [zeros(1, 39, 20), zeros(1, 32, 8, 8)]),
    (SEGMENTATION, Head.YOLO_MASKS, [zeros(1, 20, 38), zeros(1, 32, 8, 8)]),
    (SEGMENTATION, Head.MATTE, [zeros(1, 1, 8, 8)]),
    (SEGMENTATION, Head.MASKFORMER, [zeros(1, 5, 4), zeros(1, 5, 8, 8)]),
    (SEGMENTATION, Head.MASK2FORMER, [zeros(1, 5, 4), zeros(1, 5, 8, 8)]),
    (DETECTION, Head.YOLO_OBB, [zeros(1, 8, 20)]),
    (DETECTION, Head.YOLO_OBB, [zeros(1, 20, 7)]),
    (KEYPOINTS, Head.YOLO_POSE, [zeros(1, 58, 20)]),
    (KEYPOINTS, Head.YOLO_POSE, [zeros(1, 20, 57)]),
    (TaskName.IMAGE_TO_TEXT, None, [zeros(1, 20, 3)]),
    (TaskName.DEPTH_ESTIMATION, None, [zeros(1, 8, 8)]),
    (TaskName.DEPTH_ESTIMATION, None, [zeros(1, 1, 8, 8)]),
    (SEGMENTATION, Head.CLASS_MAP, [np.zeros((1, 8, 8), np.uint8)]),
    (SEGMENTATION, Head.CLASS_MAP, [np.zeros((1, 1, 8, 8), np.int64)]),
    (TaskName.IMAGE_FEATURE_EXTRACTION, None, [zeros(1, 3)]),
    (TaskName.TENSOR, None, [zeros(1, 3)]),
]


@pytest.mark.parametrize(("task", "head", "outputs"), FITTING)
@pytest.mark.parametrize("open_dims", [False, True])
def test_a_matching_graph_passes_and_is_read(
    task: TaskName, head: Head | None, outputs: list[NDArray[Any]], open_dims: bool, tmp_path: Path
) -> None:
    reader = create_task(ModelSpec(task=task, head=head, labels=THREE))
    reader.check(session_of(tmp_path, outputs, open_dims=open_dims))
    answers = {f"out{i}": array for i, array in enumerate(outputs)}
    reader.postprocess(answers, frame_of(Size(30, 20), Resize.LETTERBOX), PredictOptions())


@pytest.mark.parametrize(
    ("task", "head", "outputs", "reason"),
    [
        (DETECTION, Head.YOLOV5, [zeros(1, 20, 85)], "3 labels, but the graph has 80 classes"),
        (DETECTION, Head.YOLOV8, [zeros(1, 84, 20)], "3 labels, but the graph has 80 classes"),
        (DETECTION, Head.YOLOV8, [zeros(1, 4, 20)], "have no classes"),
        (DETECTION, Head.YOLOV8, [zeros(7, 20)], "out0 has 2 dimensions, 3 are needed"),
        (DETECTION, Head.BOXES_SCORES, [zeros(1, 20, 4)], "2 outputs are needed; the graph has out0"),
        (DETECTION, Head.BOXES_SCORES, [zeros(1, 20, 4), zeros(1, 5, 20)], "3 labels, but the graph has 5"),
        (DETECTION, Head.DETR, [zeros(1, 20, 92), zeros(1, 20, 4)], "3 labels, but the graph has 91"),
        (DETECTION, Head.YUNET, [zeros(1, 20, 1)] * 3, "12 outputs are needed"),
        (SEGMENTATION, Head.SEMANTIC, [zeros(1, 21, 8, 8)], "3 labels, but the graph has 21"),
        (SEGMENTATION, Head.SEMANTIC, [zeros(1, 8, 8)], "out0 has 3 dimensions, 4 are needed"),
        (SEGMENTATION, Head.YOLO_MASKS, [zeros(1, 116, 20), zeros(1, 32, 8, 8)], "3 labels, but the graph has 80"),
        (SEGMENTATION, Head.MATTE, [zeros(1, 2, 8, 8)], "a matte has one channel, the output out0 has 2"),
        (SEGMENTATION, Head.MASKFORMER, [zeros(1, 5, 3), zeros(1, 5, 8, 8)], "3 labels, but the graph has 2 classes"),
        (SEGMENTATION, Head.MASKFORMER, [zeros(1, 5, 1), zeros(1, 5, 8, 8)], "no classes"),
        (DETECTION, Head.YOLO_OBB, [zeros(1, 20, 99)], "3 labels, but the graph has 15"),
        (DETECTION, Head.YOLO_OBB, [zeros(1, 5, 99)], "no classes"),
        (KEYPOINTS, Head.YOLO_POSE, [zeros(1, 56, 20)], "3 labels, but the graph has 1"),
        (KEYPOINTS, Head.YOLO_POSE, [zeros(1, 55, 20)], "have no classes"),
        (TaskName.IMAGE_TO_TEXT, None, [zeros(1, 20, 97)], "3 labels, but the graph has 97"),
        (TaskName.DEPTH_ESTIMATION, None, [zeros(1, 3, 8, 8)], r"a depth map is \(N, h, w\)"),
        (SEGMENTATION, Head.CLASS_MAP, [zeros(1, 3, 8, 8)], r"a class map is \(N, h, w\)"),
        (TaskName.DEPTH_ESTIMATION, None, [zeros(1, 8)], r"a depth map is \(N, h, w\)"),
        (TaskName.IMAGE_FEATURE_EXTRACTION, None, [zeros(3)], "out0 has 1 dimensions, a vector needs 2 to 4"),
    ],
)
def test_a_graph_that_does_not_match_is_rejected(
    task: TaskName, head: Head | None, outputs: list[NDArray[Any]], reason: str, tmp_path: Path
) -> None:
    reader = create_task(ModelSpec(task=task, head=head, labels=THREE))
    with pytest.raises(ModelSpecError, match=reason):
        reader.check(session_of(tmp_path, outputs))


@pytest.mark.parametrize("task", TaskName)
def test_a_missing_output_is_named_with_the_existing_ones(task: TaskName, tmp_path: Path) -> None:
    head = {DETECTION: Head.YOLOV8, SEGMENTATION: Head.SEMANTIC, KEYPOINTS: Head.YOLO_POSE}.get(task)
    reader = create_task(ModelSpec(task=task, head=head, outputs=("logits",), labels=THREE))
    with pytest.raises(ModelSpecError, match="no output 'logits'; it has: out0"):
        reader.check(session_of(tmp_path, [zeros(1, 7, 20)]))


def test_too_few_named_outputs_are_listed_with_those_of_the_graph(tmp_path: Path) -> None:
    spec = ModelSpec(task=SEGMENTATION, head=Head.YOLO_MASKS, outputs=("out1",))
    with pytest.raises(
        ModelSpecError, match=r"2 outputs are needed; outputs in the spec names out1; .* has out0, out1"
    ):
        create_task(spec).check(session_of(tmp_path, [zeros(1, 39, 20), zeros(1, 32, 8, 8)]))


@pytest.mark.parametrize(
    ("task", "head"), [(KEYPOINTS, None), (KEYPOINTS, Head.YOLOV8), (TaskName.IMAGE_TO_TEXT, None)]
)
def test_a_task_names_what_its_spec_lacks(task: TaskName, head: Head | None) -> None:
    with pytest.raises(ModelSpecError, match=r"needs (head|labels)"):
        create_task(ModelSpec(task=task, head=head))


@pytest.mark.parametrize(("task", "head"), [(DETECTION, None), (DETECTION, Head.MATTE), (SEGMENTATION, None)])
def test_a_task_without_its_head_lists_the_heads(task: TaskName, head: Head | None) -> None:
    with pytest.raises(ModelSpecError, match=r"needs a head; there are: (yolov5|semantic), "):
        create_task(ModelSpec(task=task, head=head))


@pytest.mark.parametrize(("task", "head", "outputs"), FITTING[:17])
def test_dynamic_shapes_that_do_not_match_are_rejected_at_run_time(
    task: TaskName, head: Head | None, outputs: list[NDArray[Any]]
) -> None:
    reader = create_task(ModelSpec(task=task, head=head))
    answers = {f"out{i}": array[..., None] for i, array in enumerate(outputs)}
    with pytest.raises(InvalidOutputError, match="dimensions"):
        reader.postprocess(answers, frame_of(Size(30, 20), Resize.LETTERBOX), PredictOptions())


@pytest.mark.parametrize(
    ("task", "head", "outputs", "reason"),
    [
        (DETECTION, Head.YOLOV5, [zeros(1, 20, 3) + 1], "do not have the layout yolov5"),
        (DETECTION, Head.YOLO_OBB, [zeros(1, 5, 20)], "does not have the layout yolo-obb"),
        (KEYPOINTS, Head.YOLO_POSE, [zeros(1, 20, 3)], "do not have the layout yolo-pose"),
        (SEGMENTATION, Head.MASKFORMER, [zeros(1, 4, 3), zeros(1, 5, 8, 8)], "do not belong together"),
        (TaskName.DEPTH_ESTIMATION, None, [zeros(1, 2, 8, 8)], "is not a depth map"),
        (SEGMENTATION, Head.CLASS_MAP, [zeros(1, 2, 8, 8)], "is not a class map"),
    ],
)
def test_an_unreadable_layout_is_named(
    task: TaskName, head: Head | None, outputs: list[NDArray[Any]], reason: str
) -> None:
    answers = {f"out{i}": array for i, array in enumerate(outputs)}
    with pytest.raises(InvalidOutputError, match=reason):
        create_task(ModelSpec(task=task, head=head)).postprocess(
            answers, frame_of(Size(9, 9), Resize.STRETCH), PredictOptions()
        )


class TextSession(Session):
    inputs = ()
    outputs = (TensorInfo("text", "string", (1,)),)
    providers = ()

    on_cpu = True

    def run(self, inputs: Mapping[str, Tensor], stop: RunStop | None = None) -> dict[str, Tensor]:
        raise NotImplementedError


def test_a_text_output_is_rejected() -> None:
    with pytest.raises(ModelSpecError, match="text is string"):
        create_task(ModelSpec(task=TaskName.TENSOR)).check(TextSession())
