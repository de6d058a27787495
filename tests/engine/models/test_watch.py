"""What changes in the folder is noticed promptly, and the watch survives all that can happen to the folder."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from engine.models.watch import TICK_S, ModelWatch

WAIT_S = 10.0


class Notices:
    def __init__(self) -> None:
        self.count = 0
        self.noticed = Event()
        self.error: Exception | None = None

    def __call__(self) -> None:
        self.count += 1
        self.noticed.set()
        if self.error:
            raise self.error

    def within(self, seconds: float) -> bool:
        self.noticed.clear()
        return self.noticed.wait(seconds)


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def folder(tmp_path: Path, notices: Notices) -> Iterator[Path]:
    folder = tmp_path / "models"
    folder.mkdir()
    watch = ModelWatch(folder, notices)
    watch.start()
    assert notices.noticed.wait(WAIT_S)
    yield folder
    watch.stop()


def test_a_change_is_noticed_before_the_next_tick(folder: Path, notices: Notices) -> None:
    prompt = 0
    for number in range(5):
        assert notices.within(WAIT_S), "a tick"
        (folder / f"{number}.onnx").write_text("x")
        prompt += notices.within(TICK_S / 2)
    assert prompt >= 3  # of 5, on a noisy machine


def test_without_any_change_it_looks_every_second(folder: Path, notices: Notices) -> None:
    before = notices.count
    time.sleep(TICK_S * 3.5)
    assert 2 <= notices.count - before <= 5
    assert folder.is_dir()


def test_a_folder_that_goes_and_comes_back_is_followed_again(folder: Path, notices: Notices) -> None:
    away = folder.with_name("away")
    folder.rename(away)
    assert notices.within(WAIT_S)
    folder.mkdir()
    assert notices.within(WAIT_S)
    assert notices.within(WAIT_S)
    (folder / "new.onnx").write_text("x")
    assert notices.within(WAIT_S)


def test_what_a_notice_raises_is_logged_and_the_watch_goes_on(
    folder: Path, notices: Notices, caplog: pytest.LogCaptureFixture
) -> None:
    notices.error = RuntimeError("a bug")
    (folder / "a.onnx").write_text("x")
    assert notices.within(WAIT_S)
    notices.error = None
    assert notices.within(WAIT_S)
    assert "a bug" in caplog.text
