"""Import rules: layers, rooms, cycles; and the length of files.

Layers, each importing itself and those to its right: main, run_locally -> tools -> api -> engine -> loaders -> utils.
Rooms are the folders and files directly inside a layer: `MAY_IMPORT` draws them.
Imports inside functions count like those at the top of a file.
"""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.paths import ROOT

LAYERS = ("utils", "loaders", "engine", "api", "tools")
WEB = {"fastapi", "fastapi_offline", "starlette", "uvicorn", "httpx", "python_multipart", "multipart", "limits"}
MAX_LINES = 350

# Every room of loaders and engine, and the other rooms of its layer that it may import; lower layers are open to all.
MAY_IMPORT: dict[str, set[str]] = {
    "loaders/tensors": set(),
    "loaders/model_errors": set(),
    "loaders/file_digest": {"loaders/model_errors"},
    "loaders/images": set(),
    "loaders/onnx": {"loaders/tensors", "loaders/model_errors"},
    "loaders/repository": {"loaders/onnx", "loaders/tensors", "loaders/model_errors", "loaders/file_digest"},
    "loaders/runtimes": {"loaders/onnx", "loaders/tensors", "loaders/model_errors", "loaders/file_digest"},
    "loaders/image_loader": {"loaders/images"},
    "loaders/model_loader": {"loaders/runtimes"},
    "engine/preprocessing": set(),
    "engine/tasks": {"engine/preprocessing"},
    "engine/scheduling": set(),
    "engine/models": {"engine/preprocessing", "engine/scheduling", "engine/tasks"},
    "engine/drawing": {"engine/tasks"},
    "engine/pipeline": {"engine/models", "engine/preprocessing", "engine/scheduling", "engine/tasks"},
    "engine/explain": {
        "engine/drawing", "engine/models", "engine/pipeline", "engine/preprocessing", "engine/scheduling",
        "engine/tasks",
    },
    "engine/engine_options": {"engine/models", "engine/pipeline", "engine/scheduling"},
    "engine/inference_engine": {
        "engine/drawing", "engine/engine_options", "engine/explain", "engine/models", "engine/pipeline",
        "engine/preprocessing", "engine/scheduling", "engine/tasks",
    },
}  # fmt: skip
# Rooms that must not import some others: of their own layer, or of a lower one.
MUST_NOT_IMPORT: dict[str, set[str]] = {
    "api/uploads": {"api/routes", "api/server", "api/dialects"},
    "api/security": {"api/routes", "api/server"},
    "api/telemetry": {"api/routes", "api/server"},
    "api/middleware": {"api/routes", "api/server"},
    "api/routes": {"api/server", "api/dialects"},
    "api/dialects": {"api/server"},
    "api/settings": {"api/server", "api/routes", "api/middleware", "api/security", "api/telemetry", "api/uploads"},
    "engine/preprocessing": {"loaders/runtimes", "loaders/onnx", "loaders/image_loader", "loaders/model_loader"},
    "engine/tasks": {"loaders/onnx", "loaders/image_loader", "loaders/model_loader"},
    "engine/scheduling": {"loaders/onnx", "loaders/images", "loaders/repository", "loaders/image_loader"},
}


def _files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def _module(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _imports(file: Path) -> frozenset[str]:
    """Modules the file imports, by their dotted names; of `from a import b` it is "a.b" where that is a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{file}: a relative import"
            found |= {_submodule(node.module, alias.name) or node.module for alias in node.names}
    return frozenset(found)


def _submodule(package: str, name: str) -> str | None:
    path = ROOT.joinpath(*package.split("."), name)
    return f"{package}.{name}" if path.is_dir() or path.with_suffix(".py").is_file() else None


def _packages(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in _imports(file)}


@cache
def _graph() -> dict[str, frozenset[str]]:
    """Modules of the product -> those of them that they import."""
    modules = {_module(file): file for file in _files(*LAYERS)}
    return {module: (_imports(file) & modules.keys()) - {module} for module, file in modules.items()}


def _room(module: str) -> str:
    return "/".join(module.split(".")[:2])


def _room_imports(room: str) -> set[tuple[str, str]]:
    """(module, room it imports) of all modules in `room`."""
    return {
        (module, _room(imported))
        for module, all_imported in _graph().items()
        for imported in all_imported
        if _room(module) == room != _room(imported)
    }


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_itself_and_lower_layers(layer: str) -> None:
    above = {*LAYERS[LAYERS.index(layer) + 1 :], "main", "run_locally", "tests", "benchmarks"}
    assert _files(layer)
    assert not {f"{_module(file)}: {name}" for file in _files(layer) for name in _packages(file) & above}


@pytest.mark.parametrize("layer", ["utils", "loaders", "engine"])
def test_layers_below_api_import_no_web_library(layer: str) -> None:
    assert not {f"{_module(file)}: {name}" for file in _files(layer) for name in _packages(file) & WEB}


def test_modules_import_each_other_in_no_cycle() -> None:
    try:
        TopologicalSorter(_graph()).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_the_table_names_every_room() -> None:
    rooms = {_room(module) for module in _graph()} - {"loaders", "engine"}
    assert {room for room in rooms if room.startswith(("loaders/", "engine/"))} == MAY_IMPORT.keys()


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_the_rooms_it_may(room: str) -> None:
    layer = room.partition("/")[0]
    found = {(module, other) for module, other in _room_imports(room) if other.startswith(f"{layer}/")}
    assert not {f"{module}: {other}" for module, other in found if other not in MAY_IMPORT[room]}


@pytest.mark.parametrize("room", MUST_NOT_IMPORT)
def test_a_room_does_not_import_the_rooms_it_must_not(room: str) -> None:
    assert not {f"{module}: {other}" for module, other in _room_imports(room) if other in MUST_NOT_IMPORT[room]}


def test_no_dialect_imports_another() -> None:
    """The registry alone knows them. A dialect is one module or package of api/dialects."""
    shared = {"dialect", "registry"}
    pairs = {
        (module, imported)
        for module, all_imported in _graph().items()
        for imported in all_imported
        if module.startswith("api.dialects.") and imported.startswith("api.dialects.")
    }
    names = {(module.split(".")[2], imported.split(".")[2], module) for module, imported in pairs}
    assert not {module for name, other, module in names if name not in shared and other not in {*shared, name}}


@pytest.mark.parametrize(("importer", "imported"), [("tests", "benchmarks"), ("benchmarks", "tests")])
def test_tests_and_benchmarks_do_not_import_each_other(importer: str, imported: str) -> None:
    assert not {_module(file) for file in _files(importer) if imported in _packages(file)}


def test_files_have_350_lines_at_most() -> None:
    lengths = {
        file: len(file.read_text(encoding="utf-8").splitlines()) for file in _files(*LAYERS, "tests", "benchmarks")
    }
    assert not {str(file.relative_to(ROOT)): lines for file, lines in lengths.items() if lines > MAX_LINES}


def test_product_code_unpickles_nothing() -> None:
    """A pickle runs the code it holds."""
    unpicklers = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch", "yaml"}
    assert not {_module(file) for file in _files(*LAYERS) if _packages(file) & unpicklers}
    calls = re.compile(r"(?<![\w.])(?:eval|exec)\(|allow_pickle\s*=")
    assert not {_module(file) for file in _files(*LAYERS) if calls.search(file.read_text(encoding="utf-8"))}
