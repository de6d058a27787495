"""Disks that are full, read-only, gone or damaged: what is loaded goes on serving, and what is wrong is said."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.faulty import (
    CAT,
    answers,
    eventually,
    fill,
    folder_trouble,
    label,
    lines,
    make_models,
    make_read_only,
    needs_root,
    operator,
    service_under,
    small_disk,
)
from tests.paths import ROOT
from tests.problems import assert_problem
from tests.process import Service
from tests.tiny_models import add_model, colour_graph

GRAPH = bytes(colour_graph().SerializeToString())
STATE = "fovea-state.json"
TOLD_S = 2.5  # the folder is looked at every second


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return make_models(tmp_path / "models")


@needs_root
def test_a_full_disk_refuses_changes_keeps_nothing_of_them_and_serves_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "models", 3) as models:
        make_models(models)
        before = {path.name for path in models.iterdir()}
        with service_under(models=models, cache=tmp_path / "cache") as service, operator(service) as boss:
            filler = fill(models)
            for response in (
                boss.post("/models/new/versions", content=GRAPH),
                boss.post("/models/new/versions", content=GRAPH * 500),
                boss.post("/models/new/versions", files={"model": GRAPH, "spec": b"x = 1"}),
            ):
                assert "No space left" in assert_problem(response, 409, "models_not_writable")
            response = boss.put("/models/default", json={"name": "other"})
            assert "No space left" in assert_problem(response, 409, "models_not_writable")
            assert label(service) == "red"
            assert {path.name for path in models.iterdir()} - before <= {filler.name, ".fovea-state.lock"}
            filler.unlink()
            assert boss.post("/models/new/versions", content=GRAPH).status_code == 201
            assert boss.put("/models/default", json={"name": "other"}).status_code == 200
            assert label(service, query="?model=new") == "class 0"


def test_a_quota_on_files_refuses_large_uploads_and_costs_nothing_but_the_cache(tmp_path: Path) -> None:
    """RLIMIT_FSIZE, as quotas do: the write itself fails, after all checks of the free space have passed."""
    copy = shutil.copytree(ROOT / "models" / "efficientnet-lite0", tmp_path / "models" / "colour").parent
    with service_under("prlimit", "--fsize=2000000", models=copy, cache=tmp_path / "cache") as service:
        assert label(service, CAT) == "tiger cat"
        assert lines(service, "optimised graphs are not kept")
        with operator(service) as boss:
            response = boss.post("/models/new/versions", content=bytes(3_000_000))
            assert "File too large" in assert_problem(response, 409, "models_not_writable")
            assert not [path for path in copy.iterdir() if path.name.startswith(".upload")]


@needs_root
@pytest.mark.parametrize("megabytes", [0, 20], ids=["read-only", "full"])
def test_a_cache_that_keeps_nothing_costs_time_only_and_is_told_once_a_process(tmp_path: Path, megabytes: int) -> None:
    with small_disk(tmp_path / "cache", megabytes or 1) as cache:
        if not megabytes:
            make_read_only(cache)
        with service_under(models=None, cache=cache, API_WORKERS="1") as service:
            assert label(service, CAT) == "tiger cat"
            assert label(service, CAT, "?model=picodet-s-416") == "cat"
            assert len(lines(service, "optimised graphs are not kept")) == 1


def test_a_cache_that_is_deleted_while_it_serves_is_made_anew(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with service_under(models=None, cache=cache) as service:
        eventually(lambda: len(lines(service, "ready: efficientnet-lite0")) == len(service.workers()))
        shutil.rmtree(cache)  # one that still loads would write between two of its steps
        assert label(service, CAT) == "tiger cat"
        assert label(service, CAT, "?model=picodet-s-416") == "cat"
        assert list(cache.glob("graphs/*/weights.bin"))


def test_a_kept_graph_that_is_cut_in_place_costs_a_crash_of_each_worker_and_not_the_model(tmp_path: Path) -> None:
    """It is mapped by all of them (SIGBUS). What is cut is made anew, and the model is not to blame."""
    cache = tmp_path / "cache"
    with service_under(models=None, cache=cache, API_WORKERS="4", API_CRASH_LIMIT="2") as service:
        eventually(lambda: len(lines(service, "ready: efficientnet-lite0")) == 4)
        first = set(service.workers())
        [weights] = cache.glob("graphs/*/weights.bin")
        whole = weights.stat().st_size
        os.truncate(weights, 4096)
        ask = ["curl", "-s", "-o", os.devnull, "--data-binary", "@-", f"{service.base_url}/infer"]
        eventually(lambda: subprocess.run(ask, input=CAT, check=False) and lines(service, "SIGBUS"))
        eventually(lambda: len(first & set(service.workers())) < 4 and label(service, CAT) == "tiger cat")
        eventually(lambda: next(iter(cache.glob("graphs/*/weights.bin"))).stat().st_size == whole)
        eventually(lambda: [label(service, CAT) for _ in range(20)] == ["tiger cat"] * 20)
        assert not lines(service, "quarantine")


def test_a_graph_that_is_written_over_in_place_serves_on_until_it_is_whole_again(tmp_path: Path) -> None:
    models = shutil.copytree(ROOT / "models" / "efficientnet-lite0", tmp_path / "models" / "colour").parent
    graph = models / "colour" / "1" / "model.onnx"
    whole = graph.read_bytes()
    with service_under(models=models, cache=tmp_path / "cache") as service:
        for written in (b"", whole[: len(whole) // 2], bytes(len(whole))):
            told = len(lines(service, "was not loaded"))
            graph.write_bytes(written)
            while len(lines(service, "was not loaded")) == told:
                assert label(service, CAT) == "tiger cat"
        graph.write_bytes(whole)
        with operator(service) as boss:
            eventually(lambda: not boss.get("/models").json()["models"][0]["versions"][0]["reason"])
        assert label(service, CAT) == "tiger cat"


@needs_root
def test_a_read_only_folder_serves_and_says_what_it_cannot_mend(tmp_path: Path) -> None:
    with small_disk(tmp_path / "models", 3) as models:
        make_models(models)
        (models / STATE).write_text('{"default": "oth')
        os.utime(models / STATE, (1, 1))
        make_read_only(models)
        with service_under(models=models, cache=tmp_path / "cache") as service, operator(service) as boss:
            assert label(service) == "red"
            assert "corrupt" in folder_trouble(service)
            for response in (
                boss.post("/models/new/versions", content=GRAPH),
                boss.put("/models/default", json={"name": "other"}),
                boss.request("DELETE", "/models/other"),
            ):
                assert "Read-only" in assert_problem(response, 409, "models_not_writable")
            time.sleep(TOLD_S)
            assert len(lines(service, "is corrupt")) <= len(service.workers()), "told once by each, not every second"


def test_a_folder_that_vanishes_is_told_and_found_again(tmp_path: Path, models: Path) -> None:
    away = tmp_path / "away"
    with service_under(models=models, cache=tmp_path / "cache") as service:
        models.rename(away)
        eventually(lambda: "cannot be read" in folder_trouble(service))
        assert label(service) == "red"
        add_model(away, "new", colour_graph())
        away.rename(models)
        eventually(lambda: not folder_trouble(service))
        eventually(lambda: answers(service, query="?model=new"))
        assert len(lines(service, "models folder cannot be read")) <= len(service.workers())


def test_a_folder_that_comes_later_is_served_then(tmp_path: Path) -> None:
    with service_under(models=tmp_path / "models", cache=tmp_path / "cache", wait=False) as service:
        with operator(service) as boss:
            assert_problem(boss.get("/health/ready"), 503, "not_ready")
            assert boss.get("/health/live").status_code == 200
        make_models(tmp_path / "away").rename(tmp_path / "models")
        eventually(lambda: answers(service))


def _directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


def _fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _gigantic(file: Path) -> None:
    os.truncate(file, 10 << 30)


def _zeros(file: Path) -> None:
    file.write_bytes(bytes(100))


def _half(file: Path) -> None:
    file.write_text('{"default": "oth')


def test_whatever_becomes_of_the_state_file_what_was_chosen_goes_on(tmp_path: Path, models: Path) -> None:
    state = models / STATE
    with service_under(models=models, cache=tmp_path / "cache") as service, operator(service) as boss:
        assert boss.put("/models/default", json={"name": "other"}).status_code == 200
        damages: list[tuple[Callable[[Path], None], bool]] = [
            (_zeros, True), (_half, True), (_gigantic, True), (_directory, False), (_loop, False), (_fifo, False),
        ]  # fmt: skip
        for damage, can_be_mended in damages:
            mended = len(lines(service, "written anew"))
            damage(state)
            if can_be_mended:
                eventually(partial(_more_than, service, "written anew", mended))
                eventually(lambda: not folder_trouble(service))
            else:
                eventually(lambda: folder_trouble(service))
            assert _default(service) == "other", damage
            if not can_be_mended:
                assert_problem(boss.put("/models/default", json={"name": "colour"}), 409, "models_not_writable")
                state.rmdir() if state.is_dir() else state.unlink()
                assert boss.put("/models/default", json={"name": "other"}).status_code == 200
        assert len(list(models.glob(f"{STATE}.corrupt-*"))) == 3


def _more_than(service: Service, words: str, count: int) -> bool:
    return len(lines(service, words)) > count


def _default(service: Service) -> str:
    with operator(service) as boss:
        assert label(service) == "red"
        return str(boss.get("/models").json()["default"])


def test_what_is_no_file_is_no_model_and_blocks_nothing(tmp_path: Path, models: Path) -> None:
    """Whoever opens a FIFO waits for a writer, whoever follows a ring never ends."""
    os.mkfifo(models / "pipe.onnx")
    (models / "loop.onnx").symlink_to(models / "loop.onnx")
    (models / "ring").symlink_to(models)
    for name, file in (("a", "labels.txt"), ("b", "model.toml"), ("c", "config.json")):
        folder = add_model(models, name, colour_graph(), labels=None)
        (folder / file).unlink(missing_ok=True)
        os.mkfifo(folder / file)
    os.mkfifo(add_model(models, "d", colour_graph()) / "2.onnx")
    folder = add_model(models, "e", colour_graph())
    (folder / "1" / "model.onnx").unlink()
    os.mkfifo(folder / "1" / "model.onnx")
    with service_under(models=models, cache=tmp_path / "cache") as service, operator(service) as boss:
        assert label(service) == "red"
        add_model(models, "new", colour_graph())
        eventually(lambda: answers(service, query="?model=new"))
        assert "pipe" not in boss.get("/models").text
        for name in "abc":
            assert boss.get(f"/models/{name}").status_code == 200
