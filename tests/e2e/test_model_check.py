"""Models that crash, hang or need too much memory fail their check with one sentence."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from engine.models.check import ModelCheck
from engine.models.load import load_model
from loaders.model_errors import ModelCheckError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository, ModelVersion
from loaders.runtimes import onnxruntime_session
from loaders.runtimes.base import SessionOptions
from tests.engine.models.loading import eventually
from tests.paths import ROOT
from tests.tiny_models import add_model, colour_graph, slow_graph, wide_graph
from utils.processor import processor


@pytest.fixture
def check(tmp_path: Path) -> ModelCheck:
    return ModelCheck("onnxruntime", "onnxruntime 1", ("cpu",), tmp_path / "cache", timeout_s=30, memory_mb=2048)


def version(tmp_path: Path, graph: onnx.ModelProto, name: str = "m") -> ModelVersion:
    add_model(tmp_path / "models", name, graph)
    return ModelRepository(tmp_path / "models").find(name)


_CRASH_IN_THE_TRIAL = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from loaders.runtimes import onnxruntime_session
onnxruntime_session._MIN_CACHED_BYTES = 0
onnxruntime_session._check_equal = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)
"""


def huge_tensor_graph(gigabytes: int) -> onnx.ModelProto:
    """A graph of some hundred bytes that asks for gigabytes when it runs."""
    graph = colour_graph()
    elements = gigabytes * 2**30 // 4
    shape = numpy_helper.from_array(np.array([elements], np.int64), "huge_shape")
    graph.graph.initializer.append(shape)
    nodes = [
        helper.make_node("ReduceMax", ["pixels"], ["brightest"], keepdims=1, axes=[0, 1, 2, 3]),
        helper.make_node("Reshape", ["brightest", "one"], ["bright"]),
        helper.make_node("Expand", ["bright", "huge_shape"], ["huge"]),
        helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0),
        helper.make_node("Add", ["logits0", "sum"], ["logits"]),
    ]
    graph.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    graph.graph.node[2].output[0] = "logits0"
    graph.graph.node.extend(nodes)
    return graph


def absent_operator_graph() -> onnx.ModelProto:
    graph = colour_graph()
    graph.graph.node[2].op_type = "FancyMul"
    graph.graph.node[2].domain = "com.example"
    graph.opset_import.append(helper.make_opsetid("com.example", 1))
    return graph


def future_opset_graph() -> onnx.ModelProto:
    graph = colour_graph()
    graph.opset_import[0].version = 999
    return graph


def test_a_passed_check_is_cached(check: ModelCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = version(tmp_path, colour_graph())
    check(good)
    assert len(list((tmp_path / "cache" / "checked").iterdir())) == 1
    monkeypatch.setattr(sys, "executable", "/missing")  # so that a second process could not be started
    check(good)


def test_a_graph_of_open_width_is_checked_at_its_own_size(check: ModelCheck, tmp_path: Path) -> None:
    """A text recogniser fails on pictures that are narrower than its strides."""
    good = version(tmp_path, wide_graph(least_width=256))
    spec = tmp_path / "models" / "m" / "model.toml"
    spec.write_text(spec.read_text().replace("[8, 8]", "[48, 320]"))
    check.examine(good)


@pytest.mark.skipif(processor() is None, reason="graphs are cached where the system names the processor")
def test_a_crash_of_the_optimised_graph_is_not_the_models(
    check: ModelCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_CRASH_IN_THE_TRIAL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(onnxruntime_session, "_MIN_CACHED_BYTES", 0)
    good = version(tmp_path, colour_graph())
    check.examine(good)
    session = load_model(good, create_model_loader("onnxruntime"), SessionOptions(cache=check.cache)).session
    assert session.notes == (
        "its optimised graph crashes or gives other answers on this machine: the original graph is served",
    )


def test_a_changed_model_is_checked_again(check: ModelCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examined: list[ModelVersion] = []
    monkeypatch.setattr(ModelCheck, "examine", lambda _, version: examined.append(version))
    first = version(tmp_path, colour_graph())
    check(first)
    check(first)
    assert len(examined) == 1
    check(version(tmp_path, colour_graph(gain=3)))
    assert len(examined) == 2
    with (tmp_path / "models" / "m" / "model.toml").open("a") as file:
        file.write("# another\n")
    changed = ModelRepository(tmp_path / "models").find("m")
    check(changed)
    assert len(examined) == 3
    ModelCheck("onnxruntime", "onnxruntime 2", ("cpu",), tmp_path / "cache")(changed)
    assert len(examined) == 4


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (absent_operator_graph(), "FancyMul"),
        (huge_tensor_graph(gigabytes=6), "memory"),
    ],
    ids=["an absent operator", "a huge tensor"],
)
def test_a_bad_model_fails_with_one_sentence(
    check: ModelCheck, tmp_path: Path, graph: onnx.ModelProto, expected: str
) -> None:
    with pytest.raises(ModelCheckError) as error:
        check(version(tmp_path, graph))
    text = str(error.value)  # tests/e2e/test_broken_models.py has more of them
    assert expected.lower() in text.lower()
    assert "\n" not in text
    assert str(tmp_path) not in text
    assert not (tmp_path / "cache").exists()


def test_an_endless_run_is_killed(tmp_path: Path) -> None:
    check = ModelCheck("onnxruntime", "onnxruntime 1", ("cpu",), tmp_path / "cache", timeout_s=2)
    with pytest.raises(ModelCheckError, match="longer than 2 s"):
        check(version(tmp_path, slow_graph(rounds=1_000_000)))


def test_close_kills_running_checks(tmp_path: Path) -> None:
    check = ModelCheck("onnxruntime", "onnxruntime 1", ("cpu",), tmp_path / "cache", timeout_s=30)
    endless = version(tmp_path, slow_graph(rounds=1_000_000))
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(check, endless)
        assert eventually(lambda: check._running)
        check.close()
        assert isinstance(checking.exception(10), ModelCheckError)


def test_a_crash_of_the_runtime_fails_the_check(
    check: ModelCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real abort of the separate process, caused by its sitecustomize module."""
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "sitecustomize.py").write_text(
        "import os, sys\nif 'engine.models.check' in ' '.join(sys.orig_argv): os.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{shadow}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(ModelCheckError, match=r"crashed on it.*signal 6"):
        check(version(tmp_path, colour_graph()))


def test_without_a_writable_cache_the_check_still_works(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    check = ModelCheck("onnxruntime", "onnxruntime 1", ("cpu",), tmp_path / "cache")
    check(version(tmp_path, colour_graph()))


def test_the_limits_stay_below_hard_limits() -> None:
    """As under `ulimit -v` or `ulimit -t`."""
    limits = "import resource, engine.models.check as m; resource.setrlimit(resource.RLIMIT_AS, (3 << 30,) * 2); "
    given = "m._limit(8192, 60); print(resource.getrlimit(resource.RLIMIT_AS)[0] >> 30, resource.getrlimit(0)[0])"
    printed = subprocess.run(
        [sys.executable, "-c", limits + given], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert printed.stdout.split() == ["3", "60"]


def test_settings_do_not_reach_the_separate_process(
    check: ModelCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEYS", "secret")
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "sitecustomize.py").write_text(
        "import os, sys\nif 'engine.models.check' in ' '.join(sys.orig_argv) and 'API_KEYS' in os.environ: os.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(shadow))
    check(version(tmp_path, colour_graph()))
