"""Pictures in, answers out: finds the model, waits for a lane, keeps the deadline."""

import asyncio
from dataclasses import dataclass
from functools import partial

from engine.live_model import LiveModel, load_live_model
from engine.live_models import LiveModels, ModelUnavailableError
from engine.pipeline import Answer, predict
from engine.scheduler import Scheduler
from engine.tasks.task import PredictOptions
from loaders.image_loader import ImageLoader
from loaders.model_loader import ModelLoader, SessionOptions
from loaders.model_repository import ModelRepository
from utils.cpu_budget import cpu_budget
from utils.time_utils import QUEUE, StageTimer


class DeadlineExceededError(Exception):
    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        super().__init__(f"There was no answer within {timeout_s * 1e3:g} ms.")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """`lanes`: pictures worked on at once, 0 for one a core. `timeout_s`: from a picture's arrival to its answer."""

    default_model: str
    providers: tuple[str, ...] = ("cpu",)
    lanes: int = 0
    queue_limit: int = 64
    timeout_s: float = 30.0
    exact_decode: bool = False


class InferenceEngine:
    """The service without HTTP. Its coroutines belong to one event loop."""

    def __init__(
        self,
        repository: ModelRepository,
        image_loader: ImageLoader,
        model_loader: ModelLoader,
        options: EngineOptions,
    ) -> None:
        self._image_loader = image_loader
        self._timeout_s = options.timeout_s
        self.scheduler = Scheduler(options.lanes or cpu_budget(), options.queue_limit)
        load = partial(
            load_live_model,
            loader=model_loader,
            options=SessionOptions(options.providers, threads=1),
            exact_decode=options.exact_decode,
        )
        self.models = LiveModels(repository, load, options.default_model)

    async def predict(
        self, data: bytes, name: str | None, version: int | None, options: PredictOptions, timer: StageTimer
    ) -> Answer:
        """The answer of one model about one picture; `name` and `version` as in `LiveModels.request`.

        Raises ImageError, InvalidOutputError, UnknownModelError, ModelUnavailableError, QueueFullError,
        DeadlineExceededError.
        """
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                model = await self._model(name, version, timer)
                work = partial(predict, model, self._image_loader, data, options, timer)
                return await self.scheduler.run(work, timer)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise DeadlineExceededError(self._timeout_s) from None

    def close(self) -> None:
        self.models.close()
        self.scheduler.close()

    async def _model(self, name: str | None, version: int | None, timer: StageTimer) -> LiveModel:
        """A load belongs to all who wait for it: the shield keeps it going when one of them gives up."""
        load = self.models.request(name, version)
        try:
            if load.done():
                return load.result()
            with timer.stage(QUEUE):
                return await asyncio.shield(asyncio.wrap_future(load))
        except ModelUnavailableError as error:  # shared too: what one raise adds to it would hold that one's picture
            raise error.with_traceback(None) from None
