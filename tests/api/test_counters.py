"""Numbers that several processes share; a second `Counters` on the same folder is as good as another process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from api.counters import Counters
from api.metrics import PID, RUNNING, Metrics
from api.metrics_text import metrics_text
from tests.process import ROOT

_COUNT_AND_DIE = """
import os, sys
from pathlib import Path
from api.counters import Counters
counters = Counters(Path(sys.argv[1]))
counters.values[counters.place(("requests",))] += 5
os.kill(os.getpid(), 9)
"""


def totals(counters: Counters, key: tuple[str, ...] = ("requests",)) -> list[float]:
    return [numbers.values.get(key, [0.0])[0] for numbers in counters.everybody()]


def test_all_see_at_once_what_each_counts(tmp_path: Path) -> None:
    one, other = Counters(tmp_path), Counters(tmp_path)
    one.values[one.place(("requests",))] += 2
    other.place(("else",), 10)
    other.values[other.place(("requests",))] += 3
    assert sorted(totals(one)) == sorted(totals(other)) == [2, 3]
    assert (one.number, other.number) == (0, 1)


def test_what_a_killed_process_has_counted_goes_on_in_the_next(tmp_path: Path) -> None:
    for _ in range(2):
        died = subprocess.run([sys.executable, "-c", _COUNT_AND_DIE, str(tmp_path)], cwd=ROOT, check=False)
        assert died.returncode == -signal.SIGKILL
    with (tmp_path / "0.keys").open("ab") as file:
        file.write(b'[["half a')
    heir = Counters(tmp_path)
    heir.values[heir.place(("requests",))] += 1
    assert totals(heir) == [11]
    heir.place(("new",))
    assert totals(Counters(tmp_path)) == [0, 11]


def test_a_dead_process_counts_on_but_has_no_gauges(tmp_path: Path) -> None:
    script = _COUNT_AND_DIE.replace('"requests",', '"requests", "/infer", "GET", "200"').replace(
        "os.kill", 'counters.values[counters.place(("running", "m"))] = 7; os.kill'
    )
    watcher, other = Metrics(tmp_path), Counters(tmp_path)
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=False)
    watcher.look({(RUNNING, "m"): 1})
    text = metrics_text(watcher.counters.everybody(), "0", "")[0].decode()
    assert 'fovea_requests_running{model="m"} 1.0' in text
    assert 'fovea_http_requests_total{method="GET",route="/infer",status="200"} 5.0' in text
    assert f"fovea_workers {2.0}" in text
    heir = Metrics(tmp_path)
    assert heir.counters.number == 2
    assert heir.counters.values[heir.counters.place((RUNNING, "m"))] == 7
    heir.look({})
    assert heir.counters.values[heir.counters.place((RUNNING, "m"))] == 0
    assert heir.counters.values[heir.counters.place((PID,))] > 0
    assert other.number == 1


def test_when_there_is_no_room_it_says_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    counters.place(("first",), 30_000)
    place = counters.place(("too much",), 30_000)
    assert "no room" in caplog.text
    counters.values[place] += 1
    assert totals(counters, ("first",)) == [0]
    assert totals(counters, ("too much",)) == [0]


_COUNT_ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from api.counters import Counters
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
counters = Counters(Path(sys.argv[1]))
first = counters.place(("first",))
keys = Path(sys.argv[1]) / "0.keys"
resource.setrlimit(resource.RLIMIT_FSIZE, (keys.stat().st_size + 5, resource.RLIM_INFINITY))
assert counters.place(("second", "has no room")) == 0
counters.values[first] += 7
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
third = counters.place(("third",))
counters.values[third] += 3
alone = Counters(Path(sys.argv[1]))
assert alone.number == 1 and alone.place(("own",)) > 0, "its own memory, where the file cannot grow"
"""


def test_a_full_disk_costs_counts_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", _COUNT_ON_A_FULL_DISK, str(tmp_path)], cwd=ROOT, check=False)
    assert ended.returncode == 0
    heir = Counters(tmp_path)
    [own, *_] = heir.everybody()
    assert own.values == {("first",): [7.0], ("third",): [3.0]}
