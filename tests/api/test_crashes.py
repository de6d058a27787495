import signal

import pytest

from api.crashes import WINDOW_S, Crashes
from engine.neighbours import UnderWay

BAD, POPULAR = UnderWay("bad", 2, finished=1), UnderWay("popular", 1, finished=5000)


def test_the_blame_goes_to_what_has_the_fewest_good_runs_and_ends_in_quarantine() -> None:
    crashes = Crashes(limit=3)
    for _ in range(2):
        assert crashes.note(-signal.SIGSEGV, [POPULAR, BAD]) == ("bad", 2)
        assert not crashes.quarantined
    crashes.note(-signal.SIGABRT, [BAD])
    [(key, (_, reason))] = crashes.quarantined.items()
    assert key == ("bad", 2)
    assert "3 worker processes, the last by SIGABRT" in reason
    crashes.forgive(key)
    assert not crashes.quarantined
    crashes.note(-signal.SIGABRT, [BAD])
    assert not crashes.quarantined, "it starts anew"


@pytest.mark.parametrize("code", [0, 1, 137, -signal.SIGKILL, -signal.SIGTERM])
def test_only_native_crashes_count(code: int) -> None:
    assert Crashes(limit=1).note(code, [BAD]) is None


def test_a_crash_with_nothing_under_way_is_nobodys() -> None:
    assert Crashes(limit=1).note(-signal.SIGSEGV, []) is None


def test_without_a_limit_nothing_is_quarantined() -> None:
    crashes = Crashes(limit=0)
    for _ in range(10):
        crashes.note(-signal.SIGSEGV, [BAD])
    assert not crashes.quarantined


def test_crashes_of_long_ago_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("api.crashes.monotonic", lambda: now[0])
    crashes = Crashes(limit=2)
    crashes.note(-signal.SIGSEGV, [BAD])
    now[0] += WINDOW_S + 1
    crashes.note(-signal.SIGSEGV, [BAD])
    assert not crashes.quarantined
