"""Deadlines while loading, waiting and running, full queues, and bad requests beside good ones."""

import asyncio
import shutil
import traceback
import weakref
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from threading import Event, current_thread
from typing import Any

import pytest

from engine.engine_options import EngineOptions
from engine.inference_engine import DeadlineExceededError, InferenceEngine, ModelChoice, Wait
from engine.models.load import load_model
from engine.models.load_attempt import ModelUnavailableError
from engine.models.model_manager import ModelManagerOptions
from engine.pipeline import predict
from engine.scheduling.run_context import alone, completed, one_stage
from engine.scheduling.scheduler import QueueFullError
from engine.tasks.task import Classification, InvalidOutputError, PredictOptions
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageLoaderOptions, LeastSize, Picture
from loaders.images.errors import CorruptImageError
from loaders.images.opencv_loader import OpenCVImageLoader
from loaders.model_errors import UnknownModelError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import ModelLoader, Session, SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
from tests.engine.models.loading import eventually
from tests.tiny_models import add_model, colour_graph, not_a_number_graph, slow_graph, solid_png
from utils.time_utils import INFERENCE, QUEUE, TOTAL, StageTimer

WAIT_S = 30.0
SHORT_S = 0.1
SLOW_ROUNDS = 80  # about 100 ms of real work
RED = solid_png("red")
BEST = PredictOptions(top_k=1)


class GatedImageLoader(OpenCVImageLoader):
    """The default loader, but it waits for `gate`."""

    def __init__(self) -> None:
        super().__init__(ImageLoaderOptions())
        self.gate, self.entered = Event(), Event()
        self.gate.set()

    def load(self, data: bytes, at_least: LeastSize = None) -> Picture:
        self.entered.set()
        assert self.gate.wait(WAIT_S)
        return super().load(data, at_least)


class GatedModelLoader(OnnxRuntimeLoader):
    """The default loader, but it waits for `gate`."""

    def __init__(self) -> None:
        self.gate = Event()

    def load(self, path: Path, options: SessionOptions) -> Session:
        assert self.gate.wait(WAIT_S)
        return super().load(path, options)


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    add_model(tmp_path, "colours", colour_graph())
    return ModelRepository(tmp_path)


@pytest.fixture
def pictures() -> GatedImageLoader:
    return GatedImageLoader()


Make = Callable[..., InferenceEngine]


@pytest.fixture
def make(repository: ModelRepository, pictures: GatedImageLoader) -> Iterator[Make]:
    made: list[InferenceEngine] = []

    def build(
        model_loader: ModelLoader | None = None,
        *,
        concurrency: int = 1,
        queue_limit: int = 64,
        timeout_s: float = WAIT_S,
    ) -> InferenceEngine:
        options = EngineOptions(
            ModelManagerOptions("colours"), concurrency=concurrency, queue_limit=queue_limit, timeout_s=timeout_s
        )
        loader = model_loader or create_model_loader("onnxruntime")
        made.append(InferenceEngine(repository, pictures, loader, options))
        made[-1].start()
        return made[-1]

    yield build
    pictures.gate.set()
    for engine in made:
        engine.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), WAIT_S))


async def best(
    engine: InferenceEngine, data: bytes = RED, name: str | None = None, timer: StageTimer | None = None
) -> str:
    [answer] = await engine.predict(data, [ModelChoice(name)], BEST, timer or StageTimer())
    assert isinstance(answer.predictions[0], Classification)
    return answer.predictions[0].label


@pytest.mark.parametrize("colour", ["red", "green", "blue"])
def test_predict_answers_like_the_pipeline(make: Make, repository: ModelRepository, colour: str) -> None:
    engine, data, options = make(), solid_png(colour), PredictOptions()
    loader = create_model_loader("onnxruntime")
    model = load_model(repository.find("colours"), loader, SessionOptions())
    [answer] = completed(predict([model], create_image_loader("opencv"), data, options, alone(StageTimer())))
    expected = (answer.model, answer.image, answer.predictions)

    async def test() -> None:
        for choice in (ModelChoice(), ModelChoice("colours", 1), ModelChoice("colours", "1")):
            [answer] = await engine.predict(data, [choice], options, StageTimer())
            assert (answer.model, answer.image, answer.predictions) == expected

    run(test)


def test_parallel_requests_each_get_their_answer(make: Make) -> None:
    engine = make(concurrency=4)
    colours = ["red", "blue", "red", "blue", "blue", "red"] * 5

    async def test() -> None:
        answers = await asyncio.gather(*[best(engine, solid_png(colour)) for colour in colours])
        assert answers == colours

    run(test)


def test_a_deadline_while_running_returns_at_once_and_the_next_request_is_answered(
    make: Make, pictures: GatedImageLoader
) -> None:
    engine = make(timeout_s=SHORT_S)

    async def test() -> None:
        engine.models.request().result(WAIT_S)
        pictures.gate.clear()
        while not pictures.entered.is_set():  # on a busy machine the deadline may pass before
            with pytest.raises(DeadlineExceededError, match="100 ms") as error:
                await best(engine)
            assert error.value.timeout_s == SHORT_S
        pictures.gate.set()
        assert await retried(engine) == "red"

    run(test)


async def retried(engine: InferenceEngine) -> str:
    """Several tries: the deadline is short for a busy machine."""
    for _ in range(20):
        try:
            return await best(engine)
        except DeadlineExceededError:
            continue
    return "never"


def test_a_model_that_was_deleted_during_its_last_run_is_not_freed_on_the_event_loop(
    make: Make, pictures: GatedImageLoader, repository: ModelRepository
) -> None:
    """Freeing a model takes up to 100 ms, in which the event loop has other requests to serve."""
    engine, freed_on = make(), list[str]()

    async def test() -> None:
        weakref.finalize(engine.models.request().result(WAIT_S), lambda: freed_on.append(current_thread().name))
        pictures.gate.clear()
        running = asyncio.ensure_future(best(engine))
        assert await asyncio.to_thread(pictures.entered.wait, WAIT_S)
        shutil.rmtree(repository.root / "colours")
        engine.models.reconcile(complete=True)
        pictures.gate.set()
        assert await running == "red"
        await asyncio.to_thread(eventually, lambda: freed_on)  # the loading thread may hold it a moment longer
        assert freed_on != [current_thread().name]

    run(test)


def test_a_deadline_while_waiting_removes_the_request_from_the_queue(make: Make, pictures: GatedImageLoader) -> None:
    engine = make(timeout_s=SHORT_S, queue_limit=1)

    async def test() -> None:
        engine.models.request().result(WAIT_S)
        pictures.gate.clear()
        running = asyncio.ensure_future(
            engine.scheduler.run(one_stage(lambda _: pictures.gate.wait(WAIT_S)), StageTimer(), "colours")
        )
        await asyncio.sleep(0)
        for _ in range(3):  # each finds the queue empty
            with pytest.raises(DeadlineExceededError):
                await best(engine)
        assert not pictures.entered.is_set()
        pictures.gate.set()
        await running
        assert await retried(engine) == "red"

    run(test)


def test_a_deadline_while_loading_does_not_cancel_the_load(make: Make) -> None:
    loader = GatedModelLoader()
    engine = make(loader, timeout_s=SHORT_S)

    async def test() -> None:
        with pytest.raises(DeadlineExceededError):
            await best(engine)
        loader.gate.set()
        await asyncio.wrap_future(engine.models.request())
        assert await retried(engine) == "red"

    run(test)


def test_a_deadline_within_a_run_is_kept(make: Make, repository: ModelRepository) -> None:
    add_model(repository.root, "slow", slow_graph(SLOW_ROUNDS))
    engine = make()

    async def test() -> None:
        await asyncio.wrap_future(engine.models.request("slow"))
        with pytest.raises(DeadlineExceededError):
            await engine.predict(RED, [ModelChoice("slow")], BEST, StageTimer(), Wait(timeout_s=0.01))

    run(test)


def test_a_timeout_error_of_a_loader_is_not_the_deadline(
    make: Make, pictures: GatedImageLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make()

    def fail(*_: object) -> Picture:
        raise TimeoutError("disk")

    monkeypatch.setattr(pictures, "load", fail)

    async def test() -> None:
        with pytest.raises(TimeoutError, match="disk"):
            await best(engine)

    run(test)


def test_the_wait_for_a_load_is_in_total_and_not_queue_time(make: Make) -> None:
    loader, timer = GatedModelLoader(), StageTimer()
    engine = make(loader)

    async def test() -> None:
        answering = asyncio.create_task(best(engine, timer=timer))
        loaded_after_s = timer.elapsed_s + SHORT_S
        await asyncio.to_thread(eventually, lambda: timer.elapsed_s > loaded_after_s)
        loader.gate.set()
        assert await answering == "red"

    run(test)
    timings = timer.as_ms()
    assert timings[QUEUE] <= timings[TOTAL] - SHORT_S * 1e3
    assert timings[INFERENCE] > 0


def test_a_full_queue_rejects_requests(make: Make, pictures: GatedImageLoader) -> None:
    engine = make(queue_limit=1)

    async def test() -> None:
        await asyncio.wrap_future(engine.models.request())
        pictures.gate.clear()
        two = [asyncio.create_task(best(engine)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await best(engine)
        pictures.gate.set()
        assert await asyncio.gather(*two) == ["red", "red"]

    run(test)


def test_a_bad_request_does_not_fail_others(make: Make, repository: ModelRepository) -> None:
    add_model(repository.root, "nan", not_a_number_graph(), labels=None)
    (add_model(repository.root, "broken", colour_graph()) / "1" / "model.onnx").write_bytes(b"no graph")
    engine = make(concurrency=2)
    sent: list[tuple[bytes, str | None, type[Exception] | None]] = [
        (b"\xff\xd8\xff no picture", None, CorruptImageError),
        (solid_png("white"), "nan", InvalidOutputError),
        (RED, "broken", ModelUnavailableError),
        (RED, "missing", UnknownModelError),
        (RED, None, None),
    ] * 4

    async def test() -> None:
        answers = await asyncio.gather(*[best(engine, d, name) for d, name, _ in sent], return_exceptions=True)
        for answer, (_, _, error) in zip(answers, sent, strict=True):
            assert isinstance(answer, error) if error else answer == "red", answer

    run(test)


def test_requests_for_a_broken_model_keep_no_memory(make: Make, repository: ModelRepository) -> None:
    """All requests get the error of one load: its traceback must not grow, as it would hold their pictures."""
    (add_model(repository.root, "broken", colour_graph()) / "1" / "model.onnx").write_bytes(b"no graph")
    engine = make()
    depths: list[int] = []

    async def test() -> None:
        for _ in range(20):
            with pytest.raises(ModelUnavailableError) as error:
                await best(engine, name="broken")
            depths.append(len(traceback.extract_tb(error.value.__traceback__)))

    run(test)
    assert max(depths[2:]) <= max(depths[:2])
