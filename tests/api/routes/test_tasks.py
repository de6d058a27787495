"""Every task answers over HTTP in the fields of its schema."""

from pathlib import Path

import numpy as np
import pytest

from api.schemas import InferResponse
from tests.conftest import Serve
from tests.engine.tasks.graphs import Outputs, constant_graph
from tests.tiny_models import add_model

POSE = np.zeros((1, 11, 20), np.float32)
POSE[0, :, 0] = [32, 32, 16, 16, 0.9, 30, 30, 0.8, 34, 34, 0.7]
OBB = np.zeros((1, 6, 20), np.float32)
OBB[0, :, 0] = [32, 32, 16, 8, 0.9, 0.5]
TEXT = np.array([[[0, 0.9], [0.8, 0]]], np.float32)
QUERIES = {
    "class_queries_logits": np.array([[[9, 0]]], np.float32),
    "masks_queries_logits": np.ones((1, 1, 8, 8), np.float32),
}

MODELS: dict[str, tuple[Outputs, str, set[str]]] = {
    "pose": (
        {"output0": POSE},
        'task = "keypoint-detection"\nkeypoint_shape = [2, 3]\nkeypoint_names = ["head", "tail"]\nskeleton = [[0, 1]]',
        {"label", "class_id", "score", "box", "keypoints", "skeleton"},
    ),
    "obb": (
        {"output0": OBB},
        'task = "object-detection"\nhead = "yolo-obb"',
        {"label", "class_id", "score", "box", "corners", "angle"},
    ),
    "depth": (
        {"depth": np.arange(64, dtype=np.float32).reshape(1, 8, 8)},
        'task = "depth-estimation"',
        {"depth", "minimum", "maximum"},
    ),
    "text": ({"softmax": TEXT}, 'task = "image-to-text"\nlabels = ["", "a"]', {"generated_text", "score"}),
    "panoptic": (QUERIES, 'task = "image-segmentation"', {"label", "class_id", "score", "mask"}),
}  # fmt: skip


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name, (outputs, spec, _) in MODELS.items():
        lines = f'{spec}\n[preprocess]\nresize = "stretch"\nmean = [0.0]\n'
        labels = None if "labels" in spec else ["thing"]
        add_model(tmp_path, name, constant_graph(outputs), spec=lines, labels=labels)
    return tmp_path


def test_tasks_answer_in_the_fields_of_their_schemas(serve: Serve, models: Path, red_png: bytes) -> None:
    client = serve(models_dir=models, default_model="pose").client
    for name, (_, _, fields) in MODELS.items():
        response = client.post("/infer", params={"model": name}, content=red_png)
        assert response.status_code == 200, response.text
        InferResponse.model_validate(response.json())
        (prediction,) = response.json()["predictions"]
        assert prediction.keys() == fields
    answer = client.post("/infer", params={"model": "depth", "predicted_depth": "true"}, content=red_png).json()
    InferResponse.model_validate(answer)
    (prediction,) = answer["predictions"]
    assert prediction["predicted_depth"]["shape"] == [answer["image"]["height"], answer["image"]["width"]]
