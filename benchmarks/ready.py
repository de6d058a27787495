"""Starts a server and waits until it gives its first right answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

from benchmarks.connection import LOST, Answer, Connection
from benchmarks.contestants import CACHE, Contestant
from benchmarks.http_requests import Request
from benchmarks.models import ROOT
from benchmarks.processes import ServerDiedError, ServerProcess, free_port, running
from benchmarks.scenarios import Model

_READY_S = 90.0
_TRY_EACH_S = 0.01
_ANSWER_S = 10.0
_HOST = "127.0.0.1"


@asynccontextmanager
async def serving(contestant: Contestant, model: Model, first: Request) -> AsyncIterator[tuple[ServerProcess, int]]:
    """The server and its port, after the right answer to `first`. Raises ServerDiedError."""
    port, log = free_port(), CACHE / "logs" / f"{contestant.name}.log"
    with running(contestant.command, contestant.environment_for(model, port), ROOT, log) as server:
        await wait_until_right(server, port, first, _READY_S)
        yield server, port


async def wait_until_right(server: ServerProcess, port: int, request: Request, timeout_s: float) -> None:
    """Sends requests until an answer is right. Raises ServerDiedError if the server ends or after `timeout_s`."""
    give_up_at = perf_counter() + timeout_s
    answer = Answer(LOST, b"")
    while not request.is_right(answer):
        server.check_alive()
        if perf_counter() > give_up_at:
            raise ServerDiedError(f"no right answer within {timeout_s:g} s, last {answer}:\n{server.log_end()}")
        await asyncio.sleep(_TRY_EACH_S)
        answer = await ask(port, request)


async def ask(port: int, request: Request, timeout_s: float = _ANSWER_S) -> Answer:
    """One request over a new connection; LOST if there is no answer within `timeout_s`."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Answer] = loop.create_future()

    def on_answer(_: Connection, answer: Answer) -> None:
        if not answered.done():
            answered.set_result(answer)

    try:
        _, connection = await loop.create_connection(lambda: Connection(on_answer), _HOST, port)
    except OSError:
        return Answer(LOST, b"")
    try:
        connection.send(request.payload)
        return await asyncio.wait_for(answered, timeout_s)
    except TimeoutError:
        return Answer(LOST, b"")
    finally:
        connection.close()
