"""The queue limit holds for requests that wait for a model's load, too, because they hold their pictures."""

import asyncio
from pathlib import Path
from threading import Event

import pytest

from engine.engine_options import EngineOptions
from engine.inference_engine import InferenceEngine, ModelChoice
from engine.models.load_policy import LoadPolicy
from engine.models.model_manager import ModelManagerOptions
from engine.scheduling.scheduler import QueueFullError
from engine.tasks.task import PredictOptions
from loaders.image_loader import create_image_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import Session, SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
from tests.engine.models.loading import eventually
from tests.tiny_models import add_model, colour_graph, solid_png
from utils.time_utils import StageTimer

WAIT_S = 30.0


class Gated(OnnxRuntimeLoader):
    """Waits for `gate` before it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Event()

    def load(self, path: Path, options: SessionOptions) -> Session:
        assert self.gate.wait(WAIT_S)
        return super().load(path, options)


def test_above_the_queue_limit_requests_are_rejected_during_a_load(tmp_path: Path) -> None:
    add_model(tmp_path, "m", colour_graph())
    loader = Gated()
    options = EngineOptions(ModelManagerOptions("m", LoadPolicy.ON_DEMAND), concurrency=1, queue_limit=3)
    engine = InferenceEngine(ModelRepository(tmp_path), create_image_loader("opencv"), loader, options)
    engine.start()
    choice = [ModelChoice("m")]

    def is_full() -> bool:
        try:
            engine.check_queue(choice)
        except QueueFullError:
            return True
        return False

    async def main() -> None:
        def request() -> "asyncio.Task[object]":
            return asyncio.create_task(engine.predict(solid_png("red"), choice, PredictOptions(), StageTimer()))

        waiting = [request() for _ in range(3)]
        assert await asyncio.to_thread(eventually, is_full)
        with pytest.raises(QueueFullError):
            await request()
        waiting[0].cancel()
        assert await asyncio.to_thread(eventually, lambda: not is_full())
        loader.gate.set()
        assert len([await task for task in waiting[1:]]) == 2
        assert await request()

    asyncio.run(asyncio.wait_for(main(), WAIT_S))
    engine.close()
