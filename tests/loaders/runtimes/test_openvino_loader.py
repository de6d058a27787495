"""OpenVINO sessions: precision, the cache of compiled models."""

from pathlib import Path

import numpy as np
import pytest

from loaders.model_errors import ModelFileError
from loaders.runtimes.base import ModelLoader, Precision, SessionOptions
from loaders.runtimes.openvino_loader import OpenVinoLoader
from tests.tiny_models import add_model, weighted_graph

PICTURE = {"image": np.random.default_rng(1).random((1, 3, 512, 512), np.float32)}


@pytest.fixture(scope="module")
def runtime() -> ModelLoader:
    return OpenVinoLoader()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_model(tmp_path_factory.mktemp("models"), "tiny", weighted_graph("MatMul")) / "1" / "model.onnx"


def test_version_is_that_of_the_package(runtime: ModelLoader) -> None:
    assert runtime.version.startswith("openvino 20")
    assert "-" not in runtime.version


def test_exact_is_float32_on_processors_with_bfloat16_too(runtime: ModelLoader, graph: Path) -> None:
    weight = np.random.default_rng(0).random((512, 512), np.float32)
    expected = (PICTURE["image"].astype(np.float64) @ weight).mean((2, 3))
    exact = runtime.load(graph, SessionOptions()).run(PICTURE)["logits"]
    np.testing.assert_allclose(exact, expected, rtol=1e-5)
    try:
        fast = runtime.load(graph, SessionOptions(precision=Precision.BF16)).run(PICTURE)["logits"]
    except ModelFileError as error:
        assert str(error) == "this processor has no bfloat16 arithmetic"  # noqa: PT017 - not every machine raises it
    else:
        np.testing.assert_allclose(fast, expected, rtol=2e-2)


def test_cached_model_answers_as_before(runtime: ModelLoader, graph: Path, tmp_path: Path) -> None:
    options = SessionOptions(cache=tmp_path)
    before = runtime.load(graph, options).run(PICTURE)["logits"]
    [blob] = (tmp_path / "openvino").glob("*/*.blob")
    np.testing.assert_array_equal(runtime.load(graph, options).run(PICTURE)["logits"], before)
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:1000])
    np.testing.assert_array_equal(runtime.load(graph, options).run(PICTURE)["logits"], before)


def test_cache_that_cannot_be_written_is_not_used(runtime: ModelLoader, graph: Path, tmp_path: Path) -> None:
    (tmp_path / "openvino").write_text("a file in the way")
    runtime.load(graph, SessionOptions(cache=tmp_path)).run(PICTURE)
