"""The watch looks at the models folder at every tick, and survives errors."""

from collections.abc import Iterator
from threading import Event

import pytest

from engine.models import watch as model_watch
from engine.models.watch import ModelWatch

WAIT_S = 10.0


class Calls:
    """Notes the calls; raises `error` if it is set."""

    def __init__(self) -> None:
        self.called = Event()
        self.error: Exception | None = None

    def __call__(self) -> None:
        self.called.set()
        if self.error:
            raise self.error

    def another(self) -> bool:
        self.called.clear()
        return self.called.wait(WAIT_S)


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def watch(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelWatch]:
    monkeypatch.setattr(model_watch, "TICK_S", 0.01)
    watch = ModelWatch(calls)
    watch.start()
    yield watch
    watch.stop()


@pytest.mark.usefixtures("watch")
def test_it_looks_at_every_tick(calls: Calls) -> None:
    assert all(calls.another() for _ in range(3))


@pytest.mark.usefixtures("watch")
def test_an_error_is_logged_once_and_the_watch_continues(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    calls.error = RuntimeError("a bug")
    assert all(calls.another() for _ in range(3))
    assert caplog.text.count("RuntimeError: a bug") == 1
