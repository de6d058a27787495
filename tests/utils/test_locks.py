"""Locks between processes, and systems without POSIX modules."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.paths import ROOT
from utils.locks import process_lock

WITHOUT_POSIX = """
import sys
sys.modules["fcntl"] = sys.modules["resource"] = None
import importlib, pkgutil
import engine, loaders, utils
for package in (engine, loaders, utils):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
"""


def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    holders: list[int] = []
    together = Barrier(4)

    def hold(number: int) -> None:
        together.wait(10)
        with process_lock(tmp_path / "locks" / "model"):
            holders.append(number)
            assert len(holders) == 1
            holders.remove(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(hold, range(4)))


def test_without_a_place_for_the_file_there_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with process_lock(tmp_path / "file" / "lock"):
        pass


@pytest.mark.slow
def test_engine_and_loaders_import_without_fcntl_and_resource() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_POSIX], cwd=ROOT, check=True, timeout=60)
