"""Requests that wait for a model's load hold their pictures: no more of them than may wait in its queue."""

import asyncio
from pathlib import Path
from threading import Event

import pytest

from engine.inference_engine import EngineOptions, InferenceEngine, ModelChoice
from engine.models.load_policy import LoadPolicy
from engine.models.model_manager import ModelManagerOptions
from engine.scheduling.scheduler import QueueFullError
from engine.tasks.task import PredictOptions
from loaders.image_loader import create_image_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import Session, SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
from tests.tiny_models import add_model, colour_graph, solid_png
from utils.time_utils import StageTimer

WAIT_S = 30.0


class Gated(OnnxRuntimeLoader):
    """The default loader, which waits for `gate`."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Event()

    def load(self, path: Path, options: SessionOptions) -> Session:
        assert self.gate.wait(WAIT_S)
        return super().load(path, options)


def test_above_the_queue_limit_they_are_refused_and_the_others_answered(tmp_path: Path) -> None:
    add_model(tmp_path, "m", colour_graph())
    loader = Gated()
    options = EngineOptions(ModelManagerOptions("m", LoadPolicy.ON_DEMAND), concurrency=1, queue_limit=3)
    engine = InferenceEngine(ModelRepository(tmp_path), create_image_loader("opencv"), loader, options)
    engine.start()
    choice = [ModelChoice("m")]

    async def main() -> None:
        def ask() -> "asyncio.Task[object]":
            return asyncio.create_task(engine.predict(solid_png("red"), choice, PredictOptions(), StageTimer()))

        waiting = [ask() for _ in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises(QueueFullError):
            await ask()
        with pytest.raises(QueueFullError):
            engine.check_queue(choice)
        waiting[0].cancel()
        await asyncio.sleep(0.05)
        engine.check_queue(choice)
        loader.gate.set()
        assert len([await task for task in waiting[1:]]) == 2
        assert await ask()

    asyncio.run(asyncio.wait_for(main(), WAIT_S))
    engine.close()
