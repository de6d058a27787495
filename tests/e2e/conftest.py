from collections.abc import Iterator

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


# The files that take longest, so that no process begins one of them when the others have ended.
LONGEST = ("find_recipe", "draining", "page_views", "swaps", "workers", "soak_and_chaos", "faults_disk")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first = [f"test_{name}.py" for name in LONGEST]
    items.sort(key=lambda item: first.index(item.path.name) if item.path.name in first else len(first))


def pytest_configure(config: pytest.Config) -> None:
    if chosen := config.getoption("--client-table"):
        config.pluginmanager.register(ClientTable(write=chosen == "write"))


@pytest.fixture(scope="session")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    arguments = (
        "--hide-scrollbars",
        "--host-resolver-rules=MAP fovea.test 127.0.0.1",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
    )
    with chromium(tmp_path_factory.mktemp("profile"), *arguments) as driver:
        yield driver


@pytest.fixture
def browser(_browser: webdriver.Chrome) -> webdriver.Chrome:
    """One browser for all tests, with an empty page, its own window's size and empty logs."""
    _browser.get("about:blank")
    _browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    _browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    console_errors(_browser)
    requested_urls(_browser)
    return _browser


@pytest.fixture(scope="session")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = write_models(tmp_path_factory.mktemp("models"))
    with running_service(API_MODELS_DIR=str(models), API_DEFAULT_MODEL="colour", API_MAX_BATCH_IMAGES="8") as service:
        yield service.base_url


@pytest.fixture(scope="session")
def shipped_grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def shipped_url(shipped_grpc_port: int) -> Iterator[str]:
    """A service with the repository's models."""
    with running_service(API_GRPC_PORT=str(shipped_grpc_port), **PATIENT) as service:
        yield service.base_url


@pytest.fixture
def page(browser: webdriver.Chrome, page_url: str) -> Iterator[Page]:
    """The open page; afterwards it has logged no error, and has requested nothing from elsewhere."""
    page = Page(browser, page_url)
    page.size(1280, 1400)
    page.open()
    yield page
    assert console_errors(browser) == []
    assert not [url for url in requested_urls(browser) if not url.startswith((page_url, "data:", "blob:", "chrome:"))]
