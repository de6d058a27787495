"""Imports run one way: main, run_locally -> api -> engine -> loaders -> utils; only api/ knows the web framework."""

import ast
from pathlib import Path

import pytest

from tests.paths import ROOT

LAYERS = ("utils", "loaders", "engine", "api")
WEB = {"fastapi", "fastapi_offline", "starlette", "uvicorn", "httpx", "python_multipart", "limits"}


def _modules(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


def _imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_itself_and_those_below(layer: str) -> None:
    above = {*LAYERS[LAYERS.index(layer) + 1 :], "main", "run_locally", "tests"}
    assert _modules(layer)
    assert not {f"{file.name}: {name}" for file in _modules(layer) for name in _imports(file) & above}


@pytest.mark.parametrize("layer", LAYERS[:-1])
def test_nothing_below_api_knows_the_web(layer: str) -> None:
    assert not {f"{file.name}: {name}" for file in _modules(layer) for name in _imports(file) & WEB}


def test_no_file_is_longer_than_400_lines() -> None:
    files = [file for folder in (*LAYERS, "tests") for file in _modules(folder)]
    assert not {file.name for file in files if len(file.read_text(encoding="utf-8").splitlines()) > 400}


def test_no_pickle_anywhere() -> None:
    files = [file for layer in LAYERS for file in _modules(layer)]
    assert not {file.name for file in files if _imports(file) & {"pickle", "dill", "joblib", "shelve", "marshal"}}
