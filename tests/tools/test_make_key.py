"""`make key` makes a key that its setting allows."""

import re
import subprocess
import sys

import pytest

from tests.conftest import Serve
from tests.paths import ROOT


def new_key() -> tuple[str, str]:
    """The key and the value of the setting."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.make_key"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    key = re.search(r"X-API-Key: (\S+)'", done.stdout)
    setting = re.search(r"API_KEYS=(\S+)", done.stdout)
    assert key
    assert setting
    return key[1], setting[1]


def test_the_setting_allows_the_key_and_not_itself(serve: Serve, red_png: bytes) -> None:
    key, setting = new_key()
    client = serve(keys=(setting,)).client
    assert key not in setting
    assert client.post("/infer", content=red_png, headers={"X-API-Key": key}).status_code == 200
    assert client.post("/infer", content=red_png, headers={"X-API-Key": setting}).status_code == 403


def test_keys_differ_and_do_not_look_like_options() -> None:
    key, other = new_key()[0], new_key()[0]
    assert key != other
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{42}", key)


@pytest.mark.parametrize("target", ["key", "audit", "sbom", "e2e", "inspect"])
def test_make_help_lists_the_target(target: str) -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(rf"^  make {target} +\w", done.stdout, re.MULTILINE)
