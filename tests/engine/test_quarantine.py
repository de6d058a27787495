"""A version that has crashed processes is not run any more, until its files change or an operator wants it."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.inference_engine import EngineOptions, InferenceEngine
from engine.models.admin import Act, Deed
from engine.models.model_manager import ModelManagerOptions
from engine.models.slot import ModelUnavailableError, loaded
from loaders.image_loader import create_image_loader
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from tests.tiny_models import add_model, colour_graph

KEY = ("bad", 1)
WHY = "quarantined: it crashes"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    add_model(tmp_path, "good", colour_graph())
    add_model(tmp_path, "bad", colour_graph())
    for file in (tmp_path / "bad").rglob("*"):
        os.utime(file, (1, 1))
    return tmp_path


@pytest.fixture
def engine(models: Path) -> Iterator[InferenceEngine]:
    made = InferenceEngine(
        ModelRepository(models),
        create_image_loader("opencv"),
        create_model_loader("onnxruntime"),
        EngineOptions(ModelManagerOptions("good")),
    )
    made.start()
    yield made
    made.close()


def load(engine: InferenceEngine, name: str = "bad") -> None:
    asyncio.run(_load(engine, name))


async def _load(engine: InferenceEngine, name: str) -> None:
    await loaded(engine.models.request(name))


def test_it_leaves_memory_and_does_not_come_back(engine: InferenceEngine) -> None:
    load(engine)
    engine.quarantine(KEY, time.time(), WHY)
    with pytest.raises(ModelUnavailableError, match=WHY):
        load(engine)
    assert engine.models.status(*KEY).reason == WHY
    load(engine, "good")


def test_files_that_changed_since_are_another_model(engine: InferenceEngine, models: Path) -> None:
    engine.quarantine(KEY, time.time() - 10, WHY)
    with pytest.raises(ModelUnavailableError, match=WHY):
        load(engine)
    (models / "bad" / "1" / "model.onnx").write_bytes(colour_graph(gain=3.0).SerializeToString())
    engine.models.reconcile(complete=True)
    engine.models.unload(*KEY)
    load(engine)


def test_an_operator_has_it_tried_again_here_and_elsewhere(engine: InferenceEngine) -> None:
    told: list[Deed] = []

    async def note(deed: Deed) -> None:
        told.append(deed)

    engine.admin.followed_by = note
    engine.quarantine(KEY, time.time(), WHY)
    asyncio.run(engine.admin.load_again("bad", None))
    load(engine)
    assert told == [Deed(Act.LOAD, "bad", 1, forgive=True)]

    engine.quarantine(KEY, time.time(), WHY)
    asyncio.run(engine.admin.follow(told[0]))
    load(engine)
