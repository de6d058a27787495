"""Imports between the packages of the engine run one way: explain -> models -> scheduling, tasks -> preprocessing."""

import ast

import pytest

from tests.paths import ROOT

# Each package, and the packages of the engine that it may import.
ROOMS = {
    "preprocessing": set[str](),
    "tasks": {"preprocessing"},
    "scheduling": set[str](),
    "models": {"preprocessing", "scheduling", "tasks"},
    "explain": {"models", "pipeline", "preprocessing", "scheduling", "tasks"},
}


def imported_rooms(room: str) -> set[str]:
    found = set[str]()
    for file in (ROOT / "engine" / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found |= {name.split(".")[1] for name in names if name.startswith("engine.")}
    return found - {room}


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_imports_only_those_below(room: str) -> None:
    assert imported_rooms(room) <= ROOMS[room]


def test_every_package_is_listed() -> None:
    assert {folder.name for folder in (ROOT / "engine").iterdir() if (folder / "__init__.py").is_file()} == set(ROOMS)
