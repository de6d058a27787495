"""The operator's view of the page: changes while pictures are answered, uploads, warnings, charts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests import plain_http
from tests.e2e.page import Page, one_colour_each, write_models, write_pictures
from tests.e2e.services import WAIT_S
from tests.e2e.swagger import console_errors
from tests.process import Service, running_service
from tests.tiny_models import add_model, colour_graph, slow_graph

PICTURES = 24


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    models = write_models(tmp_path_factory.mktemp("models"))
    add_model(models, "slow", slow_graph(rounds=61), version=2)
    (models / "broken" / "1").mkdir(parents=True)
    (models / "broken" / "1" / "model.onnx").write_bytes(b"no graph")
    keys = {"API_KEYS": "user", "API_ADMIN_KEYS": "boss", "API_PROTECT": "docs,metrics"}
    with running_service(API_MODELS_DIR=str(models), API_DEFAULT_MODEL="colour", **keys) as running:
        yield running


@pytest.fixture
def page(browser: webdriver.Chrome, service: Service) -> Page:
    """The operator's view, opened with the admin key, which is a key for pictures, too."""
    page = Page(browser, service.base_url)
    page.size(1280, 1400)
    browser.get(service.base_url)
    page.find("#key").send_keys("boss\n")
    page.find(".choices select")
    page.click("nav a", "Operate")
    page.find("#admin-key").send_keys("boss\n")
    page.find(".model")
    return page


def test_wrong_admin_key_is_said_in_words(browser: webdriver.Chrome, service: Service) -> None:
    page = Page(browser, service.base_url)
    page.open("#operate")
    page.find("#admin-key").send_keys("user\n")
    page.find(".notice", "not valid")
    assert not page.all(".model")


def test_active_version_is_changed_while_pictures_stream(page: Page, tmp_path: Path) -> None:
    page.click("nav a", "Try")
    page.select("slow")
    paths = one_colour_each(tmp_path, ["red"] * PICTURES)
    page.choose(*paths)
    page.find(".card.done")
    page.click("nav a", "Operate")
    page.click("[aria-label=slow] button", "Make active")
    page.find(".notice", "slow serves version 1")
    page.click("nav a", "Try")
    page.until(f"document.querySelectorAll('.card.done').length === {PICTURES}")
    assert not page.all(".card.failed")
    page.choose(paths[0])
    page.find(".panel .facts", "version 1")


def test_operator_sees_warnings_first_and_what_decided_each_field(page: Page) -> None:
    page.find(".warnings h2", "Warnings: ")
    page.find(".warnings .problem", "broken")
    page.click("[aria-label=boxes] summary")
    fields = {row[0]: row[1:] for row in page.rows("[aria-label='Fields of boxes'] table")}
    assert fields["head"] == ["boxes-scores", "model.toml"]
    assert fields["score_threshold"] == ["0.2", "model.toml"]


def test_operator_uploads_a_version_and_names_loads_and_unloads_it(
    page: Page, service: Service, tmp_path: Path
) -> None:
    graph = tmp_path / "model.onnx"
    graph.write_bytes(colour_graph(gain=5.0).SerializeToString())
    page.find(".upload input[name=name]").send_keys("other")
    page.find(".upload input[name=model]").send_keys(str(graph))
    page.click(".upload button", "Upload")
    page.find(".notice", "A new version of other was added")
    row = "[aria-label=other] tbody tr:nth-of-type(2)"
    page.find(f"{row} th", "2")
    page.find(f"{row} form.label input").send_keys("canary\n")
    page.find(f"{row} .badge", "canary")
    page.until(f"!document.querySelector('{row} button').disabled")
    if page.all(f"{row} .state.ready"):
        page.click(f"{row} button", "Unload")
        page.find(f"{row} .state", "not loaded")
    page.click(f"{row} button", "Load")
    page.find(f"{row} .state", "ready")
    page.click(f"{row} button[aria-label='Remove the label canary']")
    page.until(f"!document.querySelector('{row} .badge button')")
    page.click("[aria-label=other] button", "Make default")
    page.find("[aria-label=other] h3", "default")
    models = plain_http.get(f"{service.base_url}/models", headers={"X-API-Key": "user"}, timeout=WAIT_S).json()
    assert models["default"] == "other"
    page.click("[aria-label=colour] button", "Make default")
    page.find("[aria-label=colour] h3", "default")


def test_charts_show_requests_as_they_are_answered(page: Page, service: Service, tmp_path: Path) -> None:
    [picture] = write_pictures(tmp_path, "red")
    page.find(".chart .plot canvas")
    with plain_http.Client(base_url=service.base_url, headers={"X-API-Key": "user"}, timeout=WAIT_S) as client:
        for _ in range(30):
            client.post("/infer", content=picture.read_bytes())
    page.until("!/p95 \\u2013/.test(document.querySelector('.charts').textContent)")
    page.until("parseFloat(document.querySelector('.chart .now').textContent) > 0")
    assert len(page.all(".chart .plot canvas")) == 4


def test_admin_key_is_forgotten_with_the_page(page: Page) -> None:
    storage = "return localStorage.length + sessionStorage.length + document.cookie.length"
    assert page.browser.execute_script(storage) == 0
    console_errors(page.browser)
    page.browser.refresh()
    page.find("#admin-key")
