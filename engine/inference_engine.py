"""Pictures in, answers out: finds the models, waits for a lane, keeps the deadline."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from engine.live_model import LiveModel
from engine.live_models import LiveModels, LiveModelsOptions
from engine.load_model import load_live_model, resolve_version
from engine.model_admin import ModelAdmin
from engine.model_check import ModelCheck
from engine.model_slot import loaded
from engine.model_watch import ModelWatch
from engine.pipeline import Answer, predict
from engine.run_plan import RunLimits, TuneLevel
from engine.scheduler import Scheduler
from engine.tasks.task import PredictOptions
from engine.tuner import Tuner
from loaders.image_loader import ImageLoader
from loaders.model_loader import ModelLoader, SessionOptions
from loaders.model_repository import ModelRepository, ModelVersion
from loaders.resolvers import ResolvedSpec
from utils.blas import one_blas_thread
from utils.cpu_budget import cpu_budget
from utils.memory import keep_freed_memory
from utils.time_utils import QUEUE, StageTimer


class DeadlineExceededError(Exception):
    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        super().__init__(f"There was no answer within {timeout_s * 1e3:g} ms.")


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model answers: by name, None for the default; by version or label, None for the one serving."""

    name: str | None = None
    selector: int | str | None = None


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """`cores`: what all runs share, 0 for all there are. `lanes`: pictures worked on at once, 0 for one a core.

    `timeout_s`: from a picture's arrival to its answer. `check` tries a model in a process of its own before it is
    loaded; None trusts all. `cache`: where to keep what need not be done again, None for nowhere.
    """

    models: LiveModelsOptions
    providers: tuple[str, ...] = ("cpu",)
    cores: int = 0
    lanes: int = 0
    tune: TuneLevel = TuneLevel.OFF
    run_limits: RunLimits = field(default_factory=RunLimits)
    queue_limit: int = 64
    timeout_s: float = 30.0
    exact_decode: bool = False
    check: ModelCheck | None = None
    cache: Path | None = None


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
        self._options = options
        self._cores = options.cores or cpu_budget()
        session = SessionOptions(options.providers, threads=1, cache=options.cache)
        self._tuner = Tuner(model_loader, session, self._cores, options.tune, options.run_limits, options.cache)
        self.scheduler = Scheduler(options.lanes or self._cores, options.queue_limit, self._cores)
        self.models = LiveModels(repository, self._load, options.models)
        self.admin = ModelAdmin(self.models, repository, options.check)
        self._watch = ModelWatch(repository.root, self.models.reconcile)

    def start(self) -> None:
        """Looks at the models folder, begins to load what the policy wants, and follows the folder from now on."""
        one_blas_thread()
        keep_freed_memory()
        self.admin.clean_up()
        self.models.reconcile()
        self._watch.start()

    def close(self) -> None:
        self._watch.stop()
        if self._options.check:
            self._options.check.close()
        self.models.close()
        self.scheduler.close()

    def request(self, choices: Sequence[ModelChoice]) -> list[Future[LiveModel]]:
        """Begins to load what is not loaded. Raises UnknownModelError."""
        return [self.models.request(choice.name, choice.selector) for choice in choices]

    async def predict(
        self,
        data: bytes,
        choices: Sequence[ModelChoice],
        options: PredictOptions,
        timer: StageTimer,
        *,
        patient: bool = False,
    ) -> list[Answer]:
        """The answers of those models about one picture, in their order.

        `patient`: it waits however many do; its caller sees to it that they are not too many.
        Raises ImageError, InvalidOutputError, ModelRunError, UnknownModelError, ModelUnavailableError, QueueFullError,
        DeadlineExceededError.
        """
        try:
            async with asyncio.timeout(self._options.timeout_s) as deadline:
                with timer.stage(QUEUE):
                    models = [await loaded(load) for load in self.request(choices)]
                first, plan = models[0], models[0].runner.plan
                return await self.scheduler.run(
                    partial(predict, models, self._image_loader, data, options),
                    timer,
                    first.ref.name,
                    lanes=plan.lanes(self.scheduler.lanes),
                    patient=patient,
                )
        except TimeoutError:
            if not deadline.expired():
                raise
            raise DeadlineExceededError(self._options.timeout_s) from None

    async def describe(self, name: str) -> ResolvedSpec:
        """The spec of the version serving, else of the active one. Raises UnknownModelError, ModelError."""
        loaded = self.models.ready(name)
        return loaded.resolved if loaded else await asyncio.to_thread(resolve_version, self.models.version(name))

    def _load(self, version: ModelVersion) -> LiveModel:
        """Runs on a loading thread."""
        options = self._options
        if options.check:
            options.check(version)
        tuner = self._tuner
        model = load_live_model(version, tuner.loader, tuner.options, exact_decode=options.exact_decode)
        return tuner(model, version)
