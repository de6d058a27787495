"""The state file is replaced atomically, restored when it is damaged, and shared by several processes."""

import json
import logging
import multiprocessing
import os
import signal
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from loaders.model_errors import ModelStateError
from loaders.repository.model_state import STATE_FILE, ModelChoices, ModelStateFile


def test_without_a_file_there_are_no_choices(tmp_path: Path) -> None:
    assert ModelStateFile(tmp_path).read() == ModelChoices()


def test_another_reader_sees_what_was_written(tmp_path: Path) -> None:
    ModelStateFile(tmp_path).update(
        lambda choices: choices.with_default("a").with_active("a", 2).with_label("a", "stable", 1)
    )
    choices = ModelStateFile(tmp_path).read()
    assert (choices.default, choices.active, choices.labels) == ("a", {"a": 2}, {"a": {"stable": 1}})


def test_choices_about_a_deleted_version_are_removed() -> None:
    choices = ModelChoices().with_active("a", 2).with_label("a", "x", 2).with_label("a", "y", 1).with_active("b", 2)
    left = choices.with_loaded("a", 2, loaded=True).without_version("a", 2)
    assert (left.active, left.labels, left.loads) == ({"b": 2}, {"a": {"y": 1}}, {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"active": {"a": "two"}}',
        '{"loaded": {"a": {"1": true}}}',
        '{"unknown": 1}',
        "\x00\x01",
        "[" * 100_000,
        '{"default": ',
    ],
)
def test_a_corrupt_file_is_put_aside_with_a_warning(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / STATE_FILE).write_text(text)
    os.utime(tmp_path / STATE_FILE, (1, 1))
    with caplog.at_level(logging.WARNING):
        assert ModelStateFile(tmp_path).read() == ModelChoices()
    kept = list(tmp_path.glob(f"{STATE_FILE}.corrupt-*"))
    assert [file.read_text() for file in kept] == [text]
    assert "corrupt" in caplog.text
    ModelStateFile(tmp_path).update(lambda choices: choices.with_default("a"))
    assert ModelStateFile(tmp_path).read().default == "a"


def test_a_file_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_text('{"default": ')
    with pytest.raises(OSError, match="being written"):
        ModelStateFile(tmp_path).read()
    assert [file.name for file in tmp_path.iterdir()] == [STATE_FILE]


def test_choices_about_a_deleted_model_are_removed() -> None:
    choices = ModelChoices().with_active("a", 2).with_label("a", "x", 2).with_active("b", 1)
    left = choices.with_loaded("a", 2, loaded=True).without_model("a")
    assert (left.active, left.labels, left.loads) == ({"b": 1}, {}, {})


def test_loads_are_kept_by_version_and_differ_when_repeated(tmp_path: Path) -> None:
    state = ModelStateFile(tmp_path)
    first = state.update(lambda choices: choices.with_loaded("a", 2, loaded=True)).loads["a", 2]
    again = state.update(lambda choices: choices.with_loaded("a", 2, loaded=True)).loads["a", 2]
    assert (first.loaded, again.loaded) == (True, True)
    assert first != again
    assert ModelStateFile(tmp_path).read().loads == {("a", 2): again}


def test_a_file_without_loads_is_valid(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_text('{"default": "a", "active": {"a": 1}, "labels": {}}')
    assert ModelStateFile(tmp_path).read().loaded == {}


def test_a_folder_that_cannot_be_written_can_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "gone"
    with pytest.raises(ModelStateError, match="cannot be written"):
        ModelStateFile(missing).update(lambda choices: choices)
    assert ModelStateFile(missing).read() == ModelChoices()


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    state = ModelStateFile(tmp_path)
    state.update(lambda choices: choices.with_default("a"))

    def fail(_: ModelChoices) -> ModelChoices:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        state.update(fail)
    assert state.read().default == "a"
    assert {file.name for file in tmp_path.iterdir()} == {STATE_FILE, ".fovea-state.lock"}


def _count_up(root: Path, name: str, times: int) -> None:
    state = ModelStateFile(root)
    for _ in range(times):
        state.update(lambda choices: choices.with_active(name, choices.active.get(name, 0) + 1))


@pytest.mark.slow
def test_changes_of_several_processes_are_all_kept(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_count_up, args=(tmp_path, "a", 25)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert ModelStateFile(tmp_path).read().active == {"a": 50}


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_valid_file(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    state = ModelStateFile(tmp_path)
    for attempt in range(3):
        writer = spawn.Process(target=_count_up, args=(tmp_path, "a", 1_000_000))
        before = state.read().active.get("a", 0)
        writer.start()
        while state.read().active.get("a", 0) == before and writer.is_alive():
            time.sleep(0.001)
        time.sleep(0.005 * attempt)
        assert writer.pid
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(10)
        data = json.loads((tmp_path / STATE_FILE).read_text())
        assert data["active"]["a"] > before
        state.update(lambda choices: choices.with_default("writable"))
    assert not list(tmp_path.glob("*.corrupt-*"))


@pytest.mark.parametrize("text", ["", "{", "\x00" * 100, '{"default": "o'])
def test_a_corrupt_file_is_restored_by_a_process_that_knows_its_content(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No model is swapped because of a disk error; another process follows the restored file."""
    state, other = ModelStateFile(tmp_path), ModelStateFile(tmp_path)
    chosen = state.update(lambda choices: choices.with_default("a").with_active("a", 1))
    (tmp_path / STATE_FILE).write_text(text)
    os.utime(tmp_path / STATE_FILE, (1, 1))
    with caplog.at_level(logging.WARNING):
        assert [state.read(), state.read(), other.read()] == [chosen] * 3
    assert [file.read_text() for file in tmp_path.glob("*.corrupt-*")] == [text]
    assert "restored" in caplog.text


def test_a_change_to_a_corrupt_file_keeps_the_earlier_choices(tmp_path: Path) -> None:
    state = ModelStateFile(tmp_path)
    state.update(lambda choices: choices.with_active("a", 1))
    (tmp_path / STATE_FILE).write_text("{")
    os.utime(tmp_path / STATE_FILE, (1, 1))
    assert state.update(lambda choices: choices.with_active("b", 2)).active == {"a": 1, "b": 2}


def _directory(file: Path) -> None:
    file.mkdir()


def _loop(file: Path) -> None:
    file.symlink_to(file)


def _fifo(file: Path) -> None:
    os.mkfifo(file)


@pytest.mark.parametrize("make", [_directory, _loop, _fifo])
def test_a_state_file_that_is_not_a_regular_file_fails(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / STATE_FILE)
    with pytest.raises(OSError, match=r"directory|symbolic links|not a regular file"):
        ModelStateFile(tmp_path).read()


def test_a_gigantic_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).touch()
    os.truncate(tmp_path / STATE_FILE, 10 << 30)
    os.utime(tmp_path / STATE_FILE, (1, 1))
    tracemalloc.start()
    assert ModelStateFile(tmp_path).read() == ModelChoices()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 << 20


@pytest.mark.parametrize("moment", [-10, 0, 4102444800])
def test_the_file_is_valid_whatever_its_time(tmp_path: Path, moment: int) -> None:
    state = ModelStateFile(tmp_path)
    chosen = state.update(lambda choices: choices.with_default("a"))
    os.utime(tmp_path / STATE_FILE, (moment, moment))
    assert ModelStateFile(tmp_path).read() == chosen
