"""A worker as its supervisor sees it: a process, and the two ways to it."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from time import monotonic

from api.handover import ConnectionGiver
from api.settings import PROJECT
from api.worker_link import Kind, Link
from engine.scheduling.scoreboard import Key

# How a worker learns what is its own: its number, and descriptors that it inherits.
WORKER = "FOVEA_WORKER"
_SETTLING_S = 5.0


class WorkerProcess:
    """`connections`: the way that they go to it. `ready`: it serves. `first`: it takes nobody's place."""

    def __init__(self, process: asyncio.subprocess.Process, connections: ConnectionGiver, link: Link) -> None:
        self.process, self.connections, self.link = process, connections, link
        self.started = monotonic()
        self.ready = self.first = False

    @property
    def settles_in(self) -> bool:
        """Of those that start with the service: it will have its model in a moment."""
        return self.first and monotonic() - self.started < _SETTLING_S

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self) -> None:
        """It answers what it has; one that has not begun to serve has nothing."""
        if not self.ready:
            self.kill()
        self.connections.end()
        self.link.tell(Kind.STOP)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def close(self) -> list[socket.socket]:
        """When it is gone; the connections that it never took."""
        self.link.close()
        return self.connections.close()


async def start_worker(
    number: int, board: int, environment: Mapping[str, str], quarantined: Mapping[Key, tuple[float, str]]
) -> WorkerProcess:
    """`board`: the descriptor of the memory that all share.

    `quarantined`: versions not to load, since when (s since the epoch), and why.
    """
    hands, its_hands = socket.socketpair()
    link, its_link = socket.socketpair()
    told = {
        "number": number,
        "board": board,
        "hands": its_hands.fileno(),
        "link": its_link.fileno(),
        "quarantined": [[*key, *why] for key, why in quarantined.items()],
    }
    with ExitStack() as on_failure, its_hands, its_link:
        on_failure.callback(hands.close)
        on_failure.callback(link.close)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "api.worker",
            stdin=asyncio.subprocess.DEVNULL,
            cwd=PROJECT,
            env={**os.environ, **environment, WORKER: json.dumps(told)},
            pass_fds=(board, its_hands.fileno(), its_link.fileno()),
            process_group=0,  # a terminal's Ctrl-C is the supervisor's alone
        )
        on_failure.pop_all()
    return WorkerProcess(process, ConnectionGiver(hands), await Link.open(link))
