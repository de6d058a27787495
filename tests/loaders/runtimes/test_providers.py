"""Execution providers: which of them are used, with which options, and the notes about the others."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from loaders.model_errors import ModelFileError, ProviderError
from loaders.runtimes import onnxruntime_loader, providers
from loaders.runtimes.base import AUTO, PROVIDER_NAMES, SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
from loaders.runtimes.onnxruntime_session import Loaded, load_session
from loaders.runtimes.providers import COREML, CPU, CUDA, DIRECTML, OPENVINO, TENSORRT
from tests.tiny_models import add_model, colour_graph

BEST = SessionOptions(providers=(AUTO,))
Load = Callable[..., Any]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return add_model(tmp_path, "tiny", colour_graph()) / "1" / "model.onnx"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Simulates installed providers of which some come up; returns the list of providers that are tried."""

    def install(*names: str, come_up: Sequence[str] = (), reject: Sequence[str] = ()) -> list[str]:
        tried: list[str] = []

        def load(path: Path, chosen: Sequence[str], options: SessionOptions) -> Loaded:
            tried.append(chosen[0])
            if chosen[0] in reject:
                raise ModelFileError("model.onnx cannot be loaded: no kernel")
            loaded = load_session(path, [CPU], options)
            running = [name for name in chosen if name in (*come_up, CPU)]
            monkeypatch.setattr(loaded.session, "get_providers", lambda: running or [CPU])
            return loaded

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*names, "AzureExecutionProvider", CPU])
        monkeypatch.setattr(onnxruntime_loader, "load_session", load)
        return tried

    return install


def test_auto_falls_back_to_cpu(graph: Path) -> None:
    session = OnnxRuntimeLoader().load(graph, BEST)
    assert session.providers[-1] == CPU
    assert session.on_cpu == (session.providers[0] in (CPU, OPENVINO))


def test_auto_takes_the_best_provider_and_notes_the_others(graph: Path, installed: Callable[..., list[str]]) -> None:
    tried = installed(TENSORRT, CUDA, DIRECTML, OPENVINO, come_up=[DIRECTML])
    session = OnnxRuntimeLoader().load(graph, BEST)
    assert tried == [CUDA, DIRECTML]
    assert session.providers[0] == DIRECTML
    assert not session.on_cpu
    tensorrt, cuda = session.notes
    assert tensorrt.startswith(f"{TENSORRT} was not tried: ")
    assert cuda.startswith(f"{CUDA} did not come up: ")


def test_auto_skips_coreml(graph: Path, installed: Callable[..., list[str]]) -> None:
    tried = installed(COREML, come_up=[COREML])
    session = OnnxRuntimeLoader().load(graph, BEST)
    assert tried == [CPU]
    assert session.providers == (CPU,)
    assert session.notes == (f"{COREML} was not tried: it may compute in 16 bits; name coreml to use it",)
    assert OnnxRuntimeLoader().load(graph, SessionOptions(providers=("coreml",))).providers == (COREML,)


def test_missing_provider_is_tried_once(graph: Path, installed: Callable[..., list[str]]) -> None:
    tried = installed(CUDA)
    loader = OnnxRuntimeLoader()
    notes = [loader.load(graph, BEST).notes for _ in range(2)]
    assert tried == [CUDA, CPU, CPU]
    assert notes[0] == notes[1]


def test_provider_that_rejects_a_model_is_tried_again(graph: Path, installed: Callable[..., list[str]]) -> None:
    tried = installed(CUDA, reject=[CUDA])
    loader = OnnxRuntimeLoader()
    for _ in range(2):
        assert loader.load(graph, BEST).notes == (f"{CUDA} rejected the model: model.onnx cannot be loaded: no kernel",)
    assert tried == [CUDA, CPU] * 2


def test_broken_model_raises_model_file_error_with_auto(graph: Path) -> None:
    graph.write_bytes(b"no graph")
    with pytest.raises(ModelFileError, match=r"^model\.onnx cannot be loaded"):
        OnnxRuntimeLoader().load(graph, BEST)


def test_named_provider_that_does_not_come_up_raises(graph: Path, installed: Callable[..., list[str]]) -> None:
    installed(CUDA)
    with pytest.raises(ProviderError, match=f"{CUDA} did not come up"):
        OnnxRuntimeLoader().load(graph, SessionOptions(providers=("cuda", "cpu")))


def test_provider_without_libraries_raises_and_prints_nothing(
    graph: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **options: object) -> None:
        assert options["enable_fallback"] is False
        raise RuntimeError("Please install TensorRT libraries")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CPU])
    with pytest.raises(ProviderError, match=f"{TENSORRT} did not come up; available here: {CPU}"):
        OnnxRuntimeLoader().load(graph, SessionOptions(providers=("tensorrt",)))
    assert capfd.readouterr() == ("", "")


def test_cpu_comes_last_and_providers_have_options(tmp_path: Path) -> None:
    chosen = dict(providers.set_up([TENSORRT, CUDA, OPENVINO], 3, tmp_path))
    assert list(chosen) == [TENSORRT, CUDA, OPENVINO, CPU]
    assert chosen[TENSORRT]["trt_engine_cache_path"] == str(tmp_path / "tensorrt")
    assert chosen[CUDA]["cudnn_conv_algo_search"] == "HEURISTIC"
    assert chosen[OPENVINO] == {"device_type": "CPU", "precision": "FP32", "num_of_threads": "3"}
    assert providers.set_up([CPU, CUDA], 1, None)[0] == (CPU, {})
    assert providers.set_up([TENSORRT], 1, None)[0] == (TENSORRT, {})


@pytest.mark.parametrize(("running", "on_cores"), [((CPU,), True), ((OPENVINO, CPU), True), ((CUDA, CPU), False)])
def test_first_provider_decides_on_cpu(running: Sequence[str], on_cores: bool) -> None:
    assert providers.runs_on_cores(running) is on_cores


@pytest.mark.parametrize(
    ("names", "installed", "alone"),
    [
        (("cpu",), [CUDA, CPU], True),
        ((AUTO,), [CPU], True),
        ((AUTO,), [COREML, OPENVINO, CPU], True),
        ((AUTO,), [CUDA, CPU], False),
        (("openvino", "cpu"), [OPENVINO, CPU], True),
        (("tensorrt", "cpu"), [TENSORRT, CPU], False),
    ],
)
def test_on_cores_alone(
    monkeypatch: pytest.MonkeyPatch, names: Sequence[str], installed: list[str], alone: bool
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: installed)
    assert OnnxRuntimeLoader().on_cores_alone(names) is alone


def test_short_names_are_complete() -> None:
    assert tuple(providers.SHORT_NAMES) == PROVIDER_NAMES
    assert set(providers.BEST_FIRST) < set(providers.SHORT_NAMES.values())


@pytest.mark.skipif(CUDA not in onnxruntime.get_available_providers(), reason="for onnxruntime-gpu")
def test_cuda_without_driver_is_noted(graph: Path) -> None:
    session = OnnxRuntimeLoader().load(graph, BEST)
    assert session.providers[0] == CUDA or "libcuda.so.1" in " ".join(session.notes)


@pytest.mark.skipif(OPENVINO not in onnxruntime.get_available_providers(), reason="for onnxruntime-openvino")
@pytest.mark.parametrize("name", [AUTO, "openvino"])
def test_openvino_comes_up(graph: Path, name: str) -> None:
    session = OnnxRuntimeLoader().load(graph, SessionOptions(providers=(name,)))
    assert session.providers[0] == OPENVINO
    assert session.on_cpu
