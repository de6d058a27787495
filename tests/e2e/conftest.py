from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.e2e.client_table import ClientTable
from tests.e2e.page import Page, write_models
from tests.e2e.services import free_port
from tests.e2e.swagger import chromium, console_errors, requested_urls
from tests.process import running_service

PATIENT = {"API_REQUEST_TIMEOUT_MS": "120000"}  # models load on a busy machine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--client-table", choices=("check", "write"), help="the tables of calls in docs/clients.md")


def pytest_configure(config: pytest.Config) -> None:
    if chosen := config.getoption("--client-table"):
        config.pluginmanager.register(ClientTable(write=chosen == "write"))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path) as driver:
        yield driver


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = write_models(tmp_path_factory.mktemp("models"))
    cache = str(tmp_path_factory.mktemp("cache"))
    with running_service(
        API_MODELS_DIR=str(models), API_DEFAULT_MODEL="colour", API_CACHE_DIR=cache, API_MAX_BATCH_IMAGES="8"
    ) as service:
        yield service.base_url


@pytest.fixture(scope="session")
def shipped_grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def shipped_url(tmp_path_factory: pytest.TempPathFactory, shipped_grpc_port: int) -> Iterator[str]:
    """A service with the repository's models."""
    cache = str(tmp_path_factory.mktemp("cache"))
    with running_service(API_CACHE_DIR=cache, API_GRPC_PORT=str(shipped_grpc_port), **PATIENT) as service:
        yield service.base_url


@pytest.fixture(scope="module")
def page_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    elsewhere = "--host-resolver-rules=MAP fovea.test 127.0.0.1"
    with chromium(tmp_path_factory.mktemp("profile"), *camera, elsewhere) as driver:
        yield driver


@pytest.fixture
def page(page_browser: webdriver.Chrome, page_url: str) -> Iterator[Page]:
    """The open page; afterwards it has logged no error, and has requested nothing from elsewhere."""
    console_errors(page_browser)
    requested_urls(page_browser)
    page = Page(page_browser, page_url)
    page.size(1280, 1400)
    page.open()
    yield page
    assert console_errors(page_browser) == []
    assert not [
        url for url in requested_urls(page_browser) if not url.startswith((page_url, "data:", "blob:", "chrome:"))
    ]
