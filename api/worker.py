"""A worker process: uvicorn's server without an address of its own; its supervisor hands it the connections.

python -m api.worker      started by the supervisor, which says in the environment what is this worker's own
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn

from api.handover import ConnectionTaker
from api.http_protocol import BoundedHttpProtocol
from api.inference_api import InferenceAPI
from api.server.tls import server_context
from api.settings import ApiSettings, load_settings
from api.worker_link import Kind, Link
from api.worker_process import WORKER
from engine.scheduling.scoreboard import Key, Place, open_board
from utils.memory import settle_in

_SHUTDOWN_GRACE_S = 30
_ALIVE_EVERY_S = 0.5
# So long a client that has just been answered may take to send its next request, which is answered, and closes.
_LINGER_S = 1.0
_HANDED_S = 5.0
# Over TLS, for an answer that is taken slowly; from who takes nothing at all the kernel turns away sooner.
_LAST_BYTES_S = 300.0

_log = logging.getLogger("fovea")


@dataclass(frozen=True, slots=True)
class Assignment:
    """What is this worker's own; `quarantined`: versions not to load, when that began (s since the epoch) and why."""

    place: Place
    workers: int
    hands: socket.socket
    link: socket.socket
    quarantined: dict[Key, tuple[float, str]]


class Worker(uvicorn.Server):
    """Serves until it is told to end, or until its supervisor is gone."""

    def __init__(self, config: uvicorn.Config, api: InferenceAPI, assignment: Assignment) -> None:
        super().__init__(config)
        self._api = api
        self._tls = server_context(api.settings)
        self._place, self._socket = assignment.place, assignment.link
        self._connections = ConnectionTaker(assignment.hands, self._begin_with, self._place.tell_closed)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets or [])
        self._connections.start()
        link = await Link.open(self._socket)
        self._api.workmates.connect(link)
        self._begin(self._listen_to(link))
        self._begin(self._tell_alive())
        link.tell(Kind.READY)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are the supervisor's; a service manager sends them to every process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        yield

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end_of_task)

    def _end_of_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("a task of the worker's broke off", exc_info=error)

    async def _tell_alive(self) -> None:
        while True:
            self._place.tell_alive(able=self._api.health.not_ready_reason() is None)
            await asyncio.sleep(_ALIVE_EVERY_S)

    async def _listen_to(self, link: Link) -> None:
        async for kind, facts in link.messages():
            if kind is Kind.DRAIN:
                self._drain()
            elif kind is Kind.STOP:
                break
            elif kind is Kind.FOLLOWED:
                self._api.workmates.followed(facts["id"])
            elif kind is Kind.FOLLOW:
                self._begin(self._follow(link, facts))
        await self._end()

    async def _follow(self, link: Link, facts: dict[str, Any]) -> None:
        link.tell(Kind.FOLLOWED, worker=facts["worker"], id=facts["id"])

    def _drain(self) -> None:
        """Not ready, though it serves; every answer closes its connection, so that the next one goes elsewhere."""
        self._api.health.drain()
        BoundedHttpProtocol.draining = True

    async def _end(self) -> None:
        """Answers what it has been handed, and what comes right behind an answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HANDED_S):
                await self._connections.ended()
        self._drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while self.server_state.connections:  # noqa: ASYNC110 - uvicorn tells nobody when they change
                    await asyncio.sleep(0.02)
        self.should_exit = True

    def _begin_with(self, connection: socket.socket) -> None:
        self._begin(self._connect(connection))

    async def _connect(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        handshake_s = self._api.settings.header_timeout_s if self._tls else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=handshake_s,
                ssl_shutdown_timeout=_LAST_BYTES_S if self._tls else None,
            )
        except (OSError, asyncio.CancelledError):  # it was closed meanwhile, or no handshake came about
            connection.close()
            self._place.tell_closed()

    def _protocol(self) -> asyncio.Protocol:
        return _Counted(self._place, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


class _Counted(BoundedHttpProtocol):
    """Tells the supervisor when the connection has ended."""

    def __init__(self, place: Place, **of_server: Any) -> None:  # noqa: ANN401 - they are uvicorn's
        super().__init__(**of_server)
        self._place = place

    def connection_lost(self, exc: Exception | None) -> None:
        self._place.tell_closed()
        super().connection_lost(exc)


def serve_alone(settings: ApiSettings) -> None:
    """In this process, which listens itself."""
    server = uvicorn.Server(_config(InferenceAPI(settings), settings))
    settle_in()
    server.run()


def _config(api: InferenceAPI, settings: ApiSettings, log_level: int | None = None) -> uvicorn.Config:
    return uvicorn.Config(
        api.app,
        host=settings.host,
        port=settings.port,
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=log_level,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_SHUTDOWN_GRACE_S,
    )


def _assignment() -> Assignment:
    told = json.loads(os.environ.pop(WORKER))
    board = open_board(told["board"])
    return Assignment(
        board.place(told["number"]),
        board.workers,
        socket.socket(fileno=told["hands"]),
        socket.socket(fileno=told["link"]),
        {(name, number): (since, reason) for name, number, since, reason in told["quarantined"]},
    )


def main() -> None:
    settings, assignment = load_settings(), _assignment()
    api = InferenceAPI(settings, place=assignment.place, workers=assignment.workers)
    settle_in()
    config = _config(api, settings, log_level=logging.WARNING)  # the supervisor tells of start and end, once
    Worker(config, api, assignment).run()
    logging.shutdown()
    os._exit(0)  # a thread that hangs, or still loads a model, holds nobody up


if __name__ == "__main__":
    main()
