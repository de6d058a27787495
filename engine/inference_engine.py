"""The service without HTTP: finds the model, waits for a worker thread, keeps the deadline."""

import asyncio
import math
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from engine.drawing import Drawer, check_drawable, encode
from engine.engine_options import EngineOptions
from engine.explain.explainer import Explainer, ExplainRequest, Explanation
from engine.models.admin import ModelAdmin
from engine.models.load import load_model, resolve_files
from engine.models.load_attempt import loaded
from engine.models.loaded_model import LoadedModel
from engine.models.model_manager import ModelManager
from engine.models.runtime_report import RuntimeChoice
from engine.models.samples import check_samples
from engine.models.tuner import Tuner
from engine.models.watch import ModelWatch
from engine.pipeline import Answer, TensorAnswer, predict, predict_with_picture, run_tensors
from engine.scheduling.job import Admission, Work
from engine.scheduling.run_context import RunContext, one_stage
from engine.scheduling.scheduler import QueueFullError, Scheduler
from engine.tasks.task import PredictOptions
from loaders.images.base import ImageLoader
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository, ModelVersion
from loaders.repository.specs import ResolvedSpec
from loaders.runtimes.base import ModelLoader, SessionOptions
from loaders.tensors import Tensor
from utils.blas import one_blas_thread
from utils.cpu_budget import cpu_budget
from utils.locks import process_lock
from utils.memory import keep_freed_memory, use_huge_pages
from utils.time_utils import POSTPROCESS, StageTimer

T = TypeVar("T")

# Retry-After for a client whose model is still loading while the limit of waiting requests is reached.
_LOAD_RETRY_S = 2


class DeadlineExceededError(Exception):
    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        super().__init__(f"There was no answer within {timeout_s * 1e3:g} ms.")


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model by name, None for the default; a version by number or label, None for the active one."""

    name: str | None = None
    selector: int | str | None = None


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """The bytes of a picture, the model that answers, and the media type of the drawn picture."""

    data: bytes
    choice: ModelChoice
    options: PredictOptions
    media_type: str


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a request waits: at most `timeout_s` and the engine's own limit.

    `skip_queue_limit`: the caller bounds its requests itself, such as the pictures of one batch.
    """

    timeout_s: float = math.inf
    skip_queue_limit: bool = False


AT_MOST = Wait()


class InferenceEngine:
    """Its coroutines belong to one event loop."""

    def __init__(
        self,
        repository: ModelRepository,
        image_loader: ImageLoader,
        model_loader: ModelLoader,
        options: EngineOptions,
    ) -> None:
        self._image_loader = image_loader
        self._options = options
        self._drawer = Drawer(options.font)
        cores = options.cores or cpu_budget()
        self.scheduler = Scheduler(options.concurrency or cores, options.queue_limit, cores, options.worker_slot)
        self._tuner = Tuner(
            model_loader,
            SessionOptions(options.providers, threads=1, cache=options.cache),
            cores,
            options.tune,
            options.run_limits,
            options.cache,
            lambda: self.scheduler.max_concurrency,
        )
        self._loaders = {options.check.model_loader: model_loader} if options.check else {}
        self._waiting_for_load = Counter[str]()
        self.models = ModelManager(repository, self._load, options.models)
        self.admin = ModelAdmin(self.models, repository, options.check)
        self._watch = ModelWatch(self.models.reconcile)

    def start(self) -> None:
        """Read the models folder, start the loads that the load policy asks for, and watch the folder."""
        one_blas_thread()
        keep_freed_memory()
        self.admin.clean_up()
        self.models.reconcile()
        self._watch.start()

    def close(self) -> None:
        self._watch.stop()
        self.models.close()  # first: a killed check would fail its load, and the next load would start another
        if self._options.check:
            self._options.check.close()
        self.scheduler.close()

    def request(self, choices: Sequence[ModelChoice]) -> list[Future[LoadedModel]]:
        """Start to load what is not loaded. Raises UnknownModelError."""
        return [self.models.request(choice.name, choice.selector) for choice in choices]

    def check_queue(self, choices: Sequence[ModelChoice]) -> None:
        """Raises QueueFullError if a new request would be rejected."""
        name = choices[0].name or self.models.default
        self._check_waiting_for_load(name)
        self.scheduler.check_queue(name)

    async def predict(
        self,
        data: bytes,
        choices: Sequence[ModelChoice],
        options: PredictOptions,
        timer: StageTimer,
        wait: Wait = AT_MOST,
    ) -> list[Answer]:
        """The answers of those models about one picture, in their order. A wait for a load counts in `total` alone.

        Raises ImageError, InvalidOutputError, ModelRunError, UnknownModelError, ModelUnavailableError, QueueFullError,
        DeadlineExceededError.
        """
        answers = await self._in_time(self._answer(data, choices, options, timer, wait), wait)
        for observer in self._options.observers:
            observer.answered(answers)
        return answers

    async def run_tensors(
        self, inputs: Mapping[str, Tensor], choice: ModelChoice, timer: StageTimer, wait: Wait = AT_MOST
    ) -> TensorAnswer:
        """The outputs of a graph for the inputs of one picture, which must fit it. Raises what `predict` raises."""
        answer = await self._in_time(self._run_tensors(inputs, choice, timer, wait), wait)
        for observer in self._options.observers:
            observer.answered([answer])
        return answer

    async def draw(self, request: DrawRequest, timer: StageTimer, wait: Wait = AT_MOST) -> tuple[Answer, bytes]:
        """The answer of one model, and the encoded picture with the answer drawn on it.

        Raises UndrawableError, and what `predict` raises.
        """
        answer, drawn = await self._in_time(self._draw(request, timer, wait), wait)
        for observer in self._options.observers:
            observer.answered([answer])
        return answer, drawn

    async def explain(
        self, request: ExplainRequest, choice: ModelChoice, timer: StageTimer, wait: Wait = AT_MOST
    ) -> Explanation:
        """The heat map of one model for one picture, by many runs that let other requests go first.

        After the deadline by the runs that have ended. Raises ExplainError, and what `predict` raises.
        """
        explainer = Explainer(self._image_loader, request)
        try:
            await self._in_time(self._run_masked(explainer, choice, timer), wait)
        except DeadlineExceededError:
            if not explainer.scores:
                raise
        return await self._run(one_stage(explainer.finish), explainer.model, timer, Admission.UNCOUNTED)

    async def load(self, choices: Sequence[ModelChoice], wait: Wait = AT_MOST) -> None:
        """Waits until the models are loaded. Raises UnknownModelError, ModelUnavailableError, DeadlineExceededError."""
        await self._in_time(self._loaded(choices), wait)

    async def describe(self, name: str) -> ResolvedSpec:
        """The spec of the version serving, else of the active one. Raises UnknownModelError, ModelError."""
        serving = self.models.ready(name)
        return serving.resolved if serving else await asyncio.to_thread(resolve_files, self.models.version(name).files)

    async def _in_time(self, work: Coroutine[Any, Any, T], wait: Wait) -> T:
        """Raises DeadlineExceededError."""
        timeout_s = min(wait.timeout_s, self._options.timeout_s)
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                return await work
        except TimeoutError:
            if not deadline.expired():
                raise
            raise DeadlineExceededError(timeout_s) from None

    async def _answer(
        self, data: bytes, choices: Sequence[ModelChoice], options: PredictOptions, timer: StageTimer, wait: Wait
    ) -> list[Answer]:
        models = await self._loaded(choices, bounded=not wait.skip_queue_limit)
        work = partial(predict, models, self._image_loader, data, options)
        run = self._run(work, models[0], timer, _admission(wait))
        del models, work  # the worker thread frees what was swapped out meanwhile
        return await run

    async def _run_tensors(
        self, inputs: Mapping[str, Tensor], choice: ModelChoice, timer: StageTimer, wait: Wait
    ) -> TensorAnswer:
        [model] = await self._loaded([choice], bounded=not wait.skip_queue_limit)
        run = self._run(one_stage(partial(run_tensors, model, inputs)), model, timer, _admission(wait))
        del model
        return await run

    async def _draw(self, request: DrawRequest, timer: StageTimer, wait: Wait) -> tuple[Answer, bytes]:
        [model] = await self._loaded([request.choice], bounded=not wait.skip_queue_limit)
        check_drawable(model.ref.task)
        run = self._run(one_stage(partial(self._predict_and_draw, model, request)), model, timer, _admission(wait))
        del model
        return await run

    def _predict_and_draw(self, model: LoadedModel, request: DrawRequest, context: RunContext) -> tuple[Answer, bytes]:
        """On a worker thread. Drawing and encoding count as postprocessing."""
        answer, picture = predict_with_picture(model, self._image_loader, request.data, request.options, context)
        context.stop.check()
        with context.timer.stage(POSTPROCESS):
            return answer, encode(self._drawer(picture, answer.predictions), request.media_type)

    async def _run_masked(self, explainer: Explainer, choice: ModelChoice, timer: StageTimer) -> None:
        [model] = await self._loaded([choice], bounded=True)
        self.scheduler.check_queue(model.ref.name)
        begin = self._run(one_stage(partial(explainer.begin, model)), model, timer, Admission.BACKGROUND)
        del model  # the explainer has it
        await begin
        while not explainer.complete:
            run = self._run(one_stage(explainer.next_score), explainer.model, timer, Admission.BACKGROUND)
            explainer.scores.append(await run)

    def _run(
        self, work: Work[T], model: LoadedModel, timer: StageTimer, admission: Admission
    ) -> Coroutine[Any, Any, T]:
        concurrency = model.runner.plan.concurrency(self.scheduler.concurrency)
        return self.scheduler.run(work, timer, model.ref.name, concurrency=concurrency, admission=admission)

    async def _loaded(self, choices: Sequence[ModelChoice], *, bounded: bool = False) -> list[LoadedModel]:
        """The loaded models. `bounded`: requests that wait for a load hold their pictures, so the queue limit bounds
        them, too; raises QueueFullError.
        """
        loads = self.request(choices)
        if not bounded or all(load.done() for load in loads):
            return [await loaded(load) for load in loads]
        name = choices[0].name or self.models.default
        self._check_waiting_for_load(name)
        self._waiting_for_load[name] += 1
        try:
            return [await loaded(load) for load in loads]
        finally:
            self._waiting_for_load[name] -= 1
            self._waiting_for_load += Counter()  # drops the zeros

    def _check_waiting_for_load(self, name: str) -> None:
        waiting = self._waiting_for_load[name]
        limit = max(self.scheduler.concurrency, self._options.queue_limit)
        if waiting >= limit:
            raise QueueFullError(waiting, limit, _LOAD_RETRY_S)

    def _load(self, version: ModelVersion) -> LoadedModel:
        """Load a version, on a loading thread.

        One process at a time checks and tunes a version; the others find its results in the cache.
        """
        options, tuner, started, ok = self._options, self._tuner, perf_counter(), False
        lock = options.cache / "locks" / f"{version.name}-{version.number}" if options.cache else None
        try:
            with process_lock(lock) if lock else nullcontext():
                if options.check:
                    options.check(version)
                choice = options.choose_runtime(version) if options.choose_runtime else None
                if choice:
                    tuner = self._tuner_of(choice)
                model = load_model(version, tuner.loader, tuner.options, exact_decode=options.exact_decode)
                tuned = tuner(model, version)
                more = choice.tolerance if choice else 0.0
                tuned.samples = check_samples(tuned, version, self._image_loader, more)
                tuned.runtime = choice
            tuned.runner.ran = partial(self._ran, version.name)
            use_huge_pages()
            ok = True
        finally:
            for observer in options.observers:
                observer.loaded(version.name, perf_counter() - started, ok=ok)
        return tuned

    def _ran(self, name: str, pictures: int) -> None:
        for observer in self._options.observers:
            observer.ran(name, pictures)

    def _tuner_of(self, choice: RuntimeChoice) -> Tuner:
        """The tuner with the chosen runtime, which is imported when a model uses it."""
        loader = self._loaders.get(choice.runtime) or create_model_loader(choice.runtime)
        self._loaders[choice.runtime] = loader
        return replace(self._tuner, loader=loader, options=replace(self._tuner.options, precision=choice.precision))


def _admission(wait: Wait) -> Admission:
    return Admission.UNCOUNTED if wait.skip_queue_limit else Admission.COUNTED
