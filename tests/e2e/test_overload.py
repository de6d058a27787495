"""Ten times more requests than the service can do: it answers as many as before and rejects the rest at once."""

import asyncio
import copy
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
import pytest

from tests import plain_http
from tests.e2e.services import RED, WAIT_S, own_models
from tests.process import Service, running
from tests.tiny_models import add_model, slow_graph

QUEUE_LIMIT, TIMES = 16, 10
# A load lasts until each of these has been seen as often. Durations and rates come from
# `python -m benchmarks.overload` on a quiet machine.
UNTIL = {"200": 4 * QUEUE_LIMIT, "queue_full": TIMES * QUEUE_LIMIT, "probe 200": 30}
MORE_MIB = 80.0
PROBED = ("/health/live", "/health/ready", "/metrics")


@dataclass
class Outcome:
    """What became of the requests of one load.

    `overtaken`: for each answered request, how many others were answered between its sending and its answer.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    overtaken: list[int] = field(default_factory=list)
    more_mib: float = 0.0


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
    answered_before = outcome.kinds["200"]
    try:
        async with session.post("/infer", data=RED) as answer:
            text = await answer.text()
    except aiohttp.ClientError as error:
        outcome.kinds[type(error).__name__] += 1
        return
    if answer.status == 200:
        outcome.overtaken.append(outcome.kinds["200"] - answered_before)
    rejected = answer.status == 503 and '"queue_full"' in text
    if rejected:
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.headers.get("Connection") != "close"
    outcome.kinds["queue_full" if rejected else str(answer.status)] += 1


async def _again_and_again(session: aiohttp.ClientSession, outcome: Outcome) -> None:
    while True:
        await _send(session, outcome)


async def _arrive(session: aiohttp.ClientSession, outcome: Outcome) -> None:
    """Arrivals that do not wait for answers, TIMES as many as are answered."""
    pending = set[asyncio.Task[None]]()
    sent = 0
    while True:
        while sent < TIMES * (QUEUE_LIMIT + outcome.kinds["200"]):
            task = asyncio.create_task(_send(session, outcome))
            pending.add(task)
            task.add_done_callback(pending.discard)
            sent += 1
        await asyncio.sleep(0.01)


async def _probe(session: aiohttp.ClientSession, outcome: Outcome) -> None:
    while True:
        for path in PROBED:
            async with session.get(path) as answer:
                outcome.kinds[f"probe {answer.status}"] += 1
        await asyncio.sleep(0.02)


async def _load(service: Service, connections: int) -> Outcome:
    """The load of `connections` that send again as soon as they have an answer; 0: of arrivals."""
    outcome = Outcome()
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(service.base_url, connector=connector) as session,
        aiohttp.ClientSession(service.base_url) as own_session,
        asyncio.timeout(2 * WAIT_S),
    ):
        works = [_again_and_again(session, outcome) for _ in range(connections)] or [_arrive(session, outcome)]
        tasks = [asyncio.create_task(work) for work in (*works, _probe(own_session, outcome))]
        before = 0.0
        while any(outcome.kinds[kind] < count for kind, count in UNTIL.items()):
            if not before and outcome.overtaken:
                before = service.rss_mb()
            await asyncio.sleep(0.02)
        outcome.more_mib = service.rss_mb() - before
        found = copy.deepcopy(outcome)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
    return found


def check(outcome: Outcome) -> None:
    assert set(outcome.kinds) == set(UNTIL), outcome.kinds
    # At most a full queue and what ran was ahead; while a request travels, others are answered too.
    assert max(outcome.overtaken) <= 2 * QUEUE_LIMIT, outcome.overtaken
    assert outcome.more_mib < MORE_MIB


def test_ten_times_as_many_connections_that_return_at_once(service: Service) -> None:
    check(asyncio.run(_load(service, TIMES * (QUEUE_LIMIT + 1))))


def test_ten_times_as_many_arrivals_that_do_not_wait(service: Service) -> None:
    check(asyncio.run(_load(service, 0)))


def test_rejected_requests_are_counted(service: Service) -> None:
    asyncio.run(_load(service, 0))
    lines = plain_http.get(f"{service.base_url}/metrics", timeout=WAIT_S).text.splitlines()
    [counted] = [line for line in lines if line.startswith("fovea_errors_total") and '"queue_full"' in line]
    assert float(counted.split()[-1]) >= UNTIL["queue_full"]
