"""Swagger at /docs in a browser: it loads without the internet, sends pictures, and runs no foreign script."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as wait_for
from selenium.webdriver.support.ui import WebDriverWait

from tests.e2e.browser import browser, severe
from tests.paths import ROOT
from tests.process import running_service

__all__ = ["browser"]  # a fixture

CAT = str(ROOT / "tests" / "data" / "cat.jpg")
PATIENCE_S = 20


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with running_service() as service:
        yield service.base_url


def operation(path: str) -> str:
    """The CSS selector of the box of POST `path`."""
    return f'.opblock-post:has([data-path="{path}"])'


def try_out(driver: webdriver.Chrome, path: str) -> WebDriverWait[webdriver.Chrome]:
    wait = WebDriverWait(driver, PATIENCE_S)
    for selector in (f"{operation(path)} .opblock-summary-control", "button.try-out__btn"):
        wait.until(wait_for.element_to_be_clickable((By.CSS_SELECTOR, selector))).click()
    return wait


def execute(driver: webdriver.Chrome, wait: WebDriverWait[webdriver.Chrome]) -> dict[str, Any]:
    """The JSON of the answer that is shown."""
    driver.find_element(By.CSS_SELECTOR, "button.execute").click()
    shown = (By.CSS_SELECTOR, ".live-responses-table .response-col_description code")
    answer: dict[str, Any] = json.loads(wait.until(wait_for.visibility_of_element_located(shown)).text)
    return answer


def test_swagger_sends_a_picture_and_shows_its_label(browser: webdriver.Chrome, base_url: str) -> None:
    browser.get(f"{base_url}/docs")
    wait = try_out(browser, "/infer")
    wait.until(wait_for.presence_of_element_located((By.CSS_SELECTOR, "input[type=file]"))).send_keys(CAT)
    answer = execute(browser, wait)
    assert answer["predictions"][0]["label"] == "tiger cat"
    assert answer["image"]["filename"] == "cat.jpg"
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]  # type: ignore[no-untyped-call]  # selenium leaves it untyped
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert len(urls) >= 4
    assert not [url for url in urls if not url.startswith((base_url, "data:", "blob:", "chrome:"))]
    assert severe(browser) == []


def test_swagger_sends_two_pictures(browser: webdriver.Chrome, base_url: str) -> None:
    browser.get(f"{base_url}/docs")
    wait = try_out(browser, "/infer/batch")
    body = f"{operation('/infer/batch')} .opblock-section-request-body"
    for nth in (1, 2):
        pick = f"{body} .json-schema-form-item:nth-child({nth}) input[type=file]"
        wait.until(wait_for.presence_of_element_located((By.CSS_SELECTOR, pick))).send_keys(CAT)
        if nth == 1:
            browser.find_element(By.CSS_SELECTOR, f"{body} button.json-schema-form-item-add").click()
    results = execute(browser, wait)["results"]
    assert [result["predictions"][0]["label"] for result in results] == ["tiger cat", "tiger cat"]


def test_protected_docs_open_with_the_key_as_password_and_run_no_foreign_script(
    browser: webdriver.Chrome,
    tmp_path: Path,
) -> None:
    with running_service(API_KEYS="secret-key", API_PROTECT="docs") as service:
        url = httpx.URL(service.base_url)
        browser.get(f"{url}/docs")
        assert "Swagger UI" not in browser.page_source
        assert any("401" in message for message in severe(browser))

        browser.get(f"{url.copy_with(username='anybody', password='secret-key')}/docs")
        opened = (By.CSS_SELECTOR, operation("/infer"))
        WebDriverWait(browser, PATIENCE_S).until(wait_for.visibility_of_element_located(opened))
        assert severe(browser) == []

        browser.execute_script(
            "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
            "const i = new Image(); i.src = 'http://127.0.0.2:1/x.png'; document.body.append(i);"
        )
        assert browser.execute_script("return window.ran") is None
        blocked = severe(browser)
        assert any("script-src" in message for message in blocked)
        assert any("img-src" in message for message in blocked)

        page = tmp_path / "frame.html"
        page.write_text(f'<iframe id="docs" src="{url}/docs"></iframe>')
        browser.get(page.as_uri())
        assert any("frame-ancestors" in message for message in severe(browser))
