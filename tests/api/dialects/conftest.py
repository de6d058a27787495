import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.api.routes.test_tasks import MODELS
from tests.engine.tasks.graphs import constant_graph
from tests.engine.tasks.real_models import YUNET
from tests.server import service_settings, serving
from tests.tiny_models import SPEC, add_model, colour_graph

LARGEST = 200_000
_PREPROCESS = '[preprocess]\nresize = "stretch"\nmean = [0.0]\n'
_BOXES = np.zeros((1, 3, 6), np.float32)
_BOXES[0, 0] = [10.4, 8, 40, 60.9, 0.9, 0]
_BOXES[0, 1] = [0, 0, 64, 64, 0.5, 1]


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`colour` (the default), `vector`, `boxes`, `yunet`, and models of other tasks."""
    models = tmp_path_factory.mktemp("models")
    add_model(models, "colour", colour_graph())
    vector = SPEC.replace("image-classification", "image-feature-extraction")
    add_model(models, "vector", colour_graph(), spec=vector, labels=None)
    boxes = f'task = "object-detection"\nhead = "end-to-end"\n{_PREPROCESS}'
    add_model(models, "boxes", constant_graph({"output0": _BOXES}), spec=boxes, labels=["cat", "dog"])
    for name in ("depth", "text", "panoptic", "pose"):
        outputs, spec, _ = MODELS[name]
        labels = None if "labels" in spec else ["thing"]
        add_model(models, name, constant_graph(outputs), spec=f"{spec}\n{_PREPROCESS}", labels=labels)
    (models / "yunet" / "1").mkdir(parents=True)
    shutil.copy(YUNET, models / "yunet" / "1" / "model.onnx")
    (models / "yunet" / "model.toml").write_text('task = "object-detection"\nhead = "yunet"\nlabels = ["face"]\n')
    return models


@pytest.fixture(scope="package")
def client(models: Path) -> Iterator[httpx.Client]:
    settings = service_settings(
        models_dir=models, default_model="colour", max_upload_bytes=LARGEST, max_batch_images=4, concurrency=2
    )
    with serving(settings) as running:
        yield running.client


@pytest.fixture(scope="package")
def keyed(tiny_models: Path) -> Iterator[httpx.Client]:
    """A service that needs the key `sesame`."""
    with serving(service_settings(models_dir=tiny_models, default_model="colour", keys=("sesame",))) as running:
        yield running.client
