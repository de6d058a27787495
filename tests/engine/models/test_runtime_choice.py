"""Which runtime a model gets, by figures that are given here."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from engine.models import runtime_choice
from engine.models.check import ModelCheck
from engine.models.runtime_choice import RuntimeChooser, candidates
from engine.models.runtime_report import Comparison
from engine.scheduling.tuning import Speed
from loaders.model_errors import CheckTimeoutError, ModelCheckError
from loaders.repository.model_repository import ModelRepository, ModelVersion
from loaders.runtimes.base import Precision
from tests.tiny_models import add_model, colour_graph

EXACT, BF16, INT8 = (("openvino", precision) for precision in Precision)
TWIN = ("onnxruntime", Precision.INT8)
REFERENCE = Speed(ms=10.0, pictures_per_s=100.0)


class GivenCheck(ModelCheck):
    """Answers with these results instead of running a separate process."""

    results: list[Comparison | ModelCheckError]

    def compare(self, *_: object) -> bytes:
        result = self.results.pop(0)
        if isinstance(result, ModelCheckError):
            raise result
        return orjson.dumps(result)


def faster(alone: float, parallel: float, precision: Precision = Precision.EXACT) -> Comparison:
    speed = Speed(REFERENCE.ms / alone, REFERENCE.pictures_per_s * parallel)
    return Comparison("openvino", precision, 0.00001, speed, REFERENCE)


@pytest.fixture
def version(tmp_path: Path) -> ModelVersion:
    add_model(tmp_path / "models", "colours", colour_graph())
    return ModelRepository(tmp_path / "models").find("colours")


@pytest.fixture
def chooser(tmp_path: Path) -> RuntimeChooser:
    check = GivenCheck("onnxruntime", "onnxruntime 1", ("cpu",), tmp_path / "cache")
    return RuntimeChooser(check, (EXACT,), 2, 0.05)


def give(chooser: RuntimeChooser, *results: Comparison | ModelCheckError) -> None:
    assert isinstance(chooser.check, GivenCheck)
    object.__setattr__(chooser.check, "results", list(results))


@pytest.mark.parametrize(
    ("alone", "parallel", "taken"),
    [(1.2, 1.2, True), (1.0, 1.3, True), (1.3, 0.95, True), (1.05, 1.05, False), (2.0, 0.8, False), (0.8, 2.0, False)],
)
def test_runtime_is_taken_if_it_is_clearly_faster(
    chooser: RuntimeChooser, version: ModelVersion, alone: float, parallel: float, taken: bool
) -> None:
    give(chooser, faster(alone, parallel))
    choice = chooser(version)
    assert choice.runtime == ("openvino" if taken else "onnxruntime")
    assert choice.precision == "exact"
    [compared] = choice.compared
    assert compared.reference_speed == REFERENCE


def test_fastest_of_several_is_taken(chooser: RuntimeChooser, version: ModelVersion) -> None:
    chooser = replace(chooser, candidates=(EXACT, BF16))
    give(chooser, faster(1.2, 1.2), faster(1.5, 1.4, Precision.BF16))
    choice = chooser(version)
    assert (choice.precision, choice.tolerance) == ("bf16", 0.05)
    assert choice.reason == "1.45 times as fast as onnxruntime, its answers differ by at most 1e-05"


def test_runtime_that_fails_is_out_with_the_reason(chooser: RuntimeChooser, version: ModelVersion) -> None:
    give(chooser, ModelCheckError("the runtime crashed on it"))
    choice = chooser(version)
    assert choice.runtime == "onnxruntime"
    assert choice.compared[0].rejected == "the runtime crashed on it"


def test_choice_is_cached_for_these_settings(chooser: RuntimeChooser, version: ModelVersion) -> None:
    give(chooser, faster(1.2, 1.2))
    first = chooser(version)
    assert chooser(version) == first
    other = replace(chooser, tolerance=0.01)
    give(other, faster(1.0, 1.0))
    assert other(version).runtime == "onnxruntime"


def test_comparison_that_takes_too_long_is_made_again(chooser: RuntimeChooser, version: ModelVersion) -> None:
    give(chooser, CheckTimeoutError("it took longer than 60 s"), faster(1.2, 1.2))
    assert [chooser(version).runtime, chooser(version).runtime] == ["onnxruntime", "openvino"]


@pytest.mark.parametrize(
    ("loader", "fast", "found"),
    [
        ("auto", False, (EXACT,)),
        ("auto", True, (EXACT, BF16, TWIN, INT8)),
        ("openvino", False, ()),
        ("openvino", True, (BF16, INT8)),
        ("onnxruntime", False, ()),
        ("onnxruntime", True, (TWIN,)),
    ],
)
def test_candidates_follow_the_settings(
    monkeypatch: pytest.MonkeyPatch, loader: str, fast: bool, found: tuple[object, ...]
) -> None:
    assert candidates(loader, fast=fast) == found
    monkeypatch.setattr(runtime_choice, "is_installed", lambda _: False)
    assert candidates("auto", fast=fast) == ((TWIN,) if fast else ())


def test_twin_is_compared_where_there_is_one(chooser: RuntimeChooser, version: ModelVersion) -> None:
    chooser = replace(chooser, candidates=(TWIN,))
    assert chooser(version).compared == ()
    give(chooser, replace(faster(1.2, 1.2, Precision.INT8), runtime="onnxruntime"))
    choice = chooser(replace(version, twin=version.graph))
    assert (choice.runtime, choice.precision, choice.tolerance) == ("onnxruntime", "int8", 0.05)


def test_without_candidates_nothing_is_compared(chooser: RuntimeChooser, version: ModelVersion) -> None:
    choice = replace(chooser, candidates=())(version)
    assert (choice.runtime, choice.compared) == ("onnxruntime", ())
