"""Hostile model folders: special files are never opened, and paths outside the folder are never read."""

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from engine.models.load import resolve_files
from loaders.model_errors import ModelError, UnknownModelError
from loaders.repository.model_repository import ModelRepository
from tests.paths import ROOT
from tests.tiny_models import add_model, colour_graph

SIDECARS = ("model.toml", "labels.txt", "config.json", "preprocessor_config.json", "classes.names", "labels.csv")

# In a subprocess, so that a hang is killed.
LOOK = """
import sys
from pathlib import Path
from engine.models.load import resolve_files
from loaders.model_errors import ModelError
from loaders.repository.model_repository import ModelRepository
for versions in ModelRepository(Path(sys.argv[1])).scan().catalog.values():
    for version in versions.values():
        try:
            resolve_files(version.files)
            print(version.name, "fine")
        except ModelError as error:
            print(version.name, error)
"""


def put(kind: str, path: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link to a pipe":
            os.mkfifo(path.with_name(".pipe"))
            path.symlink_to(path.with_name(".pipe"))
        case "endless":
            path.symlink_to("/dev/zero")
        case "terminal":
            path.symlink_to("/dev/stdin")
        case "loop":
            path.symlink_to(path)
        case "socket":
            import socket

            with socket.socket(socket.AF_UNIX) as unix:
                unix.bind(str(path))
        case "folder":
            path.mkdir()


KINDS = ("pipe", "link to a pipe", "endless", "terminal", "loop", "socket", "folder")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Returns the error of each model in the folder, or "fine"."""
    models = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        name = kind.replace(" ", "-")
        put(kind, models / f"bare-{name}.onnx")
        put(kind, models / f"graph-{name}" / "1" / "model.onnx")
        put(kind, models / f"only-{name}" / "other.onnx")
        described = models / f"described-{name}"
        add_model(models, described.name, colour_graph())
        (described / "model.toml").unlink()
        for sidecar in SIDECARS:
            (described / ".pipe").unlink(missing_ok=True)
            put(kind, described / sidecar)
        add_model(models, f"external-{name}", with_weights_beside())
        put(kind, models / f"external-{name}" / "1" / "weights.bin")
    call = [sys.executable, "-c", LOOK, str(models)]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def with_weights_beside() -> onnx.ModelProto:
    model = colour_graph()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return model


def test_special_files_are_not_graphs(reports: dict[str, str]) -> None:
    assert {name.partition("-")[0] for name in reports} == {"described", "external"}


@pytest.mark.parametrize("kind", KINDS)
def test_special_files_are_neither_descriptions_nor_weights(reports: dict[str, str], kind: str) -> None:
    name = kind.replace(" ", "-")
    assert reports[f"described-{name}"] == "fine"
    assert "weights.bin" in reports[f"external-{name}"]


FULLWIDTH = "".join(chr(ord(letter) + 0xFEE0) for letter in "colour")


@pytest.mark.parametrize(
    "name",
    [
        "colour\0", "c\u043elour", "colo\u200bur", FULLWIDTH, "COLOUR", "colour ", "colour.", "colour/", "co\u0301lour",
        "CON", "NUL.onnx", "colour:stream", "~root", "$HOME", "`id`", "-rf", "..%2f", "\ufeffcolour", "colour\r\nX: y",
    ],
)  # fmt: skip
def test_lookalike_name_is_unknown(tmp_path: Path, name: str) -> None:
    add_model(tmp_path, "colour", colour_graph())
    with pytest.raises(UnknownModelError):
        ModelRepository(tmp_path).find(name)


@pytest.mark.parametrize("folder", [FULLWIDTH, "c\u043elour", "co lour", "colour\n", "x" * 129, "\u202ecolour"])
def test_folder_with_invalid_name_is_reported(tmp_path: Path, folder: str) -> None:
    add_model(tmp_path, folder, colour_graph())
    scan = ModelRepository(tmp_path).scan()
    assert not scan.catalog
    assert "rename" in scan.invalid[folder]


def test_endless_graph_is_rejected(tmp_path: Path) -> None:
    """Files in /proc have size 0 and never end."""
    add_model(tmp_path, "colour", colour_graph())
    graph = tmp_path / "colour" / "1" / "model.onnx"
    graph.unlink()
    graph.symlink_to("/proc/self/mem")
    [version] = ModelRepository(tmp_path).scan().catalog["colour"].values()
    with pytest.raises(ModelError):
        resolve_files(version.files)
