"""Pictures in, answers out: finds the models, waits for a lane, keeps the deadline."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Protocol

from engine.models.admin import ModelAdmin
from engine.models.check import ModelCheck
from engine.models.load import load_model, resolve_version
from engine.models.load_attempt import loaded
from engine.models.loaded_model import LoadedModel
from engine.models.model_manager import ModelManager, ModelManagerOptions
from engine.models.tuner import Tuner
from engine.models.watch import ModelWatch
from engine.pipeline import Answer, predict
from engine.scheduling.run_plan import RunLimits, TuneLevel
from engine.scheduling.scheduler import Among, QueueFullError, Scheduler
from engine.scheduling.scoreboard import Place, no_neighbours
from engine.tasks.task import PredictOptions
from loaders.images.base import ImageLoader
from loaders.repository.model_repository import ModelRepository, ModelVersion
from loaders.repository.specs import ResolvedSpec
from loaders.runtimes.base import ModelLoader, SessionOptions
from utils.blas import one_blas_thread
from utils.cpu_budget import cpu_budget
from utils.locks import process_lock
from utils.memory import keep_freed_memory
from utils.time_utils import QUEUE, StageTimer

# So many times its own lanes one worker may have at work while its neighbours are idle.
_BORROWED = 2
# After so many seconds a client that finds a loading model's queue full may try again.
_LOAD_RETRY_S = 2


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
class Wait:
    """How an answer is waited for: at most `timeout_s`, or the engine's own limit where that is nearer.

    `patient`: however many wait; whoever asks sees to it that they are not too many.
    """

    timeout_s: float = math.inf
    patient: bool = False


AT_MOST = Wait()


class Observer(Protocol):
    """Is told what happens, to count it."""

    def answered(self, answers: Sequence[Answer]) -> None:
        """About one picture; on the event loop."""

    def loaded(self, name: str, seconds: float, *, ok: bool) -> None:
        """A model's load has ended; on a loading thread."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """`cores`: what all runs share, 0 for all there are. `lanes`: pictures worked on at once, 0 for one a core; like
    `queue_limit` it is that of all workers together, of which this process is one, at `place`.

    `timeout_s`: from a picture's arrival to its answer. `check` tries a model in a process of its own before it is
    loaded; None trusts all. `cache`: where to keep what need not be done again, None for nowhere.
    """

    models: ModelManagerOptions
    providers: tuple[str, ...] = ("cpu",)
    cores: int = 0
    lanes: int = 0
    workers: int = 1
    place: Place = field(default_factory=no_neighbours)
    tune: TuneLevel = TuneLevel.OFF
    run_limits: RunLimits = field(default_factory=RunLimits)
    queue_limit: int = 64
    timeout_s: float = 30.0
    exact_decode: bool = False
    check: ModelCheck | None = None
    cache: Path | None = None
    observer: Observer | None = None


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
        lanes, waiting = options.lanes or self._cores, options.queue_limit
        own = max(1, lanes // options.workers)
        among = Among(options.place, lanes, max(own, min(lanes, _BORROWED * own)))
        self._tuner = Tuner(
            model_loader, session, self._cores, options.tune, options.run_limits, options.cache, among.most
        )
        self.scheduler = Scheduler(own, math.ceil(waiting / options.workers), self._cores, among)
        self._waiting_for_load = Counter[str]()
        self._most_waiting = max(own, math.ceil(waiting / options.workers))
        self.models = ModelManager(repository, self._load, options.models)
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

    def request(self, choices: Sequence[ModelChoice]) -> list[Future[LoadedModel]]:
        """Begins to load what is not loaded. Raises UnknownModelError."""
        return [self.models.request(choice.name, choice.selector) for choice in choices]

    def check_queue(self, choices: Sequence[ModelChoice]) -> None:
        """Raises QueueFullError where a picture that came now would find no place."""
        name = choices[0].name or self.models.default
        self._check_waiting(name)
        self.scheduler.check_queue(name)

    async def predict(
        self,
        data: bytes,
        choices: Sequence[ModelChoice],
        options: PredictOptions,
        timer: StageTimer,
        wait: Wait = AT_MOST,
    ) -> list[Answer]:
        """The answers of those models about one picture, in their order.

        Raises ImageError, InvalidOutputError, ModelRunError, UnknownModelError, ModelUnavailableError, QueueFullError,
        DeadlineExceededError.
        """
        timeout_s = min(wait.timeout_s, self._options.timeout_s)
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                with timer.stage(QUEUE):
                    models = await self._loaded(choices, patient=wait.patient)
                first, plan = models[0], models[0].runner.plan
                answers = await self.scheduler.run(
                    partial(predict, models, self._image_loader, data, options),
                    timer,
                    first.ref.name,
                    lanes=plan.lanes(self.scheduler.lanes),
                    patient=wait.patient,
                )
        except TimeoutError:
            if not deadline.expired():
                raise
            raise DeadlineExceededError(timeout_s) from None
        if self._options.observer:
            self._options.observer.answered(answers)
        return answers

    async def _loaded(self, choices: Sequence[ModelChoice], *, patient: bool) -> list[LoadedModel]:
        """Those who wait for a load hold their pictures, so no more may than in the queue. Raises QueueFullError."""
        loads = self.request(choices)
        if patient or all(load.done() for load in loads):
            return [await loaded(load) for load in loads]
        name = choices[0].name or self.models.default
        self._check_waiting(name)
        self._waiting_for_load[name] += 1
        try:
            return [await loaded(load) for load in loads]
        finally:
            self._waiting_for_load[name] -= 1
            self._waiting_for_load += Counter()  # which drops the zeros

    def _check_waiting(self, name: str) -> None:
        waiting = self._waiting_for_load[name] if self._waiting_for_load else 0
        if waiting >= self._most_waiting:
            raise QueueFullError(waiting, _LOAD_RETRY_S)

    async def describe(self, name: str) -> ResolvedSpec:
        """The spec of the version serving, else of the active one. Raises UnknownModelError, ModelError."""
        loaded = self.models.ready(name)
        return loaded.resolved if loaded else await asyncio.to_thread(resolve_version, self.models.version(name))

    def _load(self, version: ModelVersion) -> LoadedModel:
        """Runs on a loading thread."""
        started, ok = perf_counter(), False
        try:
            model = self._load_in_turn(version)
            ok = True
        finally:
            if self._options.observer:
                self._options.observer.loaded(version.name, perf_counter() - started, ok=ok)
        return model

    def _load_in_turn(self, version: ModelVersion) -> LoadedModel:
        """What is found out about a model once for all is not found out by two processes at a time."""
        options, tuner = self._options, self._tuner
        with self._turn(version):
            if options.check:
                options.check(version)
            with options.place.loading(version.name, version.number):
                model = load_model(version, tuner.loader, tuner.options, exact_decode=options.exact_decode)
                return tuner(model, version)

    def _turn(self, version: ModelVersion) -> AbstractContextManager[None]:
        cache = self._options.cache
        return process_lock(cache / "locks" / f"{version.name}-{version.number}") if cache else nullcontext()
