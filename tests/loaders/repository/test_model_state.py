"""The state file is replaced atomically, also when it is invalid, and shared by several processes."""

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


def make_default(choices: ModelChoices) -> None:
    choices.default = "a"


def test_without_a_file_there_are_no_choices(tmp_path: Path) -> None:
    assert ModelStateFile(tmp_path).read() == ModelChoices()


def test_another_reader_sees_what_was_written(tmp_path: Path) -> None:
    state = ModelStateFile(tmp_path)
    state.update(make_default)
    state.update(lambda choices: (choices.active.update(a=2), choices.labels.update(a={"stable": 1})))
    choices = ModelStateFile(tmp_path).read()
    assert (choices.default, choices.active, choices.labels) == ("a", {"a": 2}, {"a": {"stable": 1}})


def test_choices_about_a_deleted_version_are_removed() -> None:
    left = ModelChoices(active={"a": 2, "b": 2}, labels={"a": {"x": 2, "y": 1}})
    left.set_loaded("a", 2, loaded=True)
    left.remove_version("a", 2)
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
        "\x00" * 100,
        "[" * 100_000,
        '{"default": "\\ud800"}',
        '{"default": ',
    ],
)
def test_an_invalid_file_raises_until_a_change_replaces_it(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = ModelStateFile(tmp_path)
    state.update(lambda choices: choices.active.update(a=1))
    (tmp_path / STATE_FILE).write_text(text)
    for reader in (state, ModelStateFile(tmp_path)):
        with pytest.raises(OSError, match="is invalid: mend or remove it"):
            reader.read()
    with caplog.at_level(logging.WARNING):
        state.update(lambda choices: choices.active.update(b=2))
    assert ModelStateFile(tmp_path).read().active == {"a": 1, "b": 2}
    assert "replaced by the last valid choices" in caplog.text


def test_choices_about_a_deleted_model_are_removed() -> None:
    left = ModelChoices(active={"a": 2, "b": 1}, labels={"a": {"x": 2}})
    left.set_loaded("a", 2, loaded=True)
    left.remove_model("a")
    assert (left.active, left.labels, left.loads) == ({"b": 1}, {}, {})


def test_loads_are_kept_by_version_and_differ_when_repeated(tmp_path: Path) -> None:
    state = ModelStateFile(tmp_path)
    first = state.update(lambda choices: choices.set_loaded("a", 2, loaded=True)).loads["a", 2]
    again = state.update(lambda choices: choices.set_loaded("a", 2, loaded=True)).loads["a", 2]
    assert (first.loaded, again.loaded) == (True, True)
    assert first != again
    assert ModelStateFile(tmp_path).read().loads == {("a", 2): again}


def test_a_file_without_loads_is_valid(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_text('{"default": "a", "active": {"a": 1}, "labels": {}}')
    assert ModelStateFile(tmp_path).read().loaded == {}


def test_a_folder_that_cannot_be_written_can_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "gone"
    with pytest.raises(ModelStateError, match="cannot be written"):
        ModelStateFile(missing).update(make_default)
    assert ModelStateFile(missing).read() == ModelChoices()


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    state = ModelStateFile(tmp_path)
    state.update(make_default)

    def fail(_: ModelChoices) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        state.update(fail)
    assert state.read().default == "a"
    assert {file.name for file in tmp_path.iterdir()} == {STATE_FILE, ".fovea-state.lock"}


def _count_up(root: Path, name: str, times: int) -> None:
    state = ModelStateFile(root)
    for _ in range(times):
        state.update(lambda choices: choices.active.update({name: choices.active.get(name, 0) + 1}))


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
        state.update(make_default)


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
    tracemalloc.start()
    with pytest.raises(OSError, match="larger than 1 MiB"):
        ModelStateFile(tmp_path).read()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 << 20


@pytest.mark.parametrize("moment", [-10, 0, 4102444800])
def test_the_file_is_valid_whatever_its_time(tmp_path: Path, moment: int) -> None:
    state = ModelStateFile(tmp_path)
    chosen = state.update(make_default)
    os.utime(tmp_path / STATE_FILE, (moment, moment))
    assert ModelStateFile(tmp_path).read() == chosen
