"""Measures one cell: a load runs until three windows agree; memory and CPU time are read before and after."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from benchmarks import cpu_use
from benchmarks.cpu_use import CpuUse
from benchmarks.load import Load
from benchmarks.processes import ServerDiedError, ServerProcess
from benchmarks.results import Measurement
from benchmarks.windows import AGREEING, Window, merged, percentile, stable

_WARM_UP_S = 0.4
_CONNECT_S = 10.0
_LOOK_EACH_S = 0.05
_ANSWER_EACH_S = 0.001

# A window with fewer answers than this ends at an answer; it may then become at most _MOST_WINDOWS_LONGER times longer.
_FEW = 30
_MOST_WINDOWS_LONGER = 4


class NoAnswerError(Exception):
    """No answer was right. The message counts what came instead."""


@dataclass(frozen=True, slots=True)
class Patience:
    """`window_s`: length of a window. `tolerance`: allowed difference of three. `most`: maximum number of windows."""

    window_s: float
    tolerance: float = 0.1
    most: int = 8

    def is_over(self, windows: Sequence[Window]) -> bool:
        return len(windows) >= self.most or stable(windows, self.tolerance)


@dataclass(frozen=True, slots=True)
class Place:
    """The cell of a measurement. `pictures`: number in each request."""

    round: int
    contestant: str
    workload: str
    load: str
    pictures: int = 1


async def measure(load: Load, server: ServerProcess, patience: Patience, place: Place) -> Measurement:
    """Raises ServerDiedError, NoAnswerError."""
    await _start(load, server)
    before = cpu_use.read(server)
    windows: list[Window] = []
    await _cut(load, patience)
    while not patience.is_over(windows):
        await asyncio.sleep(patience.window_s)
        windows.append(await _cut(load, patience))
        server.check_alive()
    used = cpu_use.read(server).since(before)
    load.stop()
    wrong = ", ".join(f"{count} x {kind}" for kind, count in load.errors.most_common(3))
    if not merged(windows).latencies:
        raise NoAnswerError(f"{place.workload}, {place.load}: no right answer, but {wrong or 'nothing'}")
    answers = sum(len(window.latencies) + window.errors for window in windows)
    return _Reading(place, windows, patience, server).measurement(used, answers, wrong)


async def _start(load: Load, server: ServerProcess) -> None:
    try:
        await asyncio.wait_for(load.start(), _CONNECT_S)
    except TimeoutError:
        raise ServerDiedError(f"it accepts no connections:\n{server.log_end()}") from None
    await asyncio.sleep(_WARM_UP_S)


async def _cut(load: Load, patience: Patience) -> Window:
    """Cuts at an answer if there are few, since a fraction of one would count as none or one."""
    known, give_up_at = load.answered, perf_counter() + _MOST_WINDOWS_LONGER * patience.window_s
    while load.answered == known < _FEW and perf_counter() < give_up_at:  # noqa: ASYNC110 - an event costs all answers
        await asyncio.sleep(_ANSWER_EACH_S)
    return load.cut()


async def measure_loop(server: ServerProcess, patience: Patience, place: Place) -> Measurement:
    """Measures a bare loop, which prints its windows. Raises ServerDiedError."""
    windows = await _more_than(0, server)
    before, first = cpu_use.read(server), len(windows)
    while not patience.is_over(windows):
        windows = await _more_than(len(windows), server)
    used = cpu_use.read(server).since(before)
    answers = sum(len(window.latencies) for window in windows[first:])
    return _Reading(place, windows, patience, server).measurement(used, answers)


@dataclass(frozen=True, slots=True)
class _Reading:
    place: Place
    windows: Sequence[Window]
    patience: Patience
    server: ServerProcess

    def measurement(self, used: CpuUse, answers: int, note: str = "") -> Measurement:
        last, place = merged(self.windows), self.place
        return Measurement(
            round=place.round,
            contestant=place.contestant,
            workload=place.workload,
            load=place.load,
            throughput=last.throughput * place.pictures,
            p50_ms=percentile(last.latencies, 50) * 1e3,
            p95_ms=percentile(last.latencies, 95) * 1e3,
            p99_ms=percentile(last.latencies, 99) * 1e3,
            requests=sum(len(window.latencies) for window in self.windows[-AGREEING:]),
            errors=sum(window.errors for window in self.windows),
            stable=stable(self.windows, self.patience.tolerance),
            server_cpu_ms=used.server * 1e3 / max(1, answers),
            client_cpu_ms=used.client * 1e3 / max(1, answers),
            other_cores=used.others,
            rss_mib=self.server.rss_mib(),
            pss_mib=self.server.pss_mib(),
            note=note,
        )


async def _more_than(known: int, server: ServerProcess) -> list[Window]:
    """Returns the windows that a loop has printed, as soon as there are more than `known`."""
    while len(windows := _printed(server)) <= known:
        server.check_alive()
        await asyncio.sleep(_LOOK_EACH_S)
    return windows


def _printed(server: ServerProcess) -> list[Window]:
    lines = server.log.read_text().split("\n")[:-1]
    return [Window(**json.loads(line)) for line in lines if line.startswith("{")]
