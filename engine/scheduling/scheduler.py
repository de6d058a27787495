"""Admission and dispatch: which requests wait, which one runs next, on how many cores, and when a wait ends.

A worker thread takes a request through all stages: decode, preprocess, inference, postprocess. OpenCV, Pillow, NumPy
and ONNX Runtime release the GIL, so as many worker threads as cores use the whole machine. `concurrency` is for all
worker processes together; the share of one process is an equal part of it, at least 1. When many requests of a fast
model wait, a thread takes several through each stage one after another, which saves cache misses and thread switches.

| event | effect |
|---|---|
| A request comes while the process has less in flight than its share. | The request starts at once. |
| Its share is in flight, fewer than `queue_limit` requests of the model wait. | The request waits; each model's queue is first in, first out. |
| `queue_limit` requests of the model wait. | QueueFullError, with the time after which a retry should succeed. |
| A worker thread becomes free while several models have requests waiting. | The model with the least busy time goes first. |
| More than twice as many requests of that model wait as threads work. | The thread takes several, up to TOGETHER, if they run within TOGETHER_S. |
| More pictures of batches wait than threads work. | As before; the answer of a batch waits for all of its pictures anyway. |
| Requests wait behind pictures of batches. | They and the pictures take turns. |
| The whole share is in flight for other models. | One spare worker thread takes the request: a slow model does not block a fast one. |
| The whole share is in flight, the shares of other processes are not. | The process borrows from them, up to twice its share. |
| A background job waits. | It starts when no other request of any model may start, on a thread of the process's own share. |
| A run starts. | It may use its part of the cores: all if it is the only one, one if as many runs as cores are in flight. |
| The runs of the only worker process are on all cores. | Each of its threads stays on one core until it finds nothing to do. |
| A thread ends a request and finds nothing to do, while all other cores are in use. | It wakes the event loop on its own core. |
| The caller is cancelled while its request waits. | The request leaves the queue at once. |
| The caller is cancelled while its request runs. | The caller returns at once; the run is stopped, and its thread is free when it has ended. |
| A run has not ended HUNG_AFTER_S after it was stopped. | Its thread counts as hung, and a new one replaces it. |
| A job raises something else than an Exception, such as SystemExit. | The caller gets WorkerThreadError; the thread takes the next request. |
"""  # noqa: E501 - the rows of a table

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from queue import SimpleQueue
from threading import Lock, Thread
from time import perf_counter
from typing import Any, TypeVar
from weakref import WeakSet

from engine.scheduling.core_affinity import CoreAffinity
from engine.scheduling.job import Admission, Job, Work, WorkerThreadError, deliver, run_together
from engine.scheduling.scoreboard import Scoreboard, WorkerSlot
from engine.scheduling.service_rate import ServiceRate
from utils.time_utils import StageTimer

T = TypeVar("T")

# A stopped run ends after the graph operator that it is in; a decoder cannot be stopped. What takes longer hangs.
HUNG_AFTER_S = 10.0
# Requests that a worker thread takes at once at most, and the seconds that they may need on it.
TOGETHER = 4
TOGETHER_S = 0.1
# How many times its share one worker process may have in flight while the others are idle.
_MAX_SHARES = 2

_log = logging.getLogger("fovea.scheduler")


class QueueFullError(Exception):
    """`retry_after_s`: whole seconds, at least 1, after which the queue probably has room."""

    def __init__(self, waiting: int, limit: int, retry_after_s: int) -> None:
        self.waiting, self.limit, self.retry_after_s = waiting, limit, retry_after_s
        super().__init__(
            f"{waiting} requests are queued for this model (limit {limit}); try again in {retry_after_s} s."
        )


class _Model:
    """The queue and the counts of one model.

    `concurrency`: its requests in flight at most; above the scheduler's own if they meet in one run on a device.
    `background`: waiting background jobs. `queued`: waiting jobs of both kinds that count towards the queue limit.
    `threads`: worker threads started for it alone. `batch_overtaken`: by the job that started last.
    `busy_seconds`: time of its requests on worker threads, by which models are compared.
    """

    def __init__(self, concurrency: int) -> None:
        self.waiting: OrderedDict[Job[Any], None] = OrderedDict()
        self.background: OrderedDict[Job[Any], None] = OrderedDict()
        self.concurrency = concurrency
        self.in_flight = self.queued = self.threads = 0
        self.batch_overtaken = False
        self.busy_seconds = 0.0
        self.service_rate = ServiceRate()

    @property
    def together(self) -> int:
        """Requests that one worker thread may take at once."""
        run_s = self.service_rate.run_s
        return max(1, min(TOGETHER, int(TOGETHER_S / run_s))) if run_s else 1

    def first(self) -> Job[Any]:
        """The job that starts next: the one that waits longest, or a request that overtakes a picture of a batch."""
        oldest = next(iter(self.waiting))
        requests = (job for job in self.waiting if job.counts_in_queue)
        first = oldest if self.batch_overtaken else next(requests, oldest)
        self.batch_overtaken = first is not oldest
        return first

    def add(self, job: Job[Any]) -> None:
        self._queue_of(job)[job] = None
        self.queued += job.counts_in_queue

    def remove(self, job: Job[Any]) -> None:
        queue = self._queue_of(job)
        if job in queue:
            del queue[job]
            self.queued -= job.counts_in_queue

    def _queue_of(self, job: Job[Any]) -> OrderedDict[Job[Any], None]:
        return self.background if job.background else self.waiting


class Scheduler:
    """Runs jobs of several models on worker threads.

    `concurrency`: requests in flight on the cores, of all worker processes together. `queue_limit`: waiting requests
    of each model, of this process. `cores`: shared by all runs, 0: as many as `concurrency`. `slot`: the claimed slot
    of this process; None if it is the only worker.
    """

    def __init__(self, concurrency: int, queue_limit: int, cores: int = 0, slot: WorkerSlot | None = None) -> None:
        self.concurrency = concurrency
        self._slot = slot or Scoreboard.open(None).claim()
        self._cores = cores or concurrency
        self._queue_limit = queue_limit
        self._lock = Lock()
        self._models: dict[str, _Model] = {}
        self._busy = self._on_cores = 0  # numbers of worker threads
        self._threads = WeakSet[Thread]()
        self._idle: list[SimpleQueue[list[Job[Any]]]] = []  # of each idle thread the queue in which it waits
        self._closed = False
        self._affinity = CoreAffinity(concurrency)
        self._start_threads(concurrency + 1)  # the spare one

    @property
    def max_concurrency(self) -> int:
        """Requests that this process may have in flight on the cores while the other workers are idle."""
        return min(self.concurrency, _MAX_SHARES * self._share())

    async def run(
        self,
        work: Work[T],
        timer: StageTimer,
        model: str = "",
        *,
        concurrency: int = 0,
        admission: Admission = Admission.COUNTED,
    ) -> T:
        """Run `work` on a worker thread, perhaps side by side with others, and record its waits in `timer`.

        `concurrency`: requests of this model in flight at most, if above the scheduler's.
        Raises QueueFullError, WorkerThreadError, and what `work` raises.
        """
        with self._lock:
            if self._closed:
                raise WorkerThreadError("the worker threads have been shut down")
            of_model = self._model(model, max(concurrency, self.concurrency))
            if admission is Admission.COUNTED:
                self._check_queue(of_model)
            job = Job(work, model, timer, self._cores_a_run, admission)
            del work  # the job has it, until it has run
            of_model.add(job)
            self._dispatch()
        assert job.future is not None  # noqa: S101 - it is new
        try:
            return await job.future
        except asyncio.CancelledError:
            self._cancel(job)
            raise
        finally:
            job.drop_references()  # an error's traceback holds this frame, which must not lead back to the error

    def queues(self) -> dict[str, tuple[int, int]]:
        """The numbers of requests that wait and that are in flight, by model."""
        with self._lock:
            models = self._models.items()
            return {name: (len(model.waiting) + len(model.background), model.in_flight) for name, model in models}

    def check_queue(self, model: str) -> None:
        """Raises QueueFullError if a new request would be rejected."""
        with self._lock:
            if (of_model := self._models.get(model)) is not None:
                self._check_queue(of_model)

    def close(self) -> None:
        """Cancel what waits, and wait up to HUNG_AFTER_S for what runs."""
        with self._lock:
            self._closed = True
            threads = tuple(self._threads)
            for job in [job for model in self._models.values() for job in (*model.waiting, *model.background)]:
                self._models[job.model].remove(job)
                job.outcome = None, asyncio.CancelledError()
                deliver([job])
            for inbox in self._idle:
                inbox.put([])
        until = perf_counter() + HUNG_AFTER_S
        for thread in threads:
            thread.join(max(0.0, until - perf_counter()))

    def _model(self, name: str, concurrency: int) -> _Model:
        """An idle model gets no credit for its idle time: it starts level with the busy ones.

        The threads that a model of higher concurrency needs live as long as the scheduler.
        """
        found = self._models.get(name) or self._models.setdefault(name, _Model(concurrency))
        if not (found.waiting or found.in_flight):
            busy = [model.busy_seconds for model in self._models.values() if model.waiting or model.in_flight]
            found.busy_seconds = max(found.busy_seconds, min(busy, default=0.0))
        found.concurrency = concurrency
        if concurrency > max(self.concurrency, found.threads):
            self._start_threads(concurrency - found.threads)
            found.threads = concurrency
        return found

    def _check_queue(self, model: _Model) -> None:
        if model.queued >= self._queue_limit and not (self._idle and self._may_start(model)):
            retry_after_s = model.service_rate.rejected(perf_counter(), len(model.waiting), model.in_flight)
            raise QueueFullError(model.queued, self._queue_limit, retry_after_s)

    def _may_start(self, model: _Model) -> bool:
        if model.concurrency > self.concurrency:
            return model.in_flight < model.concurrency
        if self._on_cores < self._share():
            return True
        most = self.max_concurrency
        if model.in_flight == 0 and self._on_cores <= most:  # on the spare thread
            return True
        return self._on_cores < most and self._on_cores + self._slot.others_busy() < self.concurrency

    def _share(self) -> int:
        return max(1, self.concurrency // self._slot.workers)

    def _cores_a_run(self) -> int:
        return max(1, self._cores // max(1, self._busy + self._slot.others_busy()))

    def _dispatch(self) -> None:
        """Start what may start, on the thread that was busy last; the caller holds the lock."""
        while self._idle and (jobs := self._next()):
            self._idle.pop().put(jobs)

    def _next(self) -> list[Job[Any]]:
        """Take the next jobs of one thread out of their queue, and count them; the caller holds the lock."""
        model = None
        for other in self._models.values():
            if other.waiting and (not model or other.busy_seconds < model.busy_seconds) and self._may_start(other):
                model = other
        job = model.first() if model else self._oldest_background_job()
        if job is None:
            return []
        model = self._models[job.model]
        on_cores = model.concurrency == self.concurrency
        jobs = [job]
        if on_cores and not job.background:
            alike = [other for other in model.waiting if other.counts_in_queue == job.counts_in_queue]
            waiting_per_job = (2 if job.counts_in_queue else 1) * self.concurrency
            jobs = alike[: min(model.together, 1 + (len(alike) - 1) // waiting_per_job)]
        now = perf_counter()
        if not model.in_flight:
            model.service_rate.started_alone(now)
        for job in jobs:
            model.remove(job)
            job.started_at, job.on_cores, job.together = now, on_cores, jobs
        self._count(jobs, 1)
        return jobs

    def _oldest_background_job(self) -> Job[Any] | None:
        """None also while the whole share is in flight: background jobs neither borrow nor take the spare thread."""
        if self._busy >= self._share():
            return None
        first = [next(iter(model.background)) for model in self._models.values() if model.background]
        return min(first, key=lambda job: job.queued_at, default=None)

    def _count(self, jobs: Sequence[Job[Any]], sign: int) -> None:
        self._models[jobs[0].model].in_flight += sign * len(jobs)
        self._busy += sign
        if jobs[0].on_cores:
            self._on_cores += sign
            self._slot.set_busy(self._on_cores)

    def _cancel(self, job: Job[Any]) -> None:
        with self._lock:
            job.stop.stop()
            if job.started_at is None:
                self._models[job.model].remove(job)
            elif not job.done:
                job.loop.call_later(HUNG_AFTER_S, self._replace_thread, job)

    def _replace_thread(self, job: Job[Any]) -> None:
        with self._lock:
            if job.done or job.hung or self._closed:
                return
            for other in job.together:
                other.hung = True
            self._finish(job.together)
            self._start_threads(1)
            self._dispatch()
        _log.error("worker thread hangs, replaced seconds=%.0f", perf_counter() - (job.started_at or 0))

    def _finish(self, jobs: Sequence[Job[Any]]) -> None:
        """Count the jobs of a thread as no longer in flight; the caller holds the lock."""
        now, model = perf_counter(), self._models[jobs[0].model]
        seconds = now - (jobs[0].started_at or 0)
        if not jobs[0].background:
            model.busy_seconds += seconds
        for _ in jobs:
            model.service_rate.ended(now, seconds / len(jobs), others_wait=bool(model.waiting))
        self._count(jobs, -1)

    def _start_threads(self, count: int) -> None:
        for _ in range(count):
            inbox: SimpleQueue[list[Job[Any]]] = SimpleQueue()
            thread = Thread(target=self._run_jobs, args=(inbox,), name="worker", daemon=True)
            thread.start()
            self._threads.add(thread)
            self._idle.append(inbox)

    def _run_jobs(self, inbox: "SimpleQueue[list[Job[Any]]]") -> None:
        """Run jobs until the scheduler closes, or this thread hung and has been replaced."""
        core = None
        while jobs := inbox.get():
            while jobs:
                if core is None and self._on_cores >= self.concurrency == self._share():
                    core = self._affinity.pin()
                run_together(jobs)
                with self._lock:
                    for job in jobs:
                        job.done = True
                    hung, following = job.hung, []
                    if not hung:
                        self._finish(jobs)
                        following = self._next()
                        if following:
                            self._dispatch()
                        else:
                            self._idle.append(inbox)
                others_in_use = 0 < self.concurrency - 1 <= self._busy
                with self._affinity.event_loop_here() if others_in_use and not following else nullcontext():
                    deliver(jobs)
                jobs.clear()  # they refer to it
                del job  # the next one may be long in coming
                jobs = following
            if core is not None:
                self._affinity.unpin(core)
                core = None
            if hung or self._closed:
                return
