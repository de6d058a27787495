"""The files in requirements/ name the versions that pyproject.toml declares; `make lock` writes them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BASE: list[str] = PROJECT["project"]["dependencies"]
SETS = PROJECT["project"]["optional-dependencies"] | PROJECT["dependency-groups"]
FILES = [ROOT / "requirements.txt", ROOT / "requirements.lock", *sorted((ROOT / "requirements").glob("*.*"))]


def pins(lines: list[str]) -> set[str]:
    """Returns `name==version` of each line that pins one, without extras."""
    plain = [re.sub(r"\[.*\]", "", line) for line in lines if isinstance(line, str)]
    return {found[0] for line in plain if (found := re.match(r"[\w.-]+==[^; ]+", line))}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_pin_of_the_set_is_in_its_file(file: Path) -> None:
    assert pins(SETS.get(file.stem, BASE)) <= pins(file.read_text(encoding="utf-8").splitlines())


def test_requirements_txt_lists_the_direct_dependencies_only() -> None:
    assert pins((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()) == pins(BASE)


def test_every_locked_package_has_hashes() -> None:
    unlocked = {"requirements.txt", "onnxruntime-openvino.txt", "export.txt", "exports.txt", "golden.txt"}
    for lock in (file for file in FILES if file.name not in unlocked):
        lines = lock.read_text(encoding="utf-8").splitlines()
        packages = [number for number, line in enumerate(lines) if re.match(r"[a-z0-9]", line)]
        assert packages
        assert not [lines[n] for n in packages if "--hash=sha256:" not in lines[n + 1]], lock.name


def test_onnxruntime_for_gpus_replaces_the_locked_one() -> None:
    """The two have the same version, and what both sets name is the same, so that one replaces the other."""
    gpu = dict(
        pin.split("==") for pin in pins((ROOT / "requirements" / "gpu.txt").read_text(encoding="utf-8").splitlines())
    )
    lock = dict(pin.split("==") for pin in pins((ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()))
    assert gpu["onnxruntime-gpu"] == lock["onnxruntime"]
    assert {name: lock[name] for name in gpu if name in lock}.items() <= gpu.items()
