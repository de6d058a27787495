"""The programs of docs/calling.md and docs/from-pytorch.md print what the pages show, against the real service."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import plain_http
from tests.pages import Program, programs
from tests.paths import ROOT

ADDRESS = "http://127.0.0.1:8000"
CLIENT = ROOT / ".client" / "bin" / "python"
PAGES = ("calling.md", "from-pytorch.md")
PROGRAMS = [program for page in PAGES for program in programs(ROOT / "docs" / page)]


@pytest.mark.parametrize("program", [program for program in PROGRAMS if "fovea_client" not in program.code])
def test_program_prints_what_the_page_shows(shipped_url: str, tmp_path: Path, program: Program) -> None:
    assert _run(_command(program, tmp_path, shipped_url), tmp_path) == program.shown


def test_generated_client_has_every_route_and_prints_what_the_page_shows(shipped_url: str, tmp_path: Path) -> None:
    """`make client` needs PyPI the first time."""
    [program] = [program for program in PROGRAMS if "fovea_client" in program.code]
    # The generator waits 5 s for the document; the service keeps it after the first request.
    paths = plain_http.get(f"{shipped_url}/openapi.json", timeout=60).json()["paths"]
    package = tmp_path / "fovea_client"
    _run(["make", "client", f"URL={shipped_url}", f"OUT={package}"], tmp_path)
    modules = {module.stem for module in package.glob("api/*/*.py")} - {"__init__"}
    assert modules == {operation["operationId"] for methods in paths.values() for operation in methods.values()}
    code = program.code.replace(ADDRESS, shipped_url)
    assert _run([str(CLIENT), "-c", code], tmp_path) == program.shown


def test_every_language_has_a_program() -> None:
    assert {program.language for program in PROGRAMS} == {"python", "javascript", "go"}


def _command(program: Program, folder: Path, shipped_url: str) -> list[str]:
    code = program.code.replace(ADDRESS, shipped_url)
    match program.language:
        case "python":
            return [sys.executable, "-c", code]
        case "javascript":
            return [_tool("node"), "--input-type=module", "--eval", code]
        case _:
            file = folder / "main.go"
            file.write_text(code, encoding="utf-8")
            return [_tool("go"), "run", str(file)]


def _tool(name: str) -> str:
    found = shutil.which(name)
    assert found, f"this test needs {name} (Debian packages: .ci/run)"
    return found


def _run(command: list[str], folder: Path) -> str:
    """The command's output. `folder` is on the path of Python."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "GO111MODULE": "off"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
