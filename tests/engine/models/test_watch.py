"""Changes in the models folder are noticed at once, and the watch survives a missing folder and errors."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from engine.models import watch as model_watch
from engine.models.watch import ModelWatch
from tests.engine.models.loading import eventually

WAIT_S = 10.0


class Calls:
    """Counts the calls; raises `error` if it is set."""

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
def start(tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    monkeypatch.setattr(model_watch, "TICK_S", 0.1)
    folder = tmp_path / "models"
    folder.mkdir()
    watch = ModelWatch(folder, calls)

    def started() -> Path:
        watch.start()
        return folder

    yield started
    watch.stop()


def test_a_change_is_noticed_without_waiting_for_the_tick(
    start: Callable[[], Path], calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_watch, "TICK_S", 600.0)
    folder = start()
    for number in range(3):
        calls.called.clear()
        # written until it is noticed, because the watch may not have begun yet
        assert eventually(partial(write_and_look, folder / f"{number}.onnx", calls))


def write_and_look(file: Path, calls: Calls) -> bool:
    file.write_text("x")
    return calls.called.is_set()


def test_without_a_change_it_is_called_at_every_tick(start: Callable[[], Path], calls: Calls) -> None:
    start()
    assert all(calls.another() for _ in range(3))


def test_a_folder_that_is_replaced_is_watched_again(start: Callable[[], Path], calls: Calls) -> None:
    folder = start()
    assert calls.another()
    folder.rename(folder.with_name("away"))
    assert calls.another()
    folder.mkdir()
    assert calls.another()
    assert calls.another()


def test_an_error_is_logged_once_and_the_watch_continues(
    start: Callable[[], Path], calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    calls.error = RuntimeError("a bug")
    start()
    assert all(calls.another() for _ in range(3))
    assert caplog.text.count("RuntimeError: a bug") == 1
