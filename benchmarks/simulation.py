"""Simulates requests that arrive at services: who waits, for how long, and who is rejected."""

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.windows import percentile

Routing = Literal["random", "round robin", "two choices", "fewest"]


@dataclass(frozen=True, slots=True)
class Machine:
    """`seconds[k - 1]`: the time of a request while k requests are in work; the machine works on at most that many.

    `waiting_seconds`: the same while all are in work and others wait, if it differs: then nothing idles between two.
    `spread`: standard deviation of a request's work, relative to its mean (log-normal).
    `processes`: services on the machine. Each has its own queue and runs an equal share of the requests in work.
    `queue_limit`: most waiting requests of a process.
    """

    seconds: tuple[float, ...]
    spread: float = 0.0
    processes: int = 1
    queue_limit: int = 64
    waiting_seconds: float | None = None

    @property
    def limit(self) -> float:
        """Requests a second when there is always one waiting."""
        return len(self.seconds) / self.request_s(len(self.seconds), waiting=True)

    def request_s(self, in_work: int, *, waiting: bool) -> float:
        """The time of a request."""
        if waiting and in_work == len(self.seconds) and self.waiting_seconds is not None:
            return self.waiting_seconds
        return self.seconds[in_work - 1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`latencies`: seconds of each answered request. `seconds`: from the first arrival to the last answer."""

    latencies: Sequence[float]
    rejected: int
    seconds: float

    @property
    def throughput(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile_s(self, percent: float) -> float:
        return percentile(self.latencies, percent)


def poisson(rate: float, count: int, seed: int = 20) -> list[float]:
    """The times of `count` arrivals at `rate` a second. The same seed gives the gaps of `benchmarks.load.OpenLoop`."""
    gaps, now, times = random.Random(seed), 0.0, []
    for _ in range(count):
        now += gaps.expovariate(rate)
        times.append(now)
    return times


def simulate(
    arrivals: Sequence[float], machine: Machine, machines: int = 1, routing: Routing = "fewest", seed: int = 1
) -> Outcome:
    """`routing`: how a proxy in front chooses one of the processes of all machines.

    "random"; "round robin"; "fewest": the one with the fewest requests (nginx's and HAProxy's least connections);
    "two choices": the one of two random ones with fewer (Ray Serve).
    """
    chance = random.Random(seed)
    running = [_Running(machine) for _ in range(machines)]
    queues = [queue for one in running for queue in one.queues]
    choose = _Router(queues, routing, chance)
    sigma = math.sqrt(math.log1p(machine.spread**2))
    ends: list[tuple[float, int, int]] = []  # when a machine completes its next request; void if it changed since
    latencies: list[float] = []
    rejected, last = 0, 0.0

    def plan(number: int) -> None:
        if (at := running[number].next_end()) is not None:
            heapq.heappush(ends, (at, running[number].changes, number))

    for now in [*arrivals, math.inf]:
        while ends and ends[0][0] <= now:
            at, changes, number = heapq.heappop(ends)
            if running[number].changes == changes:
                latencies += running[number].complete(at)
                last = at
                plan(number)
        if now < math.inf:
            index = choose()
            number, work = index // machine.processes, chance.lognormvariate(-(sigma**2) / 2, sigma)
            if running[number].accept(queues[index], work, now):
                plan(number)
            else:
                rejected += 1
    return Outcome(latencies, rejected, last - arrivals[0] if latencies else math.inf)


@dataclass(slots=True)
class _Request:
    """`work`: what is left of it, 1 in the mean."""

    work: float
    arrived: float


@dataclass(slots=True)
class _Queue:
    in_work: list[_Request] = field(default_factory=list)
    waiting: deque[_Request] = field(default_factory=deque)

    @property
    def requests(self) -> int:
        return len(self.in_work) + len(self.waiting)


class _Running:
    """A machine at a time. `changes` counts arrivals and completions."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._at_once = len(machine.seconds) // machine.processes
        self._now = 0.0
        self.queues = [_Queue() for _ in range(machine.processes)]
        self.changes = 0

    def accept(self, queue: _Queue, work: float, now: float) -> bool:
        """False if the queue is full."""
        self._advance(now)
        if len(queue.in_work) < self._at_once:
            queue.in_work.append(_Request(work, now))
        elif len(queue.waiting) < self._machine.queue_limit:
            queue.waiting.append(_Request(work, now))
        else:
            return False
        self.changes += 1
        return True

    def next_end(self) -> float | None:
        left = [request.work for queue in self.queues for request in queue.in_work]
        return self._now + min(left) * self._request_s(len(left)) if left else None

    def complete(self, now: float) -> list[float]:
        """The latency of the request that has the least work left."""
        self._advance(now)
        queue, done = min(
            ((queue, request) for queue in self.queues for request in queue.in_work), key=lambda pair: pair[1].work
        )
        queue.in_work.remove(done)
        if queue.waiting:
            queue.in_work.append(queue.waiting.popleft())
        self.changes += 1
        return [now - done.arrived]

    def _advance(self, now: float) -> None:
        """All requests in work share the machine."""
        in_work = sum(len(queue.in_work) for queue in self.queues)
        if in_work:
            done = (now - self._now) / self._request_s(in_work)
            for queue in self.queues:
                for request in queue.in_work:
                    request.work -= done
        self._now = now

    def _request_s(self, in_work: int) -> float:
        return self._machine.request_s(in_work, waiting=any(queue.waiting for queue in self.queues))


class _Router:
    def __init__(self, queues: Sequence[_Queue], routing: Routing, chance: random.Random) -> None:
        self._queues, self._routing, self._chance, self._last = queues, routing, chance, -1

    def __call__(self) -> int:
        """The index of the queue that gets the next request."""
        count = len(self._queues)
        if self._routing == "random":
            return self._chance.randrange(count)
        if self._routing == "round robin":
            self._last = (self._last + 1) % count
            return self._last
        among = range(count) if self._routing == "fewest" else [self._chance.randrange(count) for _ in range(2)]
        first = self._chance.random()  # so that ties do not all go to the first
        return min(among, key=lambda index: (self._queues[index].requests, (index + first * count) % count))
