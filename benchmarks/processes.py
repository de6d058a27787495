"""A server as the tree of its processes: started, measured, ended with all that it has started. Linux only."""

import ctypes
import os
import signal
import socket
import subprocess
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
    """A running command and every process that comes from it. `log`: what it prints."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self.log = log

    def check_alive(self) -> None:
        """Raises ServerDiedError."""
        if self._process.poll() is not None:
            raise ServerDiedError(f"it ended with status {self._process.returncode}:\n{self.log_end()}")

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
    """Started, perhaps not ready yet; at the end nothing of it is left. `log` gets what it prints."""
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
            start_new_session=True,  # Ctrl-C reaches the benchmark alone, which then ends its servers
        )
    try:
        yield ServerProcess(process, log)
    finally:
        _end(process)


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def descendants() -> list[psutil.Process]:
    """Of this process; only a server has any."""
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
    """A daemon whose parent ends becomes our child, not init's: so it is measured, and ended."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks the first process to end, then all that are left, then kills."""
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
