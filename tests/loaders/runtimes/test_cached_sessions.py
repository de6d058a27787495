"""Sessions from the cache of optimised graphs: same outputs, damaged entries, several processes."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import PIPE
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest

from loaders.runtimes import onnxruntime_session
from loaders.runtimes.base import Session, SessionOptions
from loaders.runtimes.graph_cache import GRAPH, PRIVATE_BYTES, WEIGHTS
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
from loaders.tensors import Tensor
from tests.paths import ROOT
from tests.tiny_models import add_model, colour_graph, slow_graph, weighted_graph, wide_graph
from utils.processor import processor

MODELS = ROOT / "models"
NAMES = ("efficientnet-lite0", "efficientnet-lite0-embed", "picodet-s-416")
pytestmark = pytest.mark.skipif(processor() is None, reason="graphs are cached where the system names the processor")

# Loads when a line comes from stdin, so that several processes start at once.
LOAD = """
import sys
from pathlib import Path
from loaders.runtimes.base import SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
loader = OnnxRuntimeLoader()
print("ready", flush=True)
sys.stdin.readline()
loader.load(Path(sys.argv[1]), SessionOptions(cache=Path(sys.argv[2])))
"""


@pytest.fixture
def graph() -> Path:
    return MODELS / "efficientnet-lite0" / "1" / "model.onnx"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph of a few bytes that is cached although it is small."""
    monkeypatch.setattr(onnxruntime_session, "_MIN_CACHED_BYTES", 0)
    monkeypatch.setattr(onnxruntime_session, "_warned", set())
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
def test_cached_graph_outputs_equal_the_original_bit_by_bit(tmp_path: Path, name: str) -> None:
    path = MODELS / name / "1" / "model.onnx"
    plain, first = load(path, None), load(path, tmp_path)
    written = (entry(tmp_path) / GRAPH).stat().st_mtime_ns
    again = load(path, tmp_path)
    assert (entry(tmp_path) / GRAPH).stat().st_mtime_ns == written
    assert_same(plain, first)
    assert_same(plain, again)


def test_second_load_uses_the_cache_alone(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = load(tiny, tmp_path)
    monkeypatch.setattr(onnxruntime_session, "_load_and_cache", None)
    monkeypatch.setattr(onnxruntime_session, "_load_original", None)
    assert_same(session, load(tiny, tmp_path))


def test_graph_with_a_loop_is_cached(tiny: Path, tmp_path: Path) -> None:
    tiny.write_bytes(slow_graph(2).SerializeToString())
    assert_same(load(tiny, tmp_path), load(tiny, tmp_path))
    assert (entry(tmp_path) / WEIGHTS).stat().st_size >= 512 * 512 * 4


def test_graph_with_external_weights_is_cached_by_their_content(tiny: Path, tmp_path: Path) -> None:
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


def test_replaced_graph_gets_another_entry(tiny: Path, tmp_path: Path) -> None:
    one = answers(load(tiny, tmp_path))["logits"]
    tiny.write_bytes(colour_graph(gain=20.0).SerializeToString())
    np.testing.assert_array_equal(answers(load(tiny, tmp_path))["logits"], 2 * one)
    assert len(entries(tmp_path)) == 2


@pytest.mark.parametrize("what", ["processor", "version"])
def test_another_processor_or_runtime_gets_another_entry(
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
    [("processor", lambda: None), ("_MIN_CACHED_BYTES", 1 << 20), ("_MAX_CACHED_BYTES", 1)],
    ids=["unknown processor", "small", "large"],
)
def test_graphs_that_are_not_cached(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(onnxruntime_session, name, value)
    load(tiny, tmp_path)
    assert not (tmp_path / "graphs").exists()


def cut(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


def overwrite(file: Path) -> None:
    """Changes the content, keeping length and time."""
    stat = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


DAMAGES: list[tuple[str, Callable[[Path], object]]] = [
    (GRAPH, cut),
    (GRAPH, overwrite),
    (GRAPH, Path.unlink),
    (WEIGHTS, cut),
    (WEIGHTS, Path.unlink),
    (PRIVATE_BYTES, cut),
    (PRIVATE_BYTES, Path.unlink),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_damaged_entry_is_replaced(tiny: Path, tmp_path: Path, name: str, damage: Callable[[Path], object]) -> None:
    tiny.write_bytes(slow_graph(1).SerializeToString())
    load(tiny, tmp_path / "cache")
    file = entry(tmp_path / "cache") / name
    file.chmod(0o644)
    damage(file)
    assert_same(load(tiny, None), load(tiny, tmp_path / "cache"))
    files = sorted(file.name for file in entry(tmp_path / "cache").iterdir())
    assert files == [GRAPH, PRIVATE_BYTES, WEIGHTS]


def test_entry_with_weights_outside_its_folder_is_replaced(tiny: Path, tmp_path: Path) -> None:
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
    assert_same(load(tiny, None), load(tiny, tmp_path / "cache"))
    assert (entry(tmp_path / "cache") / GRAPH).read_bytes() != forged


def test_optimised_graph_with_other_outputs_is_never_used(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        other = colour_graph(gain=3.0).SerializeToString()
        patch.setattr(onnxruntime_session, "_packed_bytes", lambda graph: graph.write_bytes(other))
        first = load(tiny, tmp_path)
    again = load(tiny, tmp_path)
    for session in (first, again):
        assert_same(load(tiny, None), session)
        [note] = session.notes
        assert note.endswith("the original graph is served")
    assert not entries(tmp_path)


def test_optimised_graph_that_crashes_is_not_used_again(tiny: Path, tmp_path: Path) -> None:
    trial = "import os\nfrom loaders.runtimes import onnxruntime_session\n"
    trial += "onnxruntime_session._MIN_CACHED_BYTES = 0\nonnxruntime_session._check_equal = lambda *_: os._exit(139)\n"
    command = [sys.executable, "-c", trial + LOAD, str(tiny), str(tmp_path)]
    crashed = subprocess.run(command, cwd=ROOT, input="\n", text=True, capture_output=True, check=False)
    assert crashed.returncode == 139, crashed.stderr
    session = load(tiny, tmp_path)
    assert_same(load(tiny, None), session)
    assert "the original graph is served" in session.notes[0]


def test_lack_of_memory_in_a_trial_is_not_held_against_the_graph(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("bad_alloc")

    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime_session, "_check_equal", fail)
        assert load(tiny, tmp_path).notes == ()
    load(tiny, tmp_path)
    assert entry(tmp_path)


def test_open_sides_take_the_sizes_that_the_caller_knows(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like a text recogniser: 48 rows, any width that is enough for its strides."""
    tiny.write_bytes(wide_graph(least_width=256).SerializeToString())
    shapes = {"image": (1, 3, 48, 320)}
    session = OnnxRuntimeLoader().load(tiny, SessionOptions(cache=tmp_path, shapes=shapes))
    assert session.notes == ()
    assert entry(tmp_path)
    picture = np.ones(shapes["image"], np.float32)
    assert session.run({"image": picture})["logits"].shape == (1, 3)
    monkeypatch.setattr(onnxruntime_session, "_load_and_cache", None)
    load(tiny, tmp_path)  # a further session needs no sizes


def test_graph_with_unknown_sides_is_not_cached(tiny: Path, tmp_path: Path) -> None:
    tiny.write_bytes(wide_graph(least_width=256).SerializeToString())
    assert load(tiny, tmp_path).notes == ()
    assert not (tmp_path / "graphs").exists()


def test_sessions_hold_the_weights_of_matrix_products_alone(tiny: Path, tmp_path: Path) -> None:
    plain = load(tiny, None)
    assert plain.private_bytes == tiny.stat().st_size
    for op, private in (("MatMul", 512 * 512 * 4), ("Add", 0)):
        tiny.write_bytes(weighted_graph(op).SerializeToString())
        for _ in range(2):
            assert load(tiny, tmp_path).private_bytes == private


@pytest.mark.parametrize("problem", ["a file in its place", "full"])
def test_unwritable_cache_warns_once_and_loads(
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
    assert warning.startswith("optimised graphs are not cached")


def test_failed_save_loads_the_original(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(onnxruntime_session, "GRAPH", "no-such-folder/model.onnx")
    assert_same(load(tiny, None), load(tiny, tmp_path))
    [warning] = caplog.messages
    assert "the runtime could not write one" in warning
    assert not entries(tmp_path)


@pytest.mark.slow
def test_concurrent_processes_leave_one_entry(graph: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(graph), str(tmp_path)]
    start = partial(subprocess.Popen[str], command, cwd=ROOT, text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    processes = [start() for _ in range(4)]
    assert [process.stdout and process.stdout.readline() for process in processes] == ["ready\n"] * 4
    errors = [process.communicate("\n", timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert len(entries(tmp_path)) == 1
    assert_same(load(graph, None), load(graph, tmp_path))
