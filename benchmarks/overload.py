"""Ten times more requests than the service can do: throughput, latency, rejections, health, memory. Linux only.

.venv/bin/python -m benchmarks.overload [SECONDS]

The service runs on all cores but the last, the load on that one, so that they do not compete.
"""

import asyncio
import math
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from benchmarks.connection import Answer, Connection
from benchmarks.windows import percentile

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "tests" / "data" / "cat.jpg"
QUEUE_LIMIT = 64
TIMES = 10
_PROBED = ("/health/live", "/health/ready", "/metrics")
_PROBE_EVERY_S = 0.05
_WARM_UP_S = 2.0
# Seconds of arrivals that an open loop has connections for; a rejection may be delayed by one second.
_OPEN_S = 2.0
_START_S = 60.0
_SEED = 7


_RETRY_AFTER = re.compile(rb"\r\nretry-after: (\d+)", re.IGNORECASE)
# A value of `pause_s`: the seconds of Retry-After.
RETRY_AFTER = math.nan


class Load:
    """Answers by kind, and the latency of the right ones (s), since `reset`.

    In closed loops a rejected client sends its next request after `pause_s`.
    """

    def __init__(self, port: int, pause_s: float = 0.0) -> None:
        picture = PICTURE.read_bytes()
        head = f"POST /infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}"
        self._request = head.encode() + b"\r\n\r\n" + picture
        self._port, self._pause_s = port, pause_s
        self._asked: dict[Connection, float] = {}
        self._idle: deque[Connection] = deque()
        self._all: list[Connection] = []
        self._closed_loop = True
        self.reset()

    def reset(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.latencies: list[float] = []
        self._since = time.perf_counter()

    @property
    def rate(self) -> float:
        """Right answers a second."""
        return len(self.latencies) / (time.perf_counter() - self._since)

    async def connect(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, connection = await loop.create_connection(lambda: Connection(self._answered), "127.0.0.1", self._port)
            self._idle.append(connection)
            self._all.append(connection)

    def close(self) -> None:
        """Drops the requests in flight."""
        for connection in self._all:
            connection.close()

    async def closed(self) -> None:
        """Each connection asks again as soon as it has its answer."""
        while self._idle:
            self._ask(self._idle.popleft(), time.perf_counter())

    async def open(self, rate: float, seconds: float) -> None:
        """Arrivals at a fixed rate. One that finds all connections busy counts as `no connection`."""
        self._closed_loop = False
        gaps, loop = random.Random(_SEED), asyncio.get_running_loop()
        next_at, end = loop.time(), loop.time() + seconds
        while loop.time() < end:
            while next_at <= loop.time():
                next_at += gaps.expovariate(rate)
                if self._idle:
                    self._ask(self._idle.popleft(), time.perf_counter())
                else:
                    self.kinds["no connection"] += 1
            await asyncio.sleep(0.001)

    def _ask(self, connection: Connection, at: float) -> None:
        if connection.is_open:
            self._asked[connection] = at
            connection.send(self._request)
        else:
            self.kinds["closed"] += 1

    def _ask_again(self, connection: Connection) -> None:
        self._ask(connection, time.perf_counter())

    def _answered(self, connection: Connection, answer: Answer) -> None:
        now = time.perf_counter()
        asked_at = self._asked.pop(connection)
        rejected = answer.status == 503 and b"queue_full" in answer.body
        if answer.status == 200:
            self.latencies.append(now - asked_at)
        self.kinds["queue_full" if rejected else str(answer.status)] += 1
        if not self._closed_loop:
            self._idle.append(connection)
        elif rejected and self._pause_s:
            found = _RETRY_AFTER.search(answer.head)
            pause_s = float(found[1]) if found and math.isnan(self._pause_s) else self._pause_s
            asyncio.get_running_loop().call_later(pause_s, self._ask_again, connection)
        else:
            self._ask(connection, now)


class Probe(threading.Thread):
    """Sends requests to the addresses that must always answer. `took`: the duration of each, ms."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._address, self._end = f"127.0.0.1:{port}", threading.Event()
        self.took: dict[str, list[float]] = {path: [] for path in _PROBED}
        self.failed = 0

    def run(self) -> None:
        connection = HTTPConnection(self._address, timeout=10)
        while not self._end.wait(_PROBE_EVERY_S):
            for path in _PROBED:
                started = time.perf_counter()
                try:
                    connection.request("GET", path)
                    with connection.getresponse() as response:
                        response.read()
                    self.failed += response.status != 200
                except OSError:
                    self.failed += 1
                    connection.close()
                self.took[path].append((time.perf_counter() - started) * 1e3)

    def end(self) -> None:
        self._end.set()
        self.join()


@contextmanager
def service(cores: set[int], **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A ready service on those cores: its process and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    own = {"API_PORT": str(port), "API_QUEUE_LIMIT": str(QUEUE_LIMIT), **settings}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("API_")} | own
    with TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "main.py"], cwd=ROOT, env=environment, stderr=log)
        os.sched_setaffinity(process.pid, cores)
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/health/ready")
            yield process, port
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready(url: str) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:  # an HTTPError is one
            time.sleep(0.1)
    raise RuntimeError("the service did not become ready")


def rss_mib(pid: int) -> float:
    """Of a process and those it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = sum(int(Path(f"/proc/{p}/statm").read_text().split()[1]) for p in [str(pid), *children])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """Served and rejected requests a second; p50 and p99 of the served, s; duration of each probe, ms; RSS, MiB."""

    served: float
    rejected: float
    p50: float
    p99: float
    probes: dict[str, list[float]]
    probes_failed: int
    rss: tuple[float, float]
    others: dict[str, int]

    def __str__(self) -> str:
        slowest = " ".join(f"{max(took, default=math.inf):5.0f}" for took in self.probes.values())
        failed = f"{self.probes_failed} probes failed" if self.probes_failed else ""
        return (
            f"{self.served:7.1f} {self.rejected:8.0f} {self.p50 * 1e3:6.0f} {self.p99 * 1e3:6.0f}  {slowest}"
            f"  {self.rss[0]:4.0f} -> {self.rss[1]:4.0f}  {self.others or ''} {failed}"
        )


async def phase(load: Load, port: int, pid: int, seconds: float, rate: float | None = None) -> Row:
    """Closed loop, or open at `rate` a second; the warm-up comes on top."""
    running = asyncio.create_task(load.open(rate, seconds + _WARM_UP_S) if rate else load.closed())
    await asyncio.sleep(_WARM_UP_S)
    probe, before = Probe(port), rss_mib(pid)
    load.reset()
    probe.start()
    await asyncio.sleep(seconds)
    served, kinds, latencies = load.rate, dict(load.kinds), load.latencies
    await asyncio.to_thread(probe.end)
    await running
    load.close()
    others = {kind: count for kind, count in kinds.items() if kind not in ("200", "queue_full")}
    return Row(
        served,
        kinds.get("queue_full", 0) / seconds,
        percentile(latencies, 50),
        percentile(latencies, 99),
        probe.took,
        probe.failed,
        (before, rss_mib(pid)),
        others,
    )


async def measure(port: int, pid: int, seconds: float, concurrency: int) -> None:
    """Prints a line for each load, and the throughput without overload before and after it, as machines vary."""
    accepted = QUEUE_LIMIT + concurrency

    async def row(name: str, connections: int, pause_s: float = 0.0, rate: float | None = None) -> tuple[str, Row]:
        load = Load(port, pause_s)
        await load.connect(connections)
        return f"{name:34}", await phase(load, port, pid, seconds, rate)

    async def best() -> float:
        name, found = await row("without overload", 4 * concurrency)
        print(f"{name}{found}", flush=True)
        return found.served

    before = await best()
    for name, connections, pause_s, times in (
        ("as many as are accepted", accepted, 0.0, 0),
        (f"{TIMES * accepted} connections, back after Retry-After", TIMES * accepted, RETRY_AFTER, 0),
        (f"{TIMES * accepted} connections, back after 1 s", TIMES * accepted, 1.0, 0),
        (f"{TIMES * accepted} connections, back at once", TIMES * accepted, 0.0, 0),
        (f"{TIMES} times as many arrivals", int(_OPEN_S * TIMES * before), 0.0, TIMES),
    ):
        shown, found = await row(name, connections, pause_s, times * before or None)
        after = await best()
        print(
            f"{shown}{found}  {found.served / statistics.mean((before, after)):.0%} of the best around it", flush=True
        )
        before = after


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    *for_service, for_load = sorted(os.sched_getaffinity(0))
    with service(set(for_service) or {for_load}) as (process, port):
        os.sched_setaffinity(0, {for_load})
        print(
            f"{'':34}{'served':>7} {'rejected':>8} {'p50':>6} {'p99':>6}   live ready metrics (longest, ms)  RSS, MiB"
        )
        uvloop.run(measure(port, process.pid, seconds, len(for_service) or 1))


if __name__ == "__main__":
    main()
