"""The container's files agree with the source tree. The image itself is not built: tests have no Docker daemon."""

import re
import subprocess
import sys
from fnmatch import fnmatch

import pytest

from tests.conftest import Serve
from tests.paths import ROOT

FOLDER = ROOT / "deploy" / "container"
DOCKERFILE = re.sub(r"\\\n", " ", (FOLDER / "Dockerfile").read_text(encoding="utf-8"))
INSTRUCTIONS = [line.split(None, 1) for line in DOCKERFILE.splitlines() if line.strip() and not line.startswith("#")]


def copied() -> list[str]:
    """Returns the paths that are copied from the source tree."""
    copies = [words.split() for name, words in INSTRUCTIONS if name == "COPY" and "--from=" not in words]
    return [word for words in copies for word in words[:-1] if not word.startswith("--")]


def test_every_copied_path_exists_and_is_not_ignored() -> None:
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert set(copied()) == set(kept)
    for path in copied():
        assert (ROOT / path).exists(), path
    assert "**" in ignored
    assert not [path for path in kept if fnmatch(path, "*.env*") and path != "api_settings.env"]


def test_the_code_imports_no_package_that_is_not_copied() -> None:
    imported = {"models", "tests", "tests.e2e", "benchmarks"}
    for package in ("api", "engine", "loaders", "tools/predict", "utils"):
        for file in (ROOT / package).rglob("*.py"):
            found = re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert not set(found) & imported, file


def test_the_image_does_not_run_as_root() -> None:
    last_stage = INSTRUCTIONS[max(i for i, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :]
    users = [words for name, words in last_stage if name == "USER"]
    assert users == ["10001:10001"]
    assert ["STOPSIGNAL", "SIGTERM"] in last_stage
    assert [name for name, _ in last_stage].index("USER") < [name for name, _ in last_stage].index("CMD")


def test_every_locked_package_has_hashes() -> None:
    assert "--require-hashes -r /build/requirements.lock" in DOCKERFILE
    unlocked = {"gpu.txt", "onnxruntime-openvino.txt", "export.txt", "exports.txt", "golden.txt"}
    for lock in (ROOT / "requirements.lock", *(ROOT / "requirements").glob("*.txt")):
        if lock.name in unlocked:
            continue
        lines = lock.read_text(encoding="utf-8").splitlines()
        packages = [number for number, line in enumerate(lines) if re.match(r"[a-z0-9]", line)]
        assert packages
        assert not [lines[n] for n in packages if "--hash=sha256:" not in lines[n + 1]], lock.name


@pytest.mark.slow
@pytest.mark.parametrize("alive", [True, False])
def test_the_health_check_fails_without_a_service(serve: Serve, alive: bool) -> None:
    port = serve().port if alive else 1
    call = [sys.executable, str(FOLDER / "healthcheck.py")]
    assert subprocess.run(call, env={"API_PORT": str(port)}, check=False).returncode == (0 if alive else 1)
