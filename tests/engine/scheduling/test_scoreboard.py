"""What workers know of each other, written by one process and read by another."""

import os
import subprocess
import sys
from time import monotonic

from engine.scheduling.scoreboard import UnderWay, make_board, no_neighbours, open_board

WRITES = """
import os, sys
from engine.scheduling.scoreboard import open_board
place = open_board(int(sys.argv[1])).place(1)
place.tell_busy(3)
place.tell_closed()
place.tell_alive(able=True)
with place.running("good", 1):
    pass
with place.running("good", 1), place.running("crashing", 2):
    os.abort()
"""


def test_what_a_worker_wrote_outlives_it() -> None:
    board, descriptor = make_board(2)
    ended = subprocess.run(
        [sys.executable, "-c", WRITES, str(descriptor)], pass_fds=[descriptor], check=False, capture_output=True
    )
    assert ended.returncode == -6
    assert (board.busy(0), board.busy(1), board.closed(1)) == (0, 3, 1)
    assert board.place(0).others_busy() == 3
    assert board.place(1).others_busy() == 0
    alive_at = board.alive_at(1)
    assert alive_at
    assert 0 <= monotonic() - alive_at < 60
    assert (board.alive_at(0), board.able(0), board.able(1)) == (None, False, True)
    assert sorted(board.under_way(1), key=lambda run: run.name) == [
        UnderWay("crashing", 2, finished=0),
        UnderWay("good", 1, finished=1),
    ]
    board.clear(1)
    assert (board.busy(1), board.under_way(1), board.alive_at(1)) == (0, [], None)
    os.close(descriptor)


def test_more_runs_at_once_than_can_be_noted_are_run_all_the_same() -> None:
    place = no_neighbours()
    marks = [place.begin(("m", 1), 0) for _ in range(100)]
    assert marks.count(None) == 36
    for mark in marks:
        place.end(("m", 1), mark)
    assert place.begin(("m", 1), 0) is not None


def test_the_longest_name_of_a_model_fits() -> None:
    board, descriptor = make_board(1)
    name = "m" * 128
    with board.place(0).running(name, 2**31 - 1):
        assert open_board(descriptor).under_way(0) == [UnderWay(name, 2**31 - 1, 0)]
    assert board.under_way(0) == []
