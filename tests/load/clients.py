"""Clients that send requests one after another, judge the answers, and count the outcomes."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from time import monotonic

from tests.answers import MalformedError
from tests.load.connection import Connection, LostError, NoConnectionError
from tests.load.requests import RIGHT, Request, outcome

_TIMEOUT_S = 40.0
_FRESH = 0.2  # of the requests take a new connection


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one request, and its times (s of the monotonic clock)."""

    request: Request
    result: str
    sent: float
    ended: float


# Returns RIGHT, an excuse, or `wrong: ...`.
Verdict = Callable[[Outcome], str]
NextRequest = Callable[[str], Request]


@dataclass
class Tally:
    """`outcomes` by kind of request and verdict; `wrong`: the first wrong ones; `latencies` (s) of the right ones."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    wrong_count: int = 0
    latencies: list[float] = field(default_factory=list)
    sent: int = 0

    def add(self, done: Outcome, verdict: str) -> None:
        if verdict.startswith("wrong"):
            self.wrong_count += 1
            if len(self.wrong) < 30:
                self.wrong.append(
                    f"{done.request.kind} for {done.request.model}, {done.ended - done.sent:.3f} s: {verdict}"
                )
            verdict = "WRONG"
        elif verdict == RIGHT:
            self.latencies.append(done.ended - done.sent)
        self.outcomes[done.request.kind, verdict] += 1

    @property
    def total(self) -> int:
        return self.outcomes.total()


class Clients:
    """`number` clients that run until the end of the block, which waits for their requests in flight."""

    def __init__(self, port: int, number: int, requests: NextRequest, verdict: Verdict, tally: Tally) -> None:
        self._port, self._number, self._requests, self._verdict = port, number, requests, verdict
        self._tally, self._ids = tally, count()
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Clients":
        self._tasks = [asyncio.create_task(self._work(random.Random(number))) for number in range(self._number)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def _work(self, chance: random.Random) -> None:
        connection = Connection(self._port)
        while not self._stopped:
            request_id = f"c-{next(self._ids)}"
            request = self._requests(request_id)
            if chance.random() < _FRESH:
                connection.close()
            self._tally.sent += 1
            sent = monotonic()
            result = await _try(connection, request, request_id)
            done = Outcome(request, result, sent, monotonic())
            self._tally.add(done, self._verdict(done))
            if result != RIGHT:
                await asyncio.sleep(0.05)
        connection.close()


async def _try(connection: Connection, request: Request, request_id: str) -> str:
    try:
        answer = await connection.send(request.payload, _TIMEOUT_S)
    except LostError as error:
        return str(error)
    except NoConnectionError:
        return "no connection"
    except TimeoutError:
        return f"wrong: no answer within {_TIMEOUT_S:g} s"
    except MalformedError as error:
        return f"wrong: {error}"
    result = outcome(request, answer, request_id)
    return RIGHT if result in request.expected else result


async def rude_client(port: int, payload: bytes, chance: random.Random) -> None:
    """Leaves at a random moment: during its request, before the answer, or during it."""
    connection = Connection(port)
    with suppress(NoConnectionError, OSError):
        part = payload[: int(len(payload) * min(1.0, chance.random() * 1.5))]
        await connection.leave_after(part, chance.random() ** 3)
    connection.close()


async def slow_client(port: int, request: Request, request_id: str, pieces: int, pause_s: float) -> str:
    """Sends a request in pieces. Returns the result."""
    connection, payload = Connection(port), request.payload
    size = max(1, -(-len(payload) // pieces))
    try:
        parts = [payload[i : i + size] for i in range(0, len(payload), size)]
        answer = await connection.send_slowly(parts, pause_s, _TIMEOUT_S + pieces * pause_s)
    except (LostError, NoConnectionError, TimeoutError, MalformedError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    result = outcome(request, answer, request_id)
    return RIGHT if result in request.expected else result
