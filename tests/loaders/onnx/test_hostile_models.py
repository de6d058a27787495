"""Folders that are made to harm: what is no file is never opened, what leads out of the folder is never read."""

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from engine.models.load import resolve_version
from loaders.model_errors import ModelError, UnknownModelError
from loaders.repository.model_repository import ModelRepository
from tests.paths import ROOT
from tests.tiny_models import add_model, colour_graph

SIDECARS = ("model.toml", "labels.txt", "config.json", "preprocessor_config.json", "classes.names", "labels.csv")

# In a process of its own: what hangs is killed.
LOOK = """
import sys
from pathlib import Path
from engine.models.load import resolve_version
from loaders.model_errors import ModelError
from loaders.repository.model_repository import ModelRepository
for versions in ModelRepository(Path(sys.argv[1])).scan().catalog.values():
    for version in versions.values():
        try:
            resolve_version(version)
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
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By model what is said of it, or "fine"; folders that are not models are left out."""
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
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def with_weights_beside() -> onnx.ModelProto:
    model = colour_graph()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return model


def test_what_is_no_file_is_no_graph_and_blocks_nobody(told: dict[str, str]) -> None:
    assert {name.partition("-")[0] for name in told} == {"described", "external"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_describes_no_model_and_is_no_weight(told: dict[str, str], kind: str) -> None:
    name = kind.replace(" ", "-")
    assert told[f"described-{name}"] == "fine"
    assert "weights.bin" in told[f"external-{name}"]


WIDE = "".join(chr(ord(letter) + 0xFEE0) for letter in "colour")  # full-width letters


@pytest.mark.parametrize(
    "name",
    [
        "colour\0", "c\u043elour", "colo\u200bur", WIDE, "COLOUR", "colour ", "colour.", "colour/", "co\u0301lour",
        "CON", "NUL.onnx", "colour:stream", "~root", "$HOME", "`id`", "-rf", "..%2f", "\ufeffcolour", "colour\r\nX: y",
    ],
)  # fmt: skip
def test_a_name_that_looks_alike_is_another(tmp_path: Path, name: str) -> None:
    add_model(tmp_path, "colour", colour_graph())
    with pytest.raises(UnknownModelError):
        ModelRepository(tmp_path).find(name)


@pytest.mark.parametrize("folder", [WIDE, "c\u043elour", "co lour", "colour\n", "x" * 129, "\u202ecolour"])
def test_a_folder_with_an_unusual_name_is_not_served_and_told(tmp_path: Path, folder: str) -> None:
    add_model(tmp_path, folder, colour_graph())
    scan = ModelRepository(tmp_path).scan()
    assert not scan.catalog
    assert "rename" in scan.invalid[folder]


def test_a_graph_that_grows_endlessly_is_read_as_far_as_it_was(tmp_path: Path) -> None:
    """Its size is taken once; /proc files say 0 and never end."""
    add_model(tmp_path, "colour", colour_graph())
    graph = tmp_path / "colour" / "1" / "model.onnx"
    graph.unlink()
    graph.symlink_to("/proc/self/mem")
    [version] = ModelRepository(tmp_path).scan().catalog["colour"].values()
    with pytest.raises(ModelError):
        resolve_version(version)
