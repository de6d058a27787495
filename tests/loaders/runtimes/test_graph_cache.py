"""What is optimised once is loaded again: with the same answers, from files that are whole, or not at all."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import orjson
import pytest

from loaders.model_errors import ModelFileError
from loaders.file_digest import file_digest
from loaders.runtimes import graph_cache, onnxruntime_session
from loaders.runtimes.base import Session, SessionOptions
from loaders.runtimes.graph_cache import GRAPH, WEIGHTS, GraphCache, GraphCacheError
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
from loaders.tensors import Tensor
from tests.paths import ROOT
from tests.tiny_models import add_model, colour_graph, slow_graph
from utils.processor import processor

MODELS = ROOT / "models"
NAMES = ("efficientnet-lite0", "efficientnet-lite0-embed", "picodet-s-416")
pytestmark = pytest.mark.skipif(processor() is None, reason="graphs are kept where the system tells the processor")

LOAD = """
import sys
from pathlib import Path
from loaders.runtimes.base import SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
OnnxRuntimeLoader().load(Path(sys.argv[1]), SessionOptions(cache=Path(sys.argv[2])))
"""


@pytest.fixture
def graph() -> Path:
    return MODELS / "efficientnet-lite0" / "1" / "model.onnx"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph of a few bytes, kept all the same."""
    monkeypatch.setattr(onnxruntime_session, "_LEAST_KEPT_BYTES", 0)
    monkeypatch.setattr(onnxruntime_session, "_told", set())
    return add_model(tmp_path / "models", "tiny", colour_graph()) / "1" / "model.onnx"


def load(graph: Path, cache: Path | None) -> Session:
    return OnnxRuntimeLoader().load(graph, SessionOptions(cache=cache))


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "graphs").iterdir())


def entry(cache: Path) -> Path:
    [only] = entries(cache)
    return only


def answers(session: Session) -> dict[str, Tensor]:
    noise = np.random.default_rng(7)
    feeds = {i.name: noise.random([dim or 1 for dim in i.shape], np.float32) for i in session.inputs}
    return session.run(feeds)


def assert_same(one: Session, other: Session) -> None:
    assert (one.inputs, one.outputs, one.providers) == (other.inputs, other.outputs, other.providers)
    for name, value in answers(one).items():
        np.testing.assert_array_equal(answers(other)[name], value)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_kept_answers_to_the_last_bit_alike(tmp_path: Path, name: str) -> None:
    path = MODELS / name / "1" / "model.onnx"
    plain, first = load(path, None), load(path, tmp_path)
    written = (entry(tmp_path) / GRAPH).stat().st_mtime_ns
    again = load(path, tmp_path)
    assert (entry(tmp_path) / GRAPH).stat().st_mtime_ns == written
    assert_same(plain, first)
    assert_same(plain, again)


def test_the_second_load_does_not_read_the_graph(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = load(tiny, tmp_path)
    monkeypatch.setattr(onnxruntime_session, "_load_and_keep", None)
    monkeypatch.setattr(onnxruntime_session, "_load_plainly", None)
    assert_same(session, load(tiny, tmp_path))


def test_a_graph_with_a_loop_is_kept(tiny: Path, tmp_path: Path) -> None:
    tiny.write_bytes(slow_graph(2).SerializeToString())
    assert_same(load(tiny, tmp_path), load(tiny, tmp_path))
    assert (entry(tmp_path) / WEIGHTS).stat().st_size > 512 * 512 * 4


def test_a_graph_with_weights_beside_it_is_kept_with_them(tiny: Path, tmp_path: Path) -> None:
    model = slow_graph(1)
    onnx.save(model, tiny, save_as_external_data=True, location="weights.bin", size_threshold=1024)
    plain, first = load(tiny, None), load(tiny, tmp_path)
    assert_same(plain, first)
    assert_same(plain, load(tiny, tmp_path))
    before = entry(tmp_path)
    weights = tiny.with_name("weights.bin")
    weights.write_bytes(bytes(weights.stat().st_size))
    assert answers(load(tiny, tmp_path))["logits"].shape == (1, 3)
    assert len(entries(tmp_path)) == 2
    assert before in entries(tmp_path)


def test_another_graph_in_its_place_is_optimised_anew(tiny: Path, tmp_path: Path) -> None:
    one = answers(load(tiny, tmp_path))["logits"]
    tiny.write_bytes(colour_graph(gain=20.0).SerializeToString())
    np.testing.assert_array_equal(answers(load(tiny, tmp_path))["logits"], 2 * one)
    assert len(entries(tmp_path)) == 2


@pytest.mark.parametrize("what", ["processor", "version"])
def test_another_processor_or_runtime_makes_its_own(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    load(tiny, tmp_path)
    if what == "processor":
        monkeypatch.setattr(onnxruntime_session, "processor", lambda: "another")
    else:
        monkeypatch.setattr(onnxruntime, "__version__", "0.0")
    load(tiny, tmp_path)
    assert len(entries(tmp_path)) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("processor", lambda: None), ("_LEAST_KEPT_BYTES", 1 << 20), ("_MOST_KEPT_BYTES", 1)],
    ids=["unknown processor", "small", "large"],
)
def test_nothing_is_kept_where_it_would_not_pay(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(onnxruntime_session, name, value)
    load(tiny, tmp_path)
    assert not (tmp_path / "graphs").exists()


def cut(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


def overwrite(file: Path) -> None:
    """The same length and time, another content."""
    stat = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replace_by_another(file: Path) -> None:
    file.write_bytes(colour_graph(gain=1.0).SerializeToString())


def replace_by_a_link(file: Path) -> None:
    moved = file.parents[3] / f"moved-{file.name}"
    file.rename(moved)
    file.symlink_to(moved)


DAMAGES: list[tuple[str, Callable[[Path], object]]] = [
    (GRAPH, cut),
    (GRAPH, overwrite),
    (GRAPH, replace_by_another),
    (GRAPH, replace_by_a_link),
    (GRAPH, Path.unlink),
    (WEIGHTS, cut),
    (WEIGHTS, replace_by_a_link),
    (WEIGHTS, Path.unlink),
    ("files.json", cut),
    ("files.json", Path.unlink),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_entry_is_made_anew(tiny: Path, tmp_path: Path, name: str, damage: Callable[[Path], object]) -> None:
    tiny.write_bytes(slow_graph(1).SerializeToString())
    load(tiny, tmp_path / "cache")
    file = entry(tmp_path / "cache") / name
    file.chmod(0o644)
    damage(file)
    assert_same(load(tiny, None), load(tiny, tmp_path / "cache"))
    files = sorted(file.name for file in entry(tmp_path / "cache").iterdir() if not file.is_symlink())
    assert files == ["files.json", GRAPH, WEIGHTS]
    assert GraphCache(tmp_path / "cache").find("another") is None


def test_an_entry_whose_weights_lie_elsewhere_is_made_anew(tiny: Path, tmp_path: Path) -> None:
    tiny.write_bytes(slow_graph(1).SerializeToString())
    load(tiny, tmp_path / "cache")
    graph = entry(tmp_path / "cache") / GRAPH
    (tmp_path / "outside.bin").write_bytes(bytes(graph.with_name(WEIGHTS).stat().st_size))
    graph.chmod(0o644)
    model = onnx.load(graph, load_external_data=False)
    for weights in model.graph.initializer:
        for field in weights.external_data:
            field.value = "../../../outside.bin" if field.key == "location" else field.value
    forged = model.SerializeToString()
    graph.write_bytes(forged)
    listed = graph_cache._list(graph.parent)  # as somebody would who can write there
    graph.with_name("files.json").chmod(0o644)
    graph.with_name("files.json").write_bytes(orjson.dumps(listed))
    assert_same(load(tiny, None), load(tiny, tmp_path / "cache"))
    assert (entry(tmp_path / "cache") / GRAPH).read_bytes() != forged


def test_what_does_not_answer_alike_is_not_kept(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = load(add_model(tmp_path / "models", "other", colour_graph(gain=3.0)) / "1" / "model.onnx", None)
    kept = getattr(other, "_session")  # noqa: B009 - the runtime's own
    monkeypatch.setattr(onnxruntime_session, "_load_kept", lambda *_: kept if entries(tmp_path) else None)
    (tmp_path / "graphs").mkdir()
    assert_same(load(tiny, None), load(tiny, tmp_path))
    assert not entries(tmp_path)


@pytest.mark.parametrize("problem", ["a file in its place", "full"])
def test_where_nothing_can_be_kept_it_loads_and_warns_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, problem: str
) -> None:
    if problem == "full":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    else:
        (tmp_path / "graphs").touch()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert_same(load(tiny, None), load(tiny, tmp_path))
    [warning] = caplog.messages
    assert warning.startswith("optimised graphs are not kept")


def test_the_disk_that_fills_up_while_it_is_written_changes_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(onnxruntime_session, "GRAPH", "no-such-folder/model.onnx")
    assert_same(load(tiny, None), load(tiny, tmp_path))
    assert caplog.messages == [
        "optimised graphs are not kept, each load optimises anew: the runtime could not write one"
    ]
    assert not entries(tmp_path)


def test_the_least_recently_used_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = GraphCache(tmp_path)
    monkeypatch.setattr(graph_cache, "MAX_ENTRIES", 3)

    def keep(name: str, used: int) -> Path:
        with cache.new(1, name) as folder:
            (folder / GRAPH).write_bytes(colour_graph().SerializeToString())
        graph = cache.find(name)
        assert graph
        os.utime(graph.parent, (used, used))
        return graph.parent

    a, b, c = (keep(name, used) for name, used in (("a", 300), ("b", 100), ("c", 200)))
    d = keep("d", 400)
    assert entries(tmp_path) == sorted([a, c, d])
    monkeypatch.setattr(graph_cache, "MAX_BYTES", 1)
    e = keep("e", 500)
    assert entries(tmp_path) == [e]
    assert not b.exists()


def test_what_killed_processes_left_is_removed_after_an_hour(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path)
    for name, used in ((".new-old", 0), (".new-young", None)):
        (tmp_path / "graphs" / name).mkdir(parents=True)
        if used is not None:
            os.utime(tmp_path / "graphs" / name, (used, used))
    with cache.new(1, "key") as folder:
        (folder / GRAPH).write_bytes(colour_graph().SerializeToString())
    assert ".new-old" not in [e.name for e in entries(tmp_path)]
    assert ".new-young" in [e.name for e in entries(tmp_path)]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> None:
        with GraphCache(tmp_path).new(1, "key") as folder:
            (folder / GRAPH).touch()
            raise OSError(28, "No space left on device")

    with pytest.raises(GraphCacheError, match="No space left"):
        broken()
    assert not entries(tmp_path)


def test_several_processes_at_once_agree(graph: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(graph), str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, errors
    assert len(entries(tmp_path)) == 1
    assert_same(load(graph, None), load(graph, tmp_path))


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    one = file_digest(file)
    file.write_bytes(b"two")
    assert file_digest(file) != one
    assert len(one) == 64


def test_the_digest_of_a_file_that_is_gone_is_an_error_that_can_be_told(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"^model\.onnx cannot be read: No such file or directory$"):
        file_digest(tmp_path / "model.onnx")


def test_the_processor_is_told_by_what_lasts(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2\ncpu MHz\t\t: 1.0\n")
    assert str(processor(cpuinfo)).endswith("\nflags : fpu avx2")
    assert processor(tmp_path / "none") is None
