"""The service as it runs in production: a tree of processes, its whole log in a file."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import psutil

from tests.paths import ROOT

_WORKER = "api.worker"
_READY_S, _END_S = 60.0, 60.0
_ADDRESS = re.compile(r"running on (http://127\.0\.0\.1:(\d+))")
_BUGS = re.compile(r"Traceback|status=500|Segmentation|Task exception was never|never awaited|leaked")


class Service:
    """Started by `running`. `base_url`, `port`: where it listens."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log
        self.tree = psutil.Process(process.pid)
        self.base_url, self.port = self._address()

    def workers(self) -> list[psutil.Process]:
        """The processes that serve, the dead not among them."""
        return [process for process in self.processes() if _is_worker(process)]

    def processes(self) -> list[psutil.Process]:
        """All, the one that watches first."""
        with suppress(psutil.NoSuchProcess):
            return [self.tree, *self.tree.children(recursive=True)]
        return []

    def is_ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.base_url}/health/ready", timeout=5).status_code == 200
        return False

    def bugs(self) -> list[str]:
        """Lines of the log that must not be there."""
        return [line for line in self.log_lines() if _BUGS.search(line)]

    def log_lines(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()

    def end(self) -> str | None:
        """As an operator ends it; what was wrong with that."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return f"it did not end within {_END_S:g} s of SIGTERM"
        return f"it ended with status {code}" if code else None

    def _address(self) -> tuple[str, int]:
        end = time.monotonic() + _READY_S
        while not (found := _ADDRESS.search(self._log.read_text(errors="replace"))):
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the service does not start:\n" + self._log.read_text(errors="replace")[-3000:])
            time.sleep(0.02)
        return found[1], int(found[2])


@contextmanager
def running(log: Path, environment: Mapping[str, str], descriptors: int | None = None) -> Iterator[Service]:
    """Ready; at the end nothing of it is left. `descriptors`: how many it may have open."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "main.py"],
            cwd=ROOT,
            env={**os.environ, "API_PORT": "0", **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours, and ends it in order
            preexec_fn=partial(_allow_descriptors, descriptors),  # noqa: PLW1509 - no thread of ours runs yet
        )
    started: list[psutil.Process] = []
    try:
        service = Service(process, log)
        end = time.monotonic() + _READY_S
        while not service.is_ready():
            if time.monotonic() > end:
                raise RuntimeError("the service does not get ready:\n" + "\n".join(service.log_lines()[-30:]))
            time.sleep(0.05)
        yield service
        started = service.processes()
    finally:
        _end(process, started)


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and _WORKER in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def _allow_descriptors(count: int | None) -> None:
    """In the new process, before it is the service: it may raise the soft limit itself, so the hard one is as low."""
    if count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def _end(process: subprocess.Popen[bytes], others: list[psutil.Process]) -> None:
    if process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            others = others or psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
    for one in others:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    if process.poll() is None:
        process.kill()
    process.wait()
