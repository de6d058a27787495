import base64

import numpy as np
import pytest
from numpy.typing import NDArray

from api.dialects.open_inference.picture_outputs import output_infos, picture_outputs
from api.problems import InvalidRequestError
from engine.tasks.outputs import to_base64
from engine.tasks.predictions import (
    Box,
    Classification,
    DepthMap,
    Detection,
    Embedding,
    GeneratedText,
    InstanceSegment,
    OutputTensor,
    Prediction,
    Segment,
)
from loaders.repository.specs.model_spec import TaskName

CAT = Detection("cat", 0, 0.25, Box(1, 2, 3, 4))
VECTOR = np.array([0.1, 2], np.float32)
PNG = base64.b64encode(b"png").decode()


def embedding(vector: NDArray[np.float32]) -> Embedding:
    return Embedding(to_base64(vector), len(vector), "base64")


def tensor(*shape: int) -> OutputTensor:
    return OutputTensor("y", "float32", list(shape), to_base64(np.ones(shape, np.float32)), "base64")


def test_pictures_with_fewer_predictions_are_filled_up() -> None:
    outputs = picture_outputs(TaskName.OBJECT_DETECTION, [[CAT], [], [CAT, CAT]])
    assert outputs["count"].tolist() == [[1], [0], [2]]
    assert outputs["label"].tolist() == [[b"cat", b""], [b"", b""], [b"cat", b"cat"]]
    assert outputs["box"].shape == (3, 2, 4)
    assert outputs["box"][2, 1].tolist() == [1, 2, 3, 4]


def test_pictures_without_predictions_have_empty_outputs() -> None:
    outputs = picture_outputs(TaskName.OBJECT_DETECTION, [[], []])
    assert {name: array.shape for name, array in outputs.items()} == {
        "label": (2, 0), "class_id": (2, 0), "score": (2, 0), "box": (2, 0, 4), "prediction": (2, 0), "count": (2, 1),
    }  # fmt: skip


def test_scores_and_vectors_keep_their_bits() -> None:
    score = np.float32(0.38619885)
    outputs = picture_outputs(TaskName.IMAGE_CLASSIFICATION, [[Classification("cat", 0, float(str(score)))]])
    assert outputs["score"][0, 0] == score
    vectors = picture_outputs(TaskName.IMAGE_FEATURE_EXTRACTION, [[embedding(VECTOR)], [embedding(VECTOR)]])
    assert vectors["embedding"].tobytes() == VECTOR.tobytes() * 2


def test_a_segment_without_score_or_box_has_neutral_values() -> None:
    segments = [Segment("sky", 1, None, PNG), InstanceSegment("cat", 2, 0.5, PNG, Box(1, 2, 3, 4))]
    outputs = picture_outputs(TaskName.IMAGE_SEGMENTATION, [segments])
    assert outputs["score"].tolist() == [[-1, 0.5]]
    assert outputs["box"].tolist() == [[[0, 0, 0, 0], [1, 2, 3, 4]]]
    assert outputs["mask"].tolist() == [[b"png", b"png"]]


@pytest.mark.parametrize(
    ("task", "prediction"),
    [
        (TaskName.IMAGE_CLASSIFICATION, Classification("cat", 0, 0.5)),
        (TaskName.OBJECT_DETECTION, CAT),
        (TaskName.KEYPOINT_DETECTION, CAT),
        (TaskName.IMAGE_SEGMENTATION, Segment("sky", 1, None, PNG)),
        (TaskName.IMAGE_FEATURE_EXTRACTION, embedding(VECTOR)),
        (TaskName.DEPTH_ESTIMATION, DepthMap(PNG, 0.5, 2)),
        (TaskName.IMAGE_TO_TEXT, GeneratedText("hi", 0.5)),
    ],
)
def test_outputs_are_as_the_metadata_say(task: TaskName, prediction: Prediction) -> None:
    outputs = picture_outputs(task, [[prediction], [prediction]])
    infos = {info.name: info for info in output_infos(task)}
    assert {name: array.dtype.name for name, array in outputs.items()} == {n: i.dtype for n, i in infos.items()}
    for name, array in outputs.items():
        assert len(array) == 2
        assert all(want in (None, have) for want, have in zip(infos[name].shape, array.shape, strict=True))


def test_tensors_of_several_pictures_are_joined() -> None:
    outputs = picture_outputs(TaskName.TENSOR, [[tensor(1, 2)], [tensor(1, 2)]])
    assert outputs["y"].tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("others", [tensor(2, 2), tensor(1, 3)])
def test_tensors_that_cannot_be_joined_are_rejected(others: OutputTensor) -> None:
    with pytest.raises(InvalidRequestError, match="'y'"):
        picture_outputs(TaskName.TENSOR, [[tensor(1, 2)], [others]])
