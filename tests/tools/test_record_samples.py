"""`python tools/record_samples.py` with a callable: what it writes, the service reads and agrees with.

Its other sources need their frameworks: tests/e2e/test_record_samples.py.
"""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.models.load import load_model
from engine.models.sample_differences import map_difference, tensor_difference
from engine.models.samples import check_samples
from loaders.image_loader import create_image_loader
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.repository.samples import MapSummary, TensorSummary
from loaders.runtimes.base import SessionOptions
from tests.paths import ROOT
from tests.pictures_by_colour import colour_picture
from tests.tiny_models import SPEC, add_model, colour_graph
from tools.record_samples import main, map_summary, summary

SCRIPT = str(ROOT / "tools" / "record_samples.py")
PIPELINE = """
import numpy as np

def logits(picture):
    return np.asarray(picture, np.float32).mean((0, 1)) / 25.5

def listed(picture):
    scores = np.exp(logits(picture)) / np.exp(logits(picture)).sum()
    return [{"class_id": i, "score": score} for i, score in enumerate(scores)]

def labelled(picture):
    return [{**one, "label": label} for one, label in zip(listed(picture), ("red", "green", "blue"))]

def with_tensors(picture):
    pixels = np.asarray(picture.resize((8, 8)), np.float32).transpose(2, 0, 1)[None] / 255
    return {"predictions": listed(picture), "input": pixels, "outputs": {"logits": logits(picture)[None]}}

def raw(picture):
    return {"outputs": {"logits": logits(picture)[None]}}

def vector(picture):
    return logits(picture)

def broken(picture):
    raise ValueError("no answer")
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a pipeline, pictures and a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the tool adds the folder
    monkeypatch.delitem(sys.modules, "my_pipeline", raising=False)
    (tmp_path / "my_pipeline.py").write_text(PIPELINE)
    for colour in ("red", "blue"):
        (tmp_path / f"{colour}.png").write_bytes(colour_picture(colour))
    add_model(tmp_path / "models", "colour", colour_graph())
    return tmp_path


def arguments_of(function: str, *more: str, model: str = "models/colour") -> list[str]:
    return [model, "red.png", "blue.png", "--callable", f"my_pipeline:{function}", *more]


def record(function: str, *more: str, model: str = "models/colour") -> int:
    """Returns the exit status."""
    try:
        return main(arguments_of(function, *more, model=model))
    except SystemExit as ended:
        return int(ended.code or 0)


def agrees(work: Path, name: str = "colour") -> bool:
    version = ModelRepository(work / "models").find(name)
    model = load_model(version, create_model_loader("onnxruntime"), SessionOptions())
    report = check_samples(model, version, create_image_loader("opencv"))
    return report is not None and report.agreeing == report.count == 2


@pytest.mark.parametrize("function", ["listed", "labelled", "with_tensors"])
def test_the_service_agrees_with_what_was_recorded(work: Path, function: str) -> None:
    assert record(function, "--framework", "NumPy 2", "--note", "a test", "--tolerance", "0.001") == 0
    assert agrees(work)
    expected = json.loads((work / "models" / "colour" / "samples" / "expected.json").read_text())
    assert expected["tolerance"] == 0.001
    assert expected["made"]["framework"] == "NumPy 2"
    assert expected["made"]["how"] == f"callable my_pipeline:{function}. a test"
    assert {"numpy", "pillow"} <= expected["made"]["versions"].keys()


@pytest.mark.slow
def test_it_is_a_command(work: Path) -> None:
    call = [sys.executable, SCRIPT, *arguments_of("listed")]
    done = subprocess.run(call, cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert agrees(work)


@pytest.mark.parametrize(
    ("function", "task"), [("raw", "tensor"), ("vector", "image-feature-extraction")], ids=["tensor", "vector"]
)
def test_outputs_and_vectors_are_recorded(work: Path, function: str, task: str) -> None:
    spec = SPEC.replace("image-classification", task)
    add_model(work / "models", "colour", colour_graph(), spec=spec, labels=None)
    assert record(function) == 0
    assert agrees(work)


def test_samples_of_a_bare_file_lie_beside_it(work: Path) -> None:
    (work / "models" / "bare.onnx").write_bytes(colour_graph().SerializeToString())
    (work / "models" / "bare.toml").write_text(SPEC)
    assert record("listed", model="models/bare.onnx") == 0
    assert (work / "models" / "bare.samples" / "expected.json").is_file()
    assert agrees(work, "bare")


def test_samples_can_be_recorded_again_in_place(work: Path) -> None:
    assert record("listed") == 0
    folder = "models/colour/samples"
    again = ["models/colour", f"{folder}/red.png", f"{folder}/blue.png", "--callable", "my_pipeline:listed"]
    assert main(again) == 0
    assert agrees(work)


@pytest.mark.parametrize(
    ("function", "more", "status", "reason"),
    [
        ("broken", (), 1, "ValueError: no answer"),
        ("absent", (), 1, "AttributeError"),
        ("listed", ("absent.png",), 2, "no such file: absent.png"),
        ("listed", ("models/../red.png",), 2, "two pictures have the same name"),
    ],
    ids=["a failing pipeline", "no such function", "no such picture", "one name twice"],
)
def test_a_failure_is_a_reason_and_writes_nothing(
    work: Path,
    function: str,
    more: tuple[str, ...],
    status: int,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert record(function, *more) == status
    assert reason in capsys.readouterr().err
    assert not (work / "models" / "colour" / "samples").exists()


def test_the_script_imports_nothing_but_numpy_and_pillow() -> None:
    """It runs in the framework's environment."""
    tree = ast.parse(Path(SCRIPT).read_text(encoding="utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    packages = {module.partition(".")[0] for module in modules}
    assert packages - set(sys.stdlib_module_names) == {"numpy", "PIL"}


def test_a_summary_of_a_tensor_equals_the_tensor() -> None:
    tensor = np.random.default_rng(0).normal(size=(1, 3, 50, 70)).astype(np.float32)
    written = TensorSummary.model_validate_json(json.dumps(summary(tensor)))
    assert tensor_difference(written, tensor).size < 1e-5
    assert tensor_difference(written, tensor[:, ::-1].copy()).size > 0.5
    assert tensor_difference(written, tensor[:, :2].copy()).size == 1


def test_a_summary_of_a_mask_equals_the_mask() -> None:
    mask = np.zeros((90, 130), np.uint8)
    mask[20:60, 30:100] = 255
    for given in (mask, mask > 0, mask / np.float32(255)):
        written = MapSummary.model_validate_json(json.dumps(map_summary(given)))
        assert map_difference(written, mask) == 0
        assert written.coverage == pytest.approx((mask > 0).mean(), abs=1e-5)
    moved = np.roll(mask, 10, axis=1)
    assert map_difference(written, moved) > 0.02
    without_digest = written.model_copy(update={"sha256": None})
    assert map_difference(without_digest, mask) < 1e-3
