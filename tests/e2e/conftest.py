from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.e2e.swagger import chromium


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path) as driver:
        yield driver
