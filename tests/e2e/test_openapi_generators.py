"""openapi-typescript takes the whole OpenAPI document without a warning. (A Python client: test_calling.py.)

It is installed into a temporary folder; that needs npm's registry.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import plain_http
from tests.e2e.services import WAIT_S
from tests.server import Server

_TYPESCRIPT_GENERATOR = ("openapi-typescript@7.13.0", "typescript@5.9.3")
_TIMEOUT_S = 300


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    """The command's output, stdout and stderr together. Fails the test if the command fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} exited with {done.returncode}:\n{done.stdout}"
    return done.stdout


def install(registry: str, *command: str | Path, folder: Path) -> None:
    """Like `run`; says which registry is needed if it fails."""
    try:
        run(*command, folder=folder)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        pytest.fail(f"this test installs a client generator from {registry}, which failed: {error}")


def operation_ids(document: Path) -> set[str]:
    paths = json.loads(document.read_bytes())["paths"]
    return {operation["operationId"] for methods in paths.values() for operation in methods.values()}


@pytest.fixture
def document(server: Server, tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    path.write_bytes(plain_http.get(f"http://127.0.0.1:{server.port}/openapi.json", timeout=WAIT_S).content)
    return path


def test_openapi_typescript_generates_every_route(document: Path) -> None:
    assert shutil.which("npm"), "this test needs Node.js with npm"
    folder = document.parent
    install(
        "npm's registry",
        "npm",
        "install",
        "--no-fund",
        "--no-audit",
        "--prefix",
        ".",
        *_TYPESCRIPT_GENERATOR,
        folder=folder,
    )
    tools = folder / "node_modules" / ".bin"
    output = run(tools / "openapi-typescript", document, "-o", "client.ts", folder=folder)
    assert "warn" not in output.lower()
    interface = (folder / "client.ts").read_text().partition("export interface operations {")[2]
    assert set(re.findall(r"^    (\w+): \{$", interface, re.MULTILINE)) == operation_ids(document)
    run(tools / "tsc", "--noEmit", "--strict", "client.ts", folder=folder)
