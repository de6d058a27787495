"""Two ways of running a model: the distance of their answers, and their speeds."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from engine.models.runtime_comparison import Trial, Way
from engine.models.runtime_report import Comparison
from engine.scheduling import tuning
from loaders.image_loader import create_image_loader
from loaders.model_errors import ModelFileError
from loaders.repository.model_repository import ModelRepository, ModelVersion
from loaders.runtimes.base import Precision, RunStop, Session, SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader, OnnxRuntimeSession
from loaders.tensors import Tensor
from tests.engine.tasks.graphs import constant_graph, end_to_end
from tests.tiny_models import (
    SIDE,
    SPEC,
    add_model,
    colour_graph,
    two_output_graph,
    with_second_input,
    with_weights_beside,
)

ONE = SessionOptions()
INT8 = SessionOptions(precision=Precision.INT8)


class ShiftedLoader(OnnxRuntimeLoader):
    """A runtime whose outputs are off by `shift` in the first value."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def load(self, path: Path, options: SessionOptions) -> Session:
        session, shift = super().load(path, options), self.shift
        assert isinstance(session, OnnxRuntimeSession)

        class Shifted(Session):
            inputs, outputs, providers, on_cpu = session.inputs, session.outputs, session.providers, True
            grows_with_shapes = True

            def run(self, inputs: Mapping[str, Tensor], stop: RunStop | None = None) -> dict[str, Tensor]:
                outputs = session.run(inputs, stop)
                for values in outputs.values():
                    values.reshape(-1)[0] += shift
                return outputs

        return Shifted()


def trial(version: ModelVersion, tolerance: float = 1e-4) -> Trial:
    return Trial(version, create_image_loader("opencv"), False, tolerance, cores=2)


def ways(shift: float) -> tuple[Way, Way]:
    return Way("one", OnnxRuntimeLoader(), ONE), Way("other", ShiftedLoader(shift), ONE)


@pytest.fixture
def version(tmp_path: Path) -> ModelVersion:
    add_model(tmp_path, "colours", colour_graph())
    return ModelRepository(tmp_path).find("colours")


def test_equal_answers_are_timed(version: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_COMPARISON_S", 0.0)
    result = trial(version).compare(*ways(0.0))
    assert (result.runtime, result.difference, result.rejected) == ("other", 0.0, "")
    assert result.speed
    assert result.reference_speed
    assert min(result.speed.ms, result.reference_speed.pictures_per_s) > 0


def test_different_answers_are_rejected_without_timing(version: ModelVersion) -> None:
    result = trial(version).compare(*ways(0.01))
    assert result.rejected.startswith("its answers differ by 0.00")
    assert result.rejected.endswith("more than 0.0001")
    assert result.speed is None


def test_runtime_that_grows_is_rejected_for_pictures_of_any_size(tmp_path: Path) -> None:
    spec = SPEC.replace('"stretch"', '"bounded"').replace(f"size = [{SIDE}, {SIDE}]", "longest_edge = 64")
    add_model(tmp_path, "colours", colour_graph(side="side"), spec=spec)
    result = trial(ModelRepository(tmp_path).find("colours")).compare(*ways(0.0))
    assert result.rejected == "its memory grows with each new size of picture"


def compare_twin(version: ModelVersion, twin: onnx.ModelProto) -> Comparison:
    file = version.graph.with_name("model_int8.onnx")
    file.write_bytes(twin.SerializeToString())
    one = Way("one", OnnxRuntimeLoader(), ONE)
    return trial(replace(version, twin=file), 0.05).compare(one, replace(one, options=INT8))


def test_twin_runs_beside_the_graph(version: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_COMPARISON_S", 0.0)
    result = compare_twin(version, colour_graph(gain=11))
    assert (result.precision, result.rejected) == ("int8", "")
    assert 0 < (result.difference or 0.0) < 0.05
    assert result.speed


def test_twin_that_disagrees_is_rejected(version: ModelVersion) -> None:
    result = compare_twin(version, colour_graph(gain=-10))
    assert result.rejected == "its answers differ by 1, more than 0.05"


@pytest.mark.parametrize(
    ("twin", "problem"),
    [
        (colour_graph(dtype=TensorProto.UINT8), r"has other inputs than model\.onnx: image uint8"),
        (colour_graph(layout="NHWC"), "has other inputs"),
        (colour_graph(batch=1, side=16), "has other inputs"),
        (with_second_input(colour_graph()), r"has other inputs .*mask float32"),
        (two_output_graph(), "has other outputs .*opposite float32"),
        (with_weights_beside("../weights.bin"), "outside its folder"),
    ],
)
def test_twin_with_other_inputs_or_outputs_is_rejected(
    version: ModelVersion, twin: onnx.ModelProto, problem: str
) -> None:
    with pytest.raises(ModelFileError, match=rf"^model_int8\.onnx.*{problem}"):
        compare_twin(version, twin)


def test_detector_that_finds_nothing_has_no_twin_without_samples(tmp_path: Path) -> None:
    """Its answers to black and to noise are empty, whatever its twin finds in photos."""
    spec = 'task = "object-detection"\nhead = "end-to-end"\n'
    graph = constant_graph(end_to_end([]))
    add_model(tmp_path, "objects", graph, spec=spec)
    result = compare_twin(ModelRepository(tmp_path).find("objects"), graph)
    assert result.rejected == "nothing was found in the pictures of the comparison; samples with objects are needed"
