"""A limit is exact in any moving window, whichever worker counts, and costs a fixed amount of memory."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.rate_table import RateTable

ROOT = Path(__file__).parents[2]


@pytest.fixture
def table() -> Iterator[RateTable]:
    made = RateTable(3, 10)
    yield made
    made.close()


def test_one_more_than_the_amount_waits_until_the_first_is_a_period_old(table: RateTable) -> None:
    assert [table.hit("a", now) for now in (100.0, 101.0, 102.0)] == [0, 0, 0]
    assert table.hit("a", 104.0) == pytest.approx(6)
    assert table.hit("a", 110.0) == 0
    assert table.hit("a", 110.5) == pytest.approx(0.5)


def test_clients_do_not_notice_each_other(table: RateTable) -> None:
    for client in ("a", "b", "ä", "\ud800", ""):
        assert [bool(table.hit(client, 100.0)) for _ in range(4)] == [False, False, False, True]


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(1, 5))
def test_no_window_holds_more_than_the_amount_and_no_room_is_wasted(gaps: list[float], amount: int) -> None:
    table = RateTable(amount, 10)
    now, allowed = 1000.0, list[float]()
    for gap in gaps:
        now += gap
        recent = [moment for moment in allowed if moment + 10 - now > 0]
        refused = table.hit("a", now)
        assert bool(refused) == (len(recent) >= amount)
        if not refused:
            allowed.append(now)
    table.close()


def test_of_large_amounts_a_moment_stands_for_several() -> None:
    table = RateTable(100_000, 60)
    allowed = sum(not table.hit("a", 100.0) for _ in range(101_000))
    assert 100_000 <= allowed <= 100_100
    assert not table.hit("a", 160.0)
    table.close()


def test_very_many_clients_take_no_more_than_a_few() -> None:
    table = RateTable(10, 60)
    for number in range(200_000):
        table.hit(str(number), 100.0)
    stat = os.fstat(table._file)
    assert stat.st_size < 17 * 2**20
    assert stat.st_blocks * 512 < 17 * 2**20
    assert [bool(table.hit("new", 100.0)) for _ in range(11)] == [False] * 10 + [True]
    table.close()


def test_who_comes_anew_takes_the_place_of_who_was_away_longest() -> None:
    table = RateTable(1, 1000)
    table._sets = 1
    for number in range(8):
        table.hit(str(number), 100.0 + number)
    assert table.hit("0", 109.0) > 0
    assert table.hit("new", 109.0) == 0  # in the place of 0
    assert table.hit("1", 110.0) > 0
    assert table.hit("0", 110.0) == 0  # in the place of 1, forgotten by now
    table.close()


WORKER = """
import sys
from pathlib import Path
from api.rate_table import RateTable
table = RateTable(10, 3600, Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
print(sum(not table.hit(str(client)) for client in range(500) for _ in range(10)))
"""


def test_several_processes_count_together(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path / "table")]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(3)
        ]
        for worker in workers:
            assert worker.stdout
            worker.stdout.readline()
        for worker in workers:  # all at once
            assert worker.stdin
            worker.stdin.close()
        counts = [int(worker.stdout.read()) for worker in workers if worker.stdout]
    assert 500 * 10 <= sum(counts) <= 500 * 10 + 1  # a lock is not waited for for ever


def test_a_file_that_cannot_be_written_stops_no_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = RateTable(1, 60, tmp_path / "table")
    os.close(table._file)
    table._file = os.open("/dev/full", os.O_RDWR)
    assert [table.hit("a") for _ in range(3)] == [0, 0, 0]
    assert [record.message for record in caplog.records] == ["requests cannot be counted: No space left on device"]
    table.close()
