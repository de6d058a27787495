"""Admission and lanes: who may wait, who runs next, how much of the machine a run gets, and when waiting ends.

A lane is a thread that takes one request the whole way: decode, preprocess, run, postprocess. OpenCV, Pillow, NumPy and
ONNX Runtime release the GIL, so as many lanes as cores use the whole machine.

| what happens | what follows |
|---|---|
| a lane is free | the request begins at once |
| all lanes are busy, fewer than `queue_limit` wait for its model | it waits; those of one model come in their order |
| `queue_limit` wait for its model | QueueFullError, with the time after which a place should be free |
| a lane gets free, several models wait | the model that has had the least time on lanes goes first |
| all lanes are busy with other models only | one spare lane takes it: a slow model does not hold up a fast one |
| all lanes are busy, those of other workers are not | it borrows one of theirs |
| a run begins | it may use its share of the cores: all when it is alone, one when all lanes are busy |
| the caller gives up while the request waits | it leaves the queue at once |
| the caller gives up while it runs | it goes on at once; the run is told to stop, and frees its lane when it has |
| a run does not end LOST_AFTER_S after its caller gave up | its lane is lost: another takes its place |
| work raises what is no Exception, or its thread ends | the caller gets WorkerThreadError; the lane goes on |
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock, Thread
from time import perf_counter
from typing import Any, Generic, TypeVar

from engine.scheduling.run_context import RunContext
from engine.scheduling.scoreboard import Place, no_neighbours
from engine.scheduling.service_rate import ServiceRate
from utils.time_utils import QUEUE, StageTimer

T = TypeVar("T")
Work = Callable[[RunContext], T]

# A run that its caller has given up is told to stop, which takes it an operator of the graph; a picture that is being
# decoded cannot be told. What takes longer hangs.
LOST_AFTER_S = 10.0
# Threads that hang keep their memory; with so many of them the machine is past help.
_MOST_LOST = 16

_log = logging.getLogger("fovea.lanes")


class QueueFullError(Exception):
    """`retry_after_s`: whole seconds, at least 1, after which a place should be free for one who comes then."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        self.waiting, self.retry_after_s = waiting, retry_after_s
        super().__init__(f"{waiting} requests are waiting already; try again in {retry_after_s} s.")


class WorkerThreadError(Exception):
    """A lane broke down under a request; the next one finds it whole again."""


class _Job(Generic[T]):
    """`future` belongs to `loop`; all else is touched under the scheduler's lock, or by the lane that has it."""

    __slots__ = ("asked", "done", "future", "loop", "lost", "model", "on_cores", "patient", "started", "turn", "work")

    def __init__(self, work: Work[T], model: "_Model", turn: RunContext, *, patient: bool) -> None:
        self.work, self.model, self.turn, self.patient = work, model, turn, patient
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] | None = self.loop.create_future()
        self.asked = perf_counter()
        self.started: float | None = None
        self.done = self.lost = self.on_cores = False

    def forget(self) -> None:
        """Its caller has what it waited for, or does not wait."""
        self.future = None
        self.work = _nothing


def _nothing(_: RunContext) -> Any:  # noqa: ANN401 - in the place of any work
    """What is left to do of a request that nobody waits for."""


class _Model:
    """What the scheduler knows of one model. `busy_seconds`: time on lanes, by which models are compared.

    `lanes`: requests of it under way at once; more than the scheduler has where they meet in one run on a device.
    `places_taken`: those waiting that are not patient.
    """

    __slots__ = ("busy_seconds", "lanes", "places_taken", "running", "service_rate", "threads", "waiting")

    def __init__(self, lanes: int) -> None:
        self.waiting: OrderedDict[_Job[Any], None] = OrderedDict()
        self.lanes = lanes
        self.running = self.places_taken = self.threads = 0
        self.busy_seconds = 0.0
        self.service_rate = ServiceRate()

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.running

    def add(self, job: _Job[Any]) -> None:
        self.waiting[job] = None
        self.places_taken += not job.patient

    def remove(self, job: _Job[Any]) -> None:
        if job in self.waiting:
            del self.waiting[job]
            self.places_taken -= not job.patient


@dataclass(frozen=True, slots=True)
class Among:
    """What one of several workers has of the machine: its `place` among them, the `lanes` of all of them together, and
    how many of these it may have at work when the others are idle (`most`)."""

    place: Place
    lanes: int
    most: int


class Scheduler:
    """`lanes`: requests under way at once, of models that run on the cores; `cores`: what all share, 0: one a lane."""

    def __init__(self, lanes: int, queue_limit: int, cores: int = 0, among: Among | None = None) -> None:
        self.lanes = lanes
        self._among = among or Among(no_neighbours(), lanes, lanes)
        self._cores = cores or lanes
        self._queue_limit = queue_limit
        self._lock = Lock()
        self._models: dict[str, _Model] = {}
        self._running = self._on_cores = self._lost = 0
        self._lanes: list[_Lane] = []
        self._idle: list[_Lane] = []
        self._closed = False
        self._start_lanes(self._among.most)

    @property
    def max_concurrency(self) -> int:
        """Those that it may have at work while its neighbours are idle."""
        return self._among.most

    async def run(
        self, work: Work[T], timer: StageTimer, model: str = "", *, lanes: int = 0, patient: bool = False
    ) -> T:
        """Runs `work` on a lane and records its wait in `timer`.

        `lanes`: how many requests of this model may be under way, where that is more than the lanes there are.
        `patient`: it waits however many do and takes nobody's place; its caller sees to it that they are not too many.
        Raises QueueFullError, WorkerThreadError, and what `work` raises.
        """
        with self._lock:
            if self._closed:
                raise WorkerThreadError("the lanes have ended")
            of_model = self._model(model)
            self._give_lanes(of_model, max(lanes, self.lanes))
            if not patient:
                self._check_place(of_model)
            job = _Job(work, of_model, RunContext(timer, self._share, self._among.place), patient=patient)
            of_model.add(job)
            self._dispatch()
        assert job.future is not None  # noqa: S101 - it is new
        try:
            return await job.future
        except asyncio.CancelledError:
            self._give_up(job)
            raise
        finally:
            job.forget()  # an error holds this frame: it must not lead back to the error, nor to the picture

    def queues(self) -> dict[str, tuple[int, int]]:
        """By model: how many wait, and how many are under way."""
        with self._lock:
            return {name: (len(model.waiting), model.running) for name, model in self._models.items()}

    def check_queue(self, model: str) -> None:
        """Raises QueueFullError where one that came now would find no place."""
        with self._lock:
            if (of_model := self._models.get(model)) is not None:
                self._check_place(of_model)

    def close(self) -> None:
        """Ends the lanes; what still waits is dropped, what runs ends."""
        with self._lock:
            self._closed = True
            for job in [job for model in self._models.values() for job in model.waiting]:
                job.model.remove(job)
                _hand_over(job, asyncio.Future.cancel)
            for lane in self._lanes:
                lane.inbox.put(None)
        until = perf_counter() + LOST_AFTER_S
        for lane in tuple(self._lanes):
            lane.join(max(0.0, until - perf_counter()))

    def _model(self, name: str) -> _Model:
        """One that was idle does not save up time: it starts level with those that are busy."""
        found = self._models.get(name)
        if found is None:
            found = self._models[name] = _Model(self.lanes)
        if found.idle:
            busy = [model.busy_seconds for model in self._models.values() if not model.idle]
            found.busy_seconds = max(found.busy_seconds, min(busy, default=found.busy_seconds))
        return found

    def _check_place(self, model: _Model) -> None:
        if model.places_taken >= self._queue_limit and not (self._idle and self._may_begin(model)):
            waiting = len(model.waiting)
            raise QueueFullError(waiting, model.service_rate.refused(perf_counter(), waiting, model.running))

    def _may_begin(self, model: _Model) -> bool:
        """A lane is free, or the spare one that is for models none of whose requests is under way."""
        if model.lanes > self.lanes:
            return model.running < model.lanes
        if self._on_cores < self.lanes or (self._on_cores <= self._among.most and model.running == 0):
            return True
        return (
            self._on_cores < self._among.most and self._on_cores + self._among.place.others_busy() < self._among.lanes
        )

    def _share(self) -> int:
        return max(1, self._cores // max(1, self._running + self._among.place.others_busy()))

    def _dispatch(self) -> None:
        """Starts what may start; the caller holds the lock.

        The lane that was busy last goes first: its memory is still in a core's cache.
        """
        while self._idle and (job := self._next()):
            self._idle.pop().inbox.put(job)

    def _next(self) -> _Job[Any] | None:
        """Takes a job out of its queue, now under way; the caller holds the lock."""
        waiting = [model for model in self._models.values() if model.waiting and self._may_begin(model)]
        if not waiting:
            return None
        model = min(waiting, key=lambda model: model.busy_seconds)
        job = next(iter(model.waiting))
        model.remove(job)
        job.started = perf_counter()
        if not model.running:
            model.service_rate.began_alone(job.started)
        job.on_cores = model.lanes == self.lanes
        self._count(job, 1)
        return job

    def _count(self, job: _Job[Any], change: int) -> None:
        job.model.running += change
        self._running += change
        if job.on_cores:
            self._on_cores += change
            self._among.place.tell_busy(self._on_cores)

    def _give_up(self, job: _Job[Any]) -> None:
        """Its caller is gone."""
        with self._lock:
            job.turn.stop.stop()
            if job.started is None:
                job.model.remove(job)
            elif not job.done:
                job.loop.call_later(LOST_AFTER_S, self._replace_lane, job)

    def _replace_lane(self, job: _Job[Any]) -> None:
        with self._lock:
            if job.done or self._closed:
                return
            if self._lost >= _MOST_LOST:  # one of them may come back
                job.loop.call_later(LOST_AFTER_S, self._replace_lane, job)
                return
            job.lost = True
            self._lost += 1
            self._leave(job)
            self._start_lanes(1)
            self._dispatch()
        _log.error("a lane hangs since %.0f s; another takes its place", perf_counter() - (job.started or 0))

    def _leave(self, job: _Job[Any]) -> None:
        """No longer under way; the caller holds the lock."""
        now, model = perf_counter(), job.model
        seconds = now - (job.started or 0)
        model.busy_seconds += seconds
        model.service_rate.ended(now, seconds, others_wait=bool(model.waiting))
        self._count(job, -1)

    def _give_lanes(self, model: _Model, lanes: int) -> None:
        """More than there are take threads of their own, for as long as the scheduler lives."""
        model.lanes = lanes
        if lanes > max(self.lanes, model.threads):
            self._start_lanes(lanes - model.threads)
            model.threads = lanes

    def _start_lanes(self, count: int) -> None:
        """They are started before they are needed; the spare one with the first."""
        for _ in range(count if self._lanes else count + 1):
            lane = _Lane(self._work_until_told)
            lane.start()
            self._lanes.append(lane)
            self._idle.append(lane)

    def _work_until_told(self, lane: "_Lane") -> None:
        """Until it is told to end, or was replaced while it hung."""
        job = lane.inbox.get()
        while job:
            answer = _work(job)
            with self._lock:
                job.done = True
                if job.lost:
                    self._lost -= 1
                    self._lanes.remove(lane)
                    return
                self._leave(job)
                following = None if self._closed else self._next()
                if following is None:
                    self._idle.append(lane)
                self._dispatch()
            _hand_over(job, answer)
            del answer, job  # the lane may wait long for its next job
            job = following or lane.inbox.get()


class _Lane(Thread):
    """`inbox`: what it shall do next; None to end."""

    def __init__(self, work: Callable[["_Lane"], None]) -> None:
        super().__init__(name="lane", daemon=True)
        self.inbox: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._work = work

    def run(self) -> None:
        self._work(self)


Answer = Callable[["asyncio.Future[Any]"], object]


def _work(job: _Job[Any]) -> Answer:
    """Does it, and says how its future gets what came of it."""
    assert job.started is not None  # noqa: S101 - `_next` started it
    job.turn.timer.add(QUEUE, job.started - job.asked)
    try:
        result = job.work(job.turn)
    except StopIteration:  # a future refuses to carry it
        return _failed(WorkerThreadError("the work ended with StopIteration"))
    except Exception as error:  # noqa: BLE001 - it is the caller's
        return _failed(error)
    except BaseException as error:  # noqa: BLE001 - what a library raises to end a thread must not end a lane
        _log.exception("a lane broke down")
        return _failed(WorkerThreadError(f"the lane broke down: {type(error).__name__}"))
    finally:
        del job  # which an error's traceback would hold
    return lambda future: future.set_result(result)


def _failed(error: Exception) -> Answer:
    return lambda future: future.set_exception(error)


def _hand_over(job: _Job[Any], answer: Answer) -> None:
    """To the event loop; it may be closed by now."""
    future = job.future
    if future is None:  # nobody waits for it any more
        return
    try:
        job.loop.call_soon_threadsafe(_settle, future, answer)
    except RuntimeError:
        _log.debug("an answer came after the end")


def _settle(future: "asyncio.Future[Any]", answer: Answer) -> None:
    if not future.done():
        answer(future)
