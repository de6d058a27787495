"""Waiting until a server gives its first right answer."""

import asyncio
from time import perf_counter

from benchmarks.connection import LOST, Answer, Connection
from benchmarks.http_requests import Request
from benchmarks.processes import ServerDiedError, ServerProcess

_TRY_EACH_S = 0.01
_ANSWER_S = 10.0
_HOST = "127.0.0.1"


async def wait_until_right(server: ServerProcess, port: int, request: Request, patience_s: float) -> None:
    """Sends requests until an answer is right. Raises ServerDiedError if the server ends or after `patience_s`."""
    give_up_at = perf_counter() + patience_s
    answer = Answer(LOST, b"")
    while not request.is_right(answer):
        server.check_alive()
        if perf_counter() > give_up_at:
            raise ServerDiedError(f"no right answer within {patience_s:g} s, last {answer}:\n{server.log_end()}")
        await asyncio.sleep(_TRY_EACH_S)
        answer = await ask(port, request)


async def ask(port: int, request: Request) -> Answer:
    """One request over a new connection; LOST if there is no answer."""
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
        return await asyncio.wait_for(answered, _ANSWER_S)
    except TimeoutError:
        return Answer(LOST, b"")
    finally:
        connection.close()
