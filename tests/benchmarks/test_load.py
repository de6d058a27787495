import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.http_requests import Picture, raw
from benchmarks.load import ClosedLoop, Load, OpenLoop
from benchmarks.windows import Window

RIGHT = b'{"predictions":[{"label":"x","class_id":1}]}'
REQUESTS = [raw("/infer", Picture(Path("x.jpg"), "image/jpeg", b"x", frozenset({1})))]
HEAD_AND_PICTURE = len(REQUESTS[0].payload)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _answering(body: bytes, delay_s: float = 0.0) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readexactly(HEAD_AND_PICTURE):
                await asyncio.sleep(delay_s)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return handle


def _measured(handler: Handler, make: Callable[[int], Load], seconds: float) -> tuple[Window, Load]:
    async def run() -> tuple[Window, Load]:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        load = make(server.sockets[0].getsockname()[1])
        await load.start()
        load.cut()
        await asyncio.sleep(seconds)
        window = load.cut()
        load.stop()
        server.close()
        await asyncio.sleep(0.05)
        return window, load

    return asyncio.run(run())


def test_a_closed_loop_has_as_many_requests_under_way_as_connections() -> None:
    window, load = _measured(_answering(RIGHT, 0.02), lambda port: ClosedLoop(port, REQUESTS, 4), 0.5)
    assert 4 <= len(window.latencies) <= 4 * 0.5 / 0.02 + 4
    assert min(window.latencies) >= 0.02
    assert not load.errors


def test_an_open_loop_keeps_its_rate_whatever_the_answers_do() -> None:
    window, load = _measured(_answering(RIGHT, 0.05), lambda port: OpenLoop(port, REQUESTS, 200), 1.0)
    assert 50 <= len(window.latencies) <= 300
    assert not load.errors


def test_a_wrong_answer_is_an_error_and_no_throughput() -> None:
    wrong = RIGHT.replace(b":1}", b":2}")
    window, load = _measured(_answering(wrong, 0.01), lambda port: ClosedLoop(port, REQUESTS, 1), 0.1)
    assert not window.latencies
    assert window.errors
    assert set(load.errors) == {"wrong answer"}


def test_a_connection_that_breaks_is_an_error_and_opened_again() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(HEAD_AND_PICTURE)
        writer.close()

    _, load = _measured(hang_up, lambda port: ClosedLoop(port, REQUESTS, 1), 0.2)
    assert load.errors["connection lost"] > 1
