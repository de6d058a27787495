"""Swagger at /docs in a real browser: it loads without the internet, and a picture can be sent from it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as wait_for
from selenium.webdriver.support.ui import WebDriverWait

from tests.paths import ROOT
from tests.process import running_service

CAT = ROOT / "tests" / "data" / "cat.jpg"
_PATIENCE_S = 20


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with running_service() as service:
        yield service.base_url


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--window-size=1280,2400",
        f"--user-data-dir={tmp_path}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


def test_swagger_sends_a_picture_and_shows_its_label(browser: webdriver.Chrome, base_url: str) -> None:
    wait = WebDriverWait(browser, _PATIENCE_S)
    browser.get(f"{base_url}/docs")
    wait.until(
        wait_for.element_to_be_clickable((By.CSS_SELECTOR, "#operations-inference-infer_infer_post button"))
    ).click()
    wait.until(wait_for.element_to_be_clickable((By.CSS_SELECTOR, "button.try-out__btn"))).click()
    wait.until(wait_for.presence_of_element_located((By.CSS_SELECTOR, "input[type=file]"))).send_keys(str(CAT))
    browser.find_element(By.CSS_SELECTOR, "button.execute").click()
    answer = wait.until(
        wait_for.visibility_of_element_located(
            (By.CSS_SELECTOR, ".live-responses-table .response-col_description code")
        )
    )
    assert json.loads(answer.text)["predictions"][0]["label"] == "tiger cat"
    assert json.loads(answer.text)["image"]["filename"] == "cat.jpg"
    _nothing_went_outside(browser, base_url)


def _nothing_went_outside(browser: webdriver.Chrome, base_url: str) -> None:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]  # type: ignore[no-untyped-call]  # selenium leaves it untyped
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert len(asked) >= 4
    assert not [url for url in asked if not url.startswith((base_url, "data:", "blob:", "chrome:"))]
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]  # selenium leaves it untyped
    assert not errors
