"""Two ways of running a model: the distance of their answers, and their speeds."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from engine.models.answer_difference import answer_difference
from engine.models.load import load_model
from engine.models.runtime_comparison import Trial, Way
from engine.scheduling import tuning
from loaders.image_loader import create_image_loader
from loaders.repository.model_repository import ModelRepository, ModelVersion
from loaders.runtimes.base import RunStop, Session, SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader, OnnxRuntimeSession
from loaders.tensors import Tensor
from tests.tiny_models import SPEC, add_model, colour_graph

ONE = SessionOptions()


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


@pytest.mark.parametrize(
    ("found", "difference"),
    [([2.0, 1.0, 0.0], 0.0), ([2.0, 1.0, 0.1], 0.0085), ([2.0, 2.1, 0.0], 1.0), ([2.0, 1.0, np.nan], 1.0)],
)
def test_classes_differ_by_their_scores_and_by_their_first(
    version: ModelVersion, found: list[float], difference: float
) -> None:
    model = load_model(version, OnnxRuntimeLoader(), ONE)
    frame = model.preprocessor.frame(model.preprocessor.target)
    one, other = ({"logits": np.asarray([values], np.float32)} for values in ([2.0, 1.0, 0.0], found))
    assert answer_difference(model, model, (one, other), frame) == pytest.approx(difference, abs=1e-3)


@pytest.mark.parametrize(
    ("found", "difference"),
    [([[0.0, -8.0, 4.0]], 0.0), ([[0.0, -8.0, 5.0]], 0.125), ([[0.0, np.nan, 4.0]], 1.0), ([[0.0, -8.0]], 1.0)],
)
def test_other_outputs_differ_relative_to_their_largest_value(
    tmp_path: Path, found: list[list[float]], difference: float
) -> None:
    spec = SPEC.replace("image-classification", "image-feature-extraction")
    add_model(tmp_path, "vectors", colour_graph(), spec=spec, labels=None)
    model = load_model(ModelRepository(tmp_path).find("vectors"), OnnxRuntimeLoader(), ONE)
    frame = model.preprocessor.frame(model.preprocessor.target)
    one, other = ({"logits": np.asarray(values, np.float32)} for values in ([[0.0, -8.0, 4.0]], found))
    assert answer_difference(model, model, (one, other), frame) == difference
