"""Disks that are full, read-only, gone or damaged: loaded models keep serving, and the service reports the reason."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.services import (
    CAT,
    admin,
    answers,
    eventually,
    fill,
    folder_reason,
    label,
    make_models,
    make_read_only,
    needs_root,
    service_under,
    small_disk,
    versions,
)
from tests.paths import ROOT
from tests.problems import assert_problem
from tests.process import Service
from tests.tiny_models import add_model, colour_graph

GRAPH = bytes(colour_graph().SerializeToString())
STATE = "fovea-state.json"
SCANS_S = 1.5  # the models folder is scanned every half second


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return make_models(tmp_path / "models")


@needs_root
def test_a_full_disk_rejects_changes_leaves_no_files_and_keeps_serving(tmp_path: Path) -> None:
    with small_disk(tmp_path / "models", 3) as models:
        make_models(models)
        before = {path.name for path in models.iterdir()}
        with service_under(models=models) as service, admin(service) as boss:
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
            assert {path.name for path in models.iterdir()} - before <= {
                filler.name,
                ".fovea-state.lock",
                ".fovea.lock",
            }
            filler.unlink()
            assert boss.post("/models/new/versions", content=GRAPH).status_code == 201
            assert boss.put("/models/default", json={"name": "other"}).status_code == 200
            assert label(service, query="?model=new") == "class 0"


def test_a_quota_on_file_sizes_rejects_large_uploads_and_costs_the_cache_only(tmp_path: Path) -> None:
    """RLIMIT_FSIZE, as a quota does, makes the write fail although there is free space."""
    copy = shutil.copytree(ROOT / "models" / "efficientnet-lite0", tmp_path / "models" / "colour").parent
    with service_under("prlimit", "--fsize=2000000", models=copy, cache=tmp_path / "cache") as service:
        assert label(service, CAT) == "tiger cat"
        assert cache_warnings(service)
        with admin(service) as boss:
            response = boss.post("/models/new/versions", content=bytes(3_000_000))
            assert "File too large" in assert_problem(response, 409, "models_not_writable")
            assert not [path for path in copy.iterdir() if path.name.startswith(".upload")]


@needs_root
@pytest.mark.parametrize("megabytes", [0, 20], ids=["read-only", "full"])
def test_a_cache_that_cannot_be_written_costs_time_only_and_is_logged_once(tmp_path: Path, megabytes: int) -> None:
    with small_disk(tmp_path / "cache", megabytes or 1) as cache:
        if not megabytes:
            make_read_only(cache)
        with service_under(models=None, cache=cache, API_WORKERS="1") as service:
            assert label(service, CAT) == "tiger cat"
            assert label(service, CAT, "?model=picodet-s-416") == "cat"
            assert len(cache_warnings(service)) == 1


def cache_warnings(service: Service) -> list[str]:
    """Lines of the log about graphs that cannot be cached."""
    return [line for line in service.log if "WARNING" in line and "graphs are not cached" in line]


def test_a_cache_that_is_deleted_is_made_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with service_under(models=None, cache=cache) as service:
        eventually(lambda: list(cache.glob("graphs/*/weights.bin")))
        shutil.rmtree(cache)
        assert label(service, CAT) == "tiger cat"
        assert label(service, CAT, "?model=picodet-s-416") == "cat"
        assert list(cache.glob("graphs/*/weights.bin"))


def test_a_cached_graph_that_is_truncated_costs_a_crash_of_each_worker_and_not_the_model(tmp_path: Path) -> None:
    """The workers map it, so they die of SIGBUS. Their successors make the file again."""
    cache = tmp_path / "cache"
    with service_under(models=None, cache=cache, API_WORKERS="2") as service:
        eventually(lambda: len(service.workers()) == 2)
        assert [label(service, CAT) for _ in range(6)] == ["tiger cat"] * 6
        first = set(service.workers())
        [weights] = cache.glob("graphs/*/weights.bin")
        whole = weights.stat().st_size
        os.truncate(weights, 4096)
        send = ["curl", "-s", "-o", os.devnull, "--data-binary", "@-", f"{service.base_url}/infer"]
        eventually(lambda: subprocess.run(send, input=CAT, check=False) and not first & set(service.workers()))
        eventually(lambda: next(iter(cache.glob("graphs/*/weights.bin"))).stat().st_size == whole)
        eventually(lambda: [label(service, CAT) for _ in range(20)] == ["tiger cat"] * 20)


def test_a_graph_overwritten_in_place_keeps_serving_until_it_is_whole_again(tmp_path: Path) -> None:
    models = shutil.copytree(ROOT / "models" / "efficientnet-lite0", tmp_path / "models" / "colour").parent
    graph = models / "colour" / "1" / "model.onnx"
    whole = graph.read_bytes()
    with service_under(models=models) as service:
        for written in (b"", whole[: len(whole) // 2], bytes(len(whole))):
            graph.write_bytes(written)
            eventually(lambda: label(service, CAT) == "tiger cat" and versions(service, "colour")[0]["reason"])
        graph.write_bytes(whole)
        eventually(lambda: not versions(service, "colour")[0]["reason"])
        assert label(service, CAT) == "tiger cat"


@needs_root
def test_a_read_only_folder_serves_and_rejects_changes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "models", 3) as models:
        make_models(models)
        (models / STATE).write_text('{"default": "oth')
        os.utime(models / STATE, (1, 1))
        make_read_only(models)
        with service_under(models=models) as service, admin(service) as boss:
            assert label(service) == "red"
            assert "invalid" in folder_reason(service)
            for response in (
                boss.post("/models/new/versions", content=GRAPH),
                boss.put("/models/default", json={"name": "other"}),
                boss.request("DELETE", "/models/other"),
            ):
                assert "Read-only" in assert_problem(response, 409, "models_not_writable")
            eventually(lambda: service.log_text.count("code=models_not_writable") == 3)
            logged = len(service.log)
            time.sleep(SCANS_S)
            assert len(service.log) <= logged, "a state that lasts is not logged at every scan"


def test_a_folder_that_vanishes_is_reported_and_found_again(tmp_path: Path, models: Path) -> None:
    away = tmp_path / "away"
    with service_under(models=models) as service:
        models.rename(away)
        eventually(lambda: "cannot be read" in folder_reason(service))
        assert label(service) == "red"
        add_model(away, "new", colour_graph())
        away.rename(models)
        eventually(lambda: not folder_reason(service))
        eventually(lambda: answers(service, query="?model=new"))


def test_a_folder_that_appears_later_is_served(tmp_path: Path) -> None:
    with service_under(models=tmp_path / "models", wait=False) as service:
        with admin(service) as boss:
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


def test_a_damaged_state_file_keeps_what_operators_chose(models: Path) -> None:
    state = models / STATE
    with service_under(models=models) as service, admin(service) as boss:
        assert boss.put("/models/default", json={"name": "other"}).status_code == 200
        damages: list[tuple[Callable[[Path], None], bool]] = [
            (_zeros, True), (_half, True), (_gigantic, False), (_directory, False), (_loop, False), (_fifo, False),
        ]  # fmt: skip
        for damage, is_replaced in damages:
            damage(state)
            eventually(lambda: folder_reason(service))
            assert _default(service) == "other", damage
            if not is_replaced:
                assert_problem(boss.put("/models/default", json={"name": "colour"}), 409, "models_not_writable")
                state.rmdir() if state.is_dir() else state.unlink()
            assert boss.put("/models/default", json={"name": "other"}).status_code == 200
            eventually(lambda: not folder_reason(service))


def _default(service: Service) -> str:
    with admin(service) as boss:
        assert label(service) == "red"
        return str(boss.get("/models").json()["default"])


def test_pipes_and_loops_are_ignored_and_block_nothing(models: Path) -> None:
    """Opening a FIFO waits for a writer, following a ring of links never ends."""
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
    with service_under(models=models) as service, admin(service) as boss:
        assert label(service) == "red"
        add_model(models, "new", colour_graph())
        eventually(lambda: answers(service, query="?model=new"))
        assert "pipe" not in boss.get("/models").text
        for name in "abc":
            assert boss.get(f"/models/{name}").status_code == 200
