"""Busy counts between real processes."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engine.scheduling import scoreboard as scoreboard_module
from engine.scheduling.scoreboard import Scoreboard

WORKER = """
import sys
from pathlib import Path
from engine.scheduling.scoreboard import Scoreboard

slot = Scoreboard.open(Path(sys.argv[1])).claim()
slot.set_busy(int(sys.argv[2]))
print(slot.workers, slot.others_busy(), flush=True)
sys.stdin.readline()
"""

Worker = subprocess.Popen[str]
Start = Callable[[int], Worker]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a worker process with that many busy runs; this process looks at the others at every call."""
    monkeypatch.setattr(scoreboard_module, "_REFRESH_S", 0.0)
    with ExitStack() as workers:

        def start(busy: int) -> Worker:
            worker = workers.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WORKER, str(tmp_path), str(busy)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            workers.callback(worker.kill)
            return worker

        yield start


def seen_by(worker: Worker) -> str:
    """What the worker has printed of the other workers: their number with itself, and their busy runs."""
    assert worker.stdout
    return worker.stdout.readline().strip()


def test_workers_see_the_busy_counts_of_each_other(start: Start, tmp_path: Path) -> None:
    slot = Scoreboard.open(tmp_path).claim()
    slot.set_busy(2)
    assert (slot.workers, slot.others_busy()) == (1, 0)
    first = start(3)
    assert seen_by(first) == "2 2"
    second = start(4)
    assert seen_by(second) == "3 5"
    assert (slot.workers, slot.others_busy()) == (3, 7)
    slot.release()


def test_the_count_of_a_killed_worker_is_gone_and_its_slot_is_free(start: Start, tmp_path: Path) -> None:
    slot = Scoreboard.open(tmp_path).claim()
    worker = start(3)
    seen_by(worker)
    assert slot.others_busy() == 3
    worker.kill()
    worker.wait()
    assert (slot.workers, slot.others_busy()) == (1, 0)
    assert seen_by(start(1)) == "2 0"
    assert len(list(tmp_path.glob("*.lock"))) == 2, "the slot of the dead worker is used again"
    slot.release()


def test_a_released_slot_counts_nothing(start: Start, tmp_path: Path) -> None:
    slot = Scoreboard.open(tmp_path).claim()
    slot.set_busy(5)
    slot.release()
    assert seen_by(start(1)) == "1 0"


def test_more_workers_than_slots_get_private_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoreboard_module, "_SLOTS", 2)
    slots = [Scoreboard.open(tmp_path).claim() for _ in range(3)]
    slots[2].set_busy(7)
    assert [(slot.workers, slot.others_busy()) for slot in slots] == [(2, 0), (2, 0), (1, 0)]
    for slot in slots:
        slot.release()


@pytest.mark.parametrize("folder", [None, "file"])
def test_without_a_folder_that_can_be_written_memory_is_private(tmp_path: Path, folder: str | None) -> None:
    (tmp_path / "file").touch()
    slots = [Scoreboard.open(tmp_path / folder if folder else None).claim() for _ in range(2)]
    slots[0].set_busy(3)
    assert (slots[1].workers, slots[1].others_busy()) == (1, 0)
