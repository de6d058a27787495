"""Ten times more requests than the service can do: it answers as many as before and rejects the rest at once."""

import asyncio
import copy
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter

import aiohttp
import pytest

from tests import plain_http
from tests.e2e.services import RED, WAIT_S, own_models
from tests.process import Service, running
from tests.tiny_models import add_model, slow_graph

QUEUE_LIMIT, TIMES = 16, 10
SECONDS, WARM_UP_S = 5.0, 1.0
# On a machine that others use too; docs/reliability.md has the figures of a quiet one.
LEAST_SHARE, SLACK_S, PROBE_MS, MORE_MIB = 0.6, 1.5, 500.0, 80.0
PROBED = ("/health/live", "/health/ready", "/metrics")


@dataclass
class Outcome:
    """What became of the requests of one load. `latencies` (s) are those of answers, `probes` (ms) those of PROBED."""

    kinds: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    seconds: float = 0.0
    more_mib: float = 0.0

    def clear(self) -> None:
        self.kinds.clear()
        self.latencies.clear()
        self.probes.clear()

    @property
    def rate(self) -> float:
        return self.kinds["200"] / self.seconds


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """On all cores but the last, where there are several; the load takes that one."""
    folder = tmp_path_factory.mktemp("overload")
    add_model(folder / "models", "colour", slow_graph(rounds=30))
    settings = own_models(folder / "models") | {"API_QUEUE_LIMIT": str(QUEUE_LIMIT)}
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(mine)[:-1]) or mine)
    try:
        with running(settings) as started:
            os.sched_setaffinity(0, {max(mine)})
            yield started
    finally:
        os.sched_setaffinity(0, mine)


async def _send(session: aiohttp.ClientSession, outcome: Outcome) -> None:
    started = perf_counter()
    try:
        async with session.post("/infer", data=RED) as answer:
            text = await answer.text()
    except aiohttp.ClientError as error:
        outcome.kinds[type(error).__name__] += 1
        return
    rejected = answer.status == 503 and '"queue_full"' in text
    outcome.kinds["queue_full" if rejected else str(answer.status)] += 1
    if answer.status == 200:
        outcome.latencies.append(perf_counter() - started)
    elif rejected:
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.headers.get("Connection") != "close"


async def _again_and_again(session: aiohttp.ClientSession, outcome: Outcome) -> None:
    while True:
        await _send(session, outcome)


async def _arrive(session: aiohttp.ClientSession, outcome: Outcome, rate: float) -> None:
    """Poisson arrivals, which do not wait for answers."""
    loop, gaps, pending = asyncio.get_running_loop(), random.Random(7), set[asyncio.Task[None]]()
    next_at = loop.time()
    while True:
        while next_at <= loop.time():
            next_at += gaps.expovariate(rate)
            task = asyncio.create_task(_send(session, outcome))
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.sleep(0.001)


async def _probe(session: aiohttp.ClientSession, outcome: Outcome) -> None:
    while True:
        for path in PROBED:
            started = perf_counter()
            async with session.get(path) as answer:
                outcome.kinds[f"probe {answer.status}"] += 1
            outcome.probes.append((perf_counter() - started) * 1e3)
        await asyncio.sleep(0.05)


async def _load(service: Service, connections: int, rate: float | None) -> Outcome:
    outcome = Outcome()
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(service.base_url, connector=connector) as session,
        aiohttp.ClientSession(service.base_url) as own_session,
    ):
        works = [_again_and_again(session, outcome) for _ in range(connections)]
        works += [_arrive(session, outcome, rate)] if rate else []
        tasks = [asyncio.create_task(work) for work in (*works, _probe(own_session, outcome))]
        await asyncio.sleep(WARM_UP_S)
        outcome.clear()
        before, started = service.rss_mb(), perf_counter()
        await asyncio.sleep(SECONDS)
        outcome.seconds, outcome.more_mib = perf_counter() - started, service.rss_mb() - before
        found = copy.deepcopy(outcome)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
    return found


def load(service: Service, connections: int = 0, rate: float | None = None) -> Outcome:
    return asyncio.run(_load(service, connections, rate))


@pytest.fixture(scope="module")
def best(service: Service) -> float:
    """Answers a second, with as many connections as may wait."""
    outcome = load(service, QUEUE_LIMIT)
    assert outcome.kinds["queue_full"] == 0, outcome.kinds
    return outcome.rate


def check(outcome: Outcome, best: float) -> None:
    assert outcome.kinds["queue_full"] > best, "it was no overload"
    assert set(outcome.kinds) == {"200", "queue_full", "probe 200"}, outcome.kinds
    assert outcome.rate >= LEAST_SHARE * best, (outcome.rate, best)
    most = 2 * QUEUE_LIMIT / (LEAST_SHARE * best) + SLACK_S
    assert sorted(outcome.latencies)[int(0.99 * len(outcome.latencies))] <= most
    assert sorted(outcome.probes)[int(0.95 * len(outcome.probes))] < PROBE_MS
    assert outcome.more_mib < MORE_MIB


def test_ten_times_as_many_connections_that_return_at_once(service: Service, best: float) -> None:
    check(load(service, TIMES * (QUEUE_LIMIT + 1)), best)


def test_ten_times_as_many_arrivals_that_do_not_wait(service: Service, best: float) -> None:
    check(load(service, rate=TIMES * best), best)


def test_rejected_requests_are_counted(service: Service, best: float) -> None:  # noqa: ARG001 - after the overload
    lines = plain_http.get(f"{service.base_url}/metrics", timeout=WAIT_S).text.splitlines()
    [counted] = [line for line in lines if line.startswith("fovea_errors_total") and '"queue_full"' in line]
    assert float(counted.split()[-1]) > 0
