"""The process in front: it holds the address, keeps the workers running, and hands each of them connections.

| what happens | what follows |
|---|---|
| a connection comes | the worker with the fewest gets it, of those that answer and whose model is ready |
| no worker is up | connections wait in the kernel |
| a worker ends | another takes its place: at once, or after a pause when it had just begun |
| connections that it had not taken | they go to the others |
| a worker's event loop does not answer for HANGS_S | it is killed, and replaced |
| a worker crashes while it runs a model | that counts against the model's version: crashes.py |
| an operator changes something in one worker | the others do the same before the operator is answered |
| SIGTERM, SIGHUP | the workers say that they are not ready, and serve on for `drain_seconds`; then as SIGINT |
| SIGINT | no more connections are taken; the workers answer what they have, and end |
| SIGINT again | all ends at once |
| this process dies | its workers notice, and end as by SIGINT |

It imports little and does nothing for requests, so it is small and nothing of theirs can hurt it.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from api.crashes import Crashes
from api.dispatcher import Dispatcher
from api.run_dir import RUN_DIR
from api.settings import ApiSettings
from api.worker_link import Kind
from api.worker_process import WorkerProcess, start_worker
from engine.scheduling.scoreboard import make_board

HANGS_S = 30.0
_START_S = 120.0
# A worker that ends sooner after its start may well do so again.
_SOON_S = 10.0
_LONGEST_PAUSE_S = 30.0
_MOST_FAILED_STARTS = 3
# From the word to end until it is killed.
_END_S = 40.0
_TICK_S = 0.25
_HALTED_S = 2.0

_log = logging.getLogger("fovea")


class Supervisor:
    """`listener`: a listening socket that does not block."""

    def __init__(self, settings: ApiSettings, listener: socket.socket) -> None:
        self._settings = settings
        self._board, self._memory = make_board(settings.worker_count)
        self._crashes = Crashes(settings.crash_limit)
        self._workers: dict[int, WorkerProcess] = {}
        self._dispatcher = Dispatcher(listener, self._board, self._workers)
        self._relays: dict[tuple[int, int], set[int]] = {}
        self._environment: dict[str, str] = {}
        self._stop = asyncio.Event()
        self._draining = False
        self._told_address = False
        self._failed_starts = 0
        self._status = 0

    def run(self) -> int:
        """The exit status: 0 when it was told to end, 1 when no worker ever comes up."""
        with _run_dir() as folder:
            if folder:
                self._environment[RUN_DIR] = str(folder)
            asyncio.run(self._run())
        return self._status

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_terminate)
        loop.add_signal_handler(signal.SIGINT, self._on_interrupt)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # the terminal is closed, and nobody said nohup
            loop.add_signal_handler(signal.SIGHUP, self._on_terminate)
        watching = asyncio.create_task(self._watch())
        keeping = [asyncio.create_task(self._keep_always(number)) for number in range(self._board.workers)]
        await self._stop.wait()
        _log.info("no more connections are taken; what is under way is answered")
        await self._dispatcher.finish()
        for worker in self._workers.values():
            worker.end()
        _, late = await asyncio.wait(keeping, timeout=_END_S)
        if late:
            _log.error("%d workers did not end in time and are killed", len(late))
            self._kill_all()
            await asyncio.wait(late)
        watching.cancel()
        _log.info("ended")

    def _on_terminate(self) -> None:
        """A second one does not wait any longer."""
        seconds = self._settings.drain_seconds
        if self._draining or not seconds:
            self._stop.set()
            return
        self._draining = True
        _log.info("told to end: not ready from now on, serving for %g s more", seconds)
        for worker in self._workers.values():
            worker.link.tell(Kind.DRAIN)
        asyncio.get_running_loop().call_later(seconds, self._stop.set)

    def _on_interrupt(self) -> None:
        if self._stop.is_set():
            self._kill_all()
        self._stop.set()

    def _kill_all(self) -> None:
        for worker in self._workers.values():
            worker.kill()

    async def _keep_always(self, number: int) -> None:
        """Whatever goes wrong here must not leave a place empty."""
        while not self._stop.is_set():
            try:
                await self._keep(number)
            except Exception:  # noqa: BLE001 - such as no thread left to wait for it
                _log.exception("worker %d was lost sight of; another takes its place", number)
                if worker := self._workers.pop(number, None):
                    worker.kill()
                    self._dispatcher.give_again(worker.close())
                self._take_leave(number)
                await self._pause_longer(0.0)

    async def _keep(self, number: int) -> None:
        """One worker after another in this place."""
        pause_s = 0.0
        first = not self._told_address
        while not self._stop.is_set():
            self._board.clear(number)
            try:
                worker = await start_worker(number, self._memory, self._environment, self._crashes.quarantined)
            except OSError as error:  # no memory, processes or descriptors are left for one
                _log.error("worker %d cannot be started: %s", number, error.strerror)
                pause_s = await self._pause_longer(pause_s)
                continue
            self._workers[number] = worker
            worker.first, first = first, False
            if self._draining:
                worker.link.tell(Kind.DRAIN)
            if self._stop.is_set():  # it was not there yet when the others were told
                worker.end()
            listening = asyncio.create_task(self._listen_to(number, worker))
            code = await worker.process.wait()
            await listening
            del self._workers[number]
            self._dispatcher.give_again(worker.close())
            self._take_leave(number)
            if self._stop.is_set():
                return
            self._note_end(number, worker, code)
            self._board.clear(number)  # what it had under way is noted; the others must not make room for it
            soon = monotonic() - worker.started < _SOON_S
            pause_s = await self._pause_longer(pause_s) if soon else 0.0

    async def _pause_longer(self, last_s: float) -> float:
        """Twice as long as the last time, or until it is told to end; the pause."""
        seconds = min(max(1.0, 2 * last_s), _LONGEST_PAUSE_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return seconds

    def _note_end(self, number: int, worker: WorkerProcess, code: int) -> None:
        _log.error("worker %d (process %d) has ended %s; another takes its place", number, worker.pid, _how(code))
        blamed = self._crashes.note(code, self._board.under_way(number))
        if blamed:
            _log.error("that is put down to %s version %d", *blamed)
        if blamed in self._crashes.quarantined:
            since, reason = self._crashes.quarantined[blamed]
            _log.error("%s version %d is %s", *blamed, reason)
            for other in self._workers.values():
                other.link.tell(Kind.QUARANTINE, name=blamed[0], number=blamed[1], since=since, reason=reason)
        if worker.ready:
            return
        self._failed_starts += 1
        if self._failed_starts >= _MOST_FAILED_STARTS and not any(other.ready for other in self._workers.values()):
            _log.error("no worker comes up; see above")
            self._status = 1
            self._stop.set()

    async def _listen_to(self, number: int, worker: WorkerProcess) -> None:
        async for kind, facts in worker.link.messages():
            if kind is Kind.READY:
                worker.ready = True
                self._failed_starts = 0
                self._tell_address()
                self._dispatcher.go_on()
            elif kind is Kind.FOLLOW:
                self._relay(number, facts)
            elif kind is Kind.FOLLOWED:
                self._followed(number, (facts["worker"], facts["id"]))

    def _tell_address(self) -> None:
        if self._told_address:
            return
        self._told_address = True
        host, port = self._dispatcher.address
        scheme = "https" if self._settings.tls_cert else "http"
        address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        workers = f"{self._board.workers} workers" if self._board.workers > 1 else "one worker"
        _log.info("running on %s (%s; Ctrl-C ends it)", address, workers)
        _log.info("%s/docs shows all; try: curl -F image=@tests/data/cat.jpg %s/infer", address, address)

    def _relay(self, origin: int, facts: dict[str, object]) -> None:
        """What one has done the others do, too; then the one is told."""
        action = facts["action"]
        if isinstance(action, dict) and action.get("forgive"):
            self._crashes.forgive((action["name"], action["number"]))
        others = {number for number, worker in self._workers.items() if worker.ready and number != origin}
        key = (origin, int(str(facts["id"])))
        self._relays[key] = others
        for number, worker in self._workers.items():
            if number != origin:  # one that starts reads it when it is up; nobody waits for that
                worker.link.tell(Kind.FOLLOW, worker=origin, id=key[1], action=action)
        self._tell_followed(key)

    def _followed(self, number: int, key: tuple[int, int]) -> None:
        if key in self._relays:
            self._relays[key].discard(number)
            self._tell_followed(key)

    def _tell_followed(self, key: tuple[int, int]) -> None:
        origin, relay = key
        if not self._relays[key]:
            del self._relays[key]
            if origin in self._workers:
                self._workers[origin].link.tell(Kind.FOLLOWED, id=relay)

    def _take_leave(self, number: int) -> None:
        """Nobody waits for one that has ended."""
        for key in [key for key in self._relays if key[0] == number]:
            del self._relays[key]
        for key in list(self._relays):
            self._followed(number, key)

    async def _watch(self) -> None:
        """Kills what hangs."""
        looked = awake = monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            now = monotonic()
            if now - looked > _HALTED_S:  # this process was halted, and so may they have been
                awake = now
            looked = now
            for number, worker in self._workers.items():
                said = self._board.alive_at(number)
                silent_since = max(awake, said or worker.started)
                if now - silent_since > (HANGS_S if said else _START_S):
                    _log.error("worker %d (process %d) does not answer and is killed", number, worker.pid)
                    worker.kill()


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


@contextlib.contextmanager
def _run_dir() -> Iterator[Path | None]:
    """It goes with this process; until then nobody who tidies up temporary files touches one that is locked."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="fovea-"))
    except OSError as error:
        _log.warning(
            "no folder for temporary files (%s): rates are limited and counted for each worker", error.strerror
        )
        yield None
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_SH)
        yield folder
    finally:
        os.close(opened)
        shutil.rmtree(folder, ignore_errors=True)


def _how(code: int) -> str:
    if code >= 0:
        return f"with status {code}"
    known = {int(number): number.name for number in signal.Signals}
    return f"by {known.get(-code, f'signal {-code}')}"
