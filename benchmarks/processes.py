"""A server as a tree of processes: started, measured and ended as a whole. Linux only."""

import asyncio
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_MIB = 1024 * 1024
_END_S = 10.0
_PR_SET_CHILD_SUBREAPER = 36
_SHOWN_LOG_BYTES = 3000


class ServerDiedError(Exception):
    """With the end of its log."""


class ServerProcess:
    """A running command and all its descendants. `log`: the file of its output."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self.log = log

    def check_alive(self) -> None:
        """Raises ServerDiedError."""
        if self._process.poll() is not None:
            raise ServerDiedError(f"exit status {self._process.returncode}:\n{self.log_end()}")

    def log_end(self) -> str:
        return self.log.read_bytes()[-_SHOWN_LOG_BYTES:].decode(errors="replace")

    def cpu_s(self) -> float:
        """User and system time of all processes that live now, in seconds."""
        return sum(_each(_cpu_s))

    def rss_mib(self) -> float:
        """Resident memory of all processes; pages that they share count in each."""
        return sum(_each(lambda process: process.memory_info().rss)) / _MIB

    def pss_mib(self) -> float:
        """Resident memory of all processes; pages that they share count once."""
        return sum(_each(lambda process: process.memory_full_info().pss)) / _MIB


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> Iterator[ServerProcess]:
    """Started, perhaps not ready yet. Ends all its processes at the end of the block. `log` gets its output."""
    _adopt_orphans()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the benchmark only, which then ends its servers
        )
    try:
        yield ServerProcess(process, log)
    finally:
        _end(process)


@contextmanager
def only_benchmark(folder: Path) -> Iterator[None]:
    """Exits if another benchmark runs with this folder, since they would disturb each other, and after Ctrl-C."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("Another benchmark is running in this folder.")
        try:
            yield
        except (KeyboardInterrupt, asyncio.CancelledError):
            sys.exit("Stopped: all servers are ended, nothing was written.")


def end_on_sigterm() -> None:
    """SIGTERM cancels the current task like Ctrl-C, which ends every server."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def descendants() -> list[psutil.Process]:
    """The descendants of this process, which are those of the running server."""
    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    return found


def _each(read: Callable[[psutil.Process], float]) -> Iterator[float]:
    for process in descendants():
        with suppress(psutil.NoSuchProcess):
            yield read(process)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _adopt_orphans() -> None:
    """A daemon whose parent ends becomes a child of this process instead of init's, so it is measured and ended."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the first process, SIGTERM to those that are left, SIGKILL."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    for how in (signal.SIGTERM, signal.SIGKILL):
        left = descendants()
        for one in left:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(how)
        psutil.wait_procs(left, timeout=_END_S)
    process.poll()
