"""The docs page under its policy, and behind a key, in a real browser."""

from pathlib import Path

import httpx
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as wait_for
from selenium.webdriver.support.ui import WebDriverWait

from tests.e2e.test_swagger import browser  # noqa: F401 - a fixture
from tests.process import running_service

_INFER = (By.CSS_SELECTOR, "#operations-inference-infer_infer_post button")


def severe(driver: webdriver.Chrome) -> list[str]:
    log = driver.get_log("browser")  # type: ignore[no-untyped-call]  # selenium leaves it untyped
    return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


def test_protected_docs_open_with_the_key_as_password_and_run_no_foreign_script(
    browser: webdriver.Chrome,  # noqa: F811 - the fixture that is imported
    tmp_path: Path,
) -> None:
    with running_service(API_KEYS="secret-key", API_PROTECT="docs") as service:
        url = httpx.URL(service.base_url)
        browser.get(f"{url}/docs")
        assert "Swagger UI" not in browser.page_source
        assert any("401" in message for message in severe(browser))

        browser.get(f"{url.copy_with(username='anybody', password='secret-key')}/docs")
        WebDriverWait(browser, 20).until(wait_for.element_to_be_clickable(_INFER)).click()
        assert severe(browser) == []

        browser.execute_script(
            "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
            "const i = new Image(); i.src = 'http://127.0.0.2:1/x.png'; document.body.append(i);"
        )
        assert browser.execute_script("return window.ran") is None
        refused = severe(browser)
        assert any("script-src" in message for message in refused)
        assert any("img-src" in message for message in refused)

        page = tmp_path / "frame.html"
        page.write_text(f'<iframe id="docs" src="{url}/docs"></iframe>')
        browser.get(page.as_uri())
        assert any("frame-ancestors" in message for message in severe(browser))
