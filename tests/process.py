"""The service as processes of its own, under `python main.py` or another server. Linux only."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import httpx

from tests import plain_http
from tests.paths import ROOT
from tests.server import until

MAIN = (sys.executable, "main.py")
# Fixed runs, so that nothing is measured at load.
UNTUNED = {"API_INTRA_OP_THREADS": "1", "API_MAX_BATCH": "1"}

# Fovea's start line, uvicorn's, gunicorn's.
_ADDRESS = re.compile(r"(?:url=|running on |Listening at: )(https?://127\.0\.0\.1:\d+)")
BUGS = re.compile(r"Traceback|status=500|Segmentation|Task exception was never|never awaited|leaked")
_END_S = 60


class Service:
    """A running server. `base_url`, `port`: where it listens; `pid`: its first process."""

    def __init__(self, process: subprocess.Popen[bytes], log_fd: int) -> None:
        self._process, self._log_fd = process, log_fd
        weakref.finalize(self, os.close, log_fd)
        try:
            until(lambda: process.poll() is not None or self._address())
            found = self._address()
            assert found, self.log_text
        except AssertionError:
            self.kill()
            raise
        self.base_url = found
        self.port = httpx.URL(found).port or 0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def log_text(self) -> str:
        """Everything that it has written to stdout and stderr."""
        return os.pread(self._log_fd, os.fstat(self._log_fd).st_size, 0).decode(errors="replace")

    @property
    def log(self) -> list[str]:
        return self.log_text.splitlines()

    def bugs(self) -> list[str]:
        """Lines of the log that only a bug writes."""
        return [line for line in self.log if BUGS.search(line)]

    def is_ready(self) -> bool:
        """Whether a worker answers with 200; a busy machine may take longer than the client waits."""
        with suppress(httpx.TransportError):
            return plain_http.get(f"{self.base_url}/health/ready", timeout=5).status_code == 200
        return False

    def wait_until_ready(self) -> None:
        until(lambda: self.exit_code is not None or self.is_ready())
        assert self.exit_code is None, self.log_text[-2000:]

    def processes(self) -> list[int]:
        """The process ids of the whole tree, its first process first."""
        found = [self.pid]
        for pid in found:
            found += _children(pid)
        return found

    def workers(self) -> list[int]:
        """The process ids of those that serve: the first process, unless a process manager runs several."""
        return [pid for pid in _children(self.pid) if _is_worker(pid, self.pid)] or [self.pid]

    def rss_mb(self) -> float:
        """Resident memory of all its processes, MiB; shared pages count in each."""
        return sum(_memory_kb(pid, "status", "VmRSS") for pid in self.processes()) / 1024

    def pss_mb(self) -> float:
        """Resident memory of all its processes, MiB; shared pages count once."""
        return sum(_memory_kb(pid, "smaps_rollup", "Pss") for pid in self.processes()) / 1024

    def kill(self) -> None:
        """Kills all its processes with SIGKILL, also those that have lost their parent."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(_END_S)

    def kill_after(self, seconds: float) -> None:
        threading.Timer(seconds, self.kill).start()

    def wait_for_end(self, within_s: float = _END_S) -> int:
        """Returns the exit status. Raises TimeoutExpired if it still runs by then."""
        return self._process.wait(within_s)

    def terminate(self) -> None:
        """Ends it by SIGTERM, as an operator does: it must exit in order and leave no process."""
        tree = self.processes()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self.wait_for_end()
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        assert code in (0, -signal.SIGTERM), self.log_text[-2000:]  # uvicorn raises the signal again at its end
        until(lambda: not any(is_running(pid) for pid in tree))

    def _address(self) -> str | None:
        found = _ADDRESS.search(self.log_text)
        return found[1] if found else None


def start(settings: Mapping[str, str], command: Sequence[str] = MAIN) -> Service:
    """Started, perhaps not ready yet; the caller ends it. An empty value leaves a setting at its default."""
    everything = {**os.environ, "API_PORT": "0", **UNTUNED, **settings}
    environment = {name: value for name, value in everything.items() if value or not name.startswith("API_")}
    log_fd, name = tempfile.mkstemp()
    Path(name).unlink()
    process = subprocess.Popen(
        [*command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        start_new_session=True,  # for `kill`; and Ctrl-C reaches the tests only, which then end the service
    )
    return Service(process, log_fd)


@contextmanager
def running(settings: Mapping[str, str], command: Sequence[str] = MAIN, *, wait: bool = True) -> Iterator[Service]:
    """A service as `start` starts it, ready unless `wait` is False; ended by SIGTERM."""
    service = start(settings, command)
    try:
        if wait:
            service.wait_until_ready()
        yield service
    except BaseException:
        service.kill()
        raise
    service.terminate()


def start_service(**settings: str) -> Service:
    return start(settings)


def running_service(**settings: str) -> AbstractContextManager[Service]:
    return running(settings)


def is_running(pid: int) -> bool:
    """False for a process that has ended, also if its parent has not waited for it yet."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    """Of all its threads."""
    children: list[str] = []
    with suppress(OSError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += (task / "children").read_text().split()
    return [int(child) for child in children]


def _is_worker(pid: int, manager: int) -> bool:
    """uvicorn's manager spawns workers with multiprocessing, gunicorn's forks them."""
    command = _command_line(pid)
    return is_running(pid) and (b"spawn_main" in command or command == _command_line(manager))


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _memory_kb(pid: int, file: str, field: str) -> int:
    try:
        return int(re.findall(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE)[0])
    except (OSError, IndexError):  # it has ended
        return 0
