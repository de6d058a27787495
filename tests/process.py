"""The service as a process of its own, as `make run` starts it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.paths import ROOT
from tests.server import until

_ADDRESS = re.compile(r"running on (https?://[0-9.]+:\d+)")
_END_S = 30
_KEPT_LINES = 1000


class Service:
    """A running process. `log` holds the last lines that it has written to stderr."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            until(lambda: process.poll() is not None or self._address())
            found = self._address()
            assert found, "".join(self.log)
        except AssertionError:
            self.kill()
            raise
        self.base_url = found

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> None:
        until(self._is_ready)

    def _is_ready(self) -> bool:
        """Connections wait until a worker is up; on a busy machine that may take longer than a client waits."""
        try:
            return httpx.get(f"{self.base_url}/health/ready").status_code == 200
        except (httpx.ConnectError, httpx.ReadTimeout):
            return False

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def workers(self) -> list[int]:
        """Process ids of those that serve."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children if b"api.worker" in _command_line(child)]

    def rss_mb(self) -> float:
        """Of all its processes together."""
        return sum(_rss_mb(pid) for pid in (self.pid, *self.workers()))

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def kill_after(self, seconds: float) -> None:
        threading.Timer(seconds, self._process.kill).start()

    def wait_for_end(self, within_s: float) -> int:
        """Its exit status. Raises TimeoutExpired when it still runs by then."""
        self._process.wait(within_s)
        return self._end()

    def terminate(self) -> None:
        """As an operator ends it: it must exit with 0."""
        self._process.send_signal(signal.SIGTERM)
        code = self._end()
        assert code == 0, "".join(self.log)[-2000:]

    def _end(self) -> int:
        code = self._process.wait(_END_S)
        self._reader.join(5)
        if self._process.stderr:
            self._process.stderr.close()
        return code

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self.log.append(line)
            del self.log[:-_KEPT_LINES]

    def _address(self) -> str | None:
        found = _ADDRESS.search("".join(self.log))
        return found[1] if found else None


def start_service(**environment: str) -> Service:
    """Started, perhaps not ready yet; whoever starts it ends it. Nothing is measured unless that is asked for."""
    return Service(
        subprocess.Popen(
            [sys.executable, "main.py"],
            cwd=ROOT,
            env={**os.environ, "API_PORT": "0", "API_TUNE": "off", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
    )


@contextmanager
def running_service(**environment: str) -> Iterator[Service]:
    """Ready; ended by SIGTERM."""
    service = start_service(**environment)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.terminate()


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024
