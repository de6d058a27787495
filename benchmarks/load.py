"""Load generators: closed loop (as many requests in flight as connections) and open loop (arrivals at a fixed rate)."""

import asyncio
import random
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Sequence
from itertools import cycle
from time import perf_counter, sleep

from benchmarks.connection import LOST, Answer, Connection
from benchmarks.http_requests import Request
from benchmarks.windows import Window

_HOST = "127.0.0.1"
# An open loop opens up to this many connections; further arrivals wait, which counts as latency.
OPEN_CONNECTIONS = 64
_RECONNECT_S = 0.05
_SEED = 20


class Load(ABC):
    """Sends `requests` in a cycle to a local port. Latency includes the wait for a connection."""

    def __init__(self, port: int, requests: Sequence[Request]) -> None:
        self._port = port
        self._requests = cycle(requests)
        self._in_flight: dict[Connection, tuple[Request, float]] = {}
        self._latencies: list[float] = []
        self.errors: Counter[str] = Counter()
        self._errors_before = 0
        self._cut_at = perf_counter()
        self._stopped = False
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    def _answered(self, connection: Connection) -> None:
        """Called when a connection has its answer; the connection may be closed."""

    @property
    def answered(self) -> int:
        """Number of answers since the last cut, right and wrong."""
        return len(self._latencies) + self.errors.total() - self._errors_before

    def cut(self) -> Window:
        """Returns the answers since the last call."""
        now = perf_counter()
        errors = self.errors.total()
        window = Window(now - self._cut_at, self._latencies, errors - self._errors_before)
        self._latencies, self._errors_before, self._cut_at = [], errors, now
        return window

    def stop(self) -> None:
        """Drops the requests in flight."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        for connection in [*self._in_flight]:
            connection.close()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, connection = await loop.create_connection(lambda: Connection(self._on_answer), _HOST, self._port)
            except OSError:
                self.errors["no connection"] += 1
                await asyncio.sleep(_RECONNECT_S)
            else:
                return connection

    def _send(self, connection: Connection, asked_at: float | None = None) -> None:
        request = next(self._requests)
        self._in_flight[connection] = request, asked_at or perf_counter()
        connection.send(request.payload)

    def _on_answer(self, connection: Connection, answer: Answer) -> None:
        now = perf_counter()
        request, asked_at = self._in_flight.pop(connection)
        if request.is_right(answer):
            self._latencies.append(now - asked_at)
        else:
            self.errors[_kind(answer)] += 1
        if not self._stopped:
            self._answered(connection)

    def _open_another(self) -> None:
        task = asyncio.create_task(self._use_a_new_one())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _use_a_new_one(self) -> None:
        self._answered(await self._connect())


def _kind(answer: Answer) -> str:
    if answer.status == LOST:
        return "connection lost"
    return "wrong answer" if answer.status == 200 else f"status {answer.status}"


class ClosedLoop(Load):
    """Each of `connections` sends the next request as soon as it has its answer."""

    def __init__(self, port: int, requests: Sequence[Request], connections: int) -> None:
        super().__init__(port, requests)
        self.connections = connections

    async def start(self) -> None:
        for _ in range(self.connections):
            self._send(await self._connect())

    def _answered(self, connection: Connection) -> None:
        if connection.is_open:
            self._send(connection)
        else:
            self._open_another()


class OpenLoop(Load):
    """Poisson arrivals at `rate` a second; latency counts from the moment a request was meant to be sent."""

    def __init__(self, port: int, requests: Sequence[Request], rate: float) -> None:
        super().__init__(port, requests)
        self._rate = rate
        # The connection that was idle longest is used next, so that the server closes none as idle.
        self._idle: deque[Connection] = deque()
        self._opened = 0
        self._waiting: deque[float] = deque()

    async def start(self) -> None:
        """Arrivals come from a thread, as timers of the event loop are exact to a millisecond only."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._arrive, args=[loop], daemon=True).start()

    def stop(self) -> None:
        super().stop()
        for connection in self._idle:
            connection.close()

    def _arrive(self, loop: asyncio.AbstractEventLoop) -> None:
        gaps = random.Random(_SEED)
        next_at = perf_counter()
        while not self._stopped:
            next_at += gaps.expovariate(self._rate)
            sleep(max(0.0, next_at - perf_counter()))
            try:
                loop.call_soon_threadsafe(self._arrived, next_at)
            except RuntimeError:  # the loop has been closed meanwhile
                return

    def _arrived(self, asked_at: float) -> None:
        if self._stopped:
            return
        self._waiting.append(asked_at)
        while self._idle and self._waiting:
            connection = self._idle.popleft()
            if connection.is_open:
                self._send(connection, self._waiting.popleft())
            else:
                self._opened -= 1
        if self._waiting and self._opened < OPEN_CONNECTIONS:
            self._opened += 1
            self._open_another()

    def _answered(self, connection: Connection) -> None:
        if not connection.is_open:
            self._opened -= 1
        elif self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)
