"""Swagger at /docs in a real browser (Debian: chromium, chromium-driver)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as condition
from selenium.webdriver.support.ui import WebDriverWait

from tests.paths import ROOT

CAT = ROOT / "tests" / "data" / "cat.jpg"
_TIMEOUT_S = 60
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1280,2400",
)


@contextmanager
def chromium(profile: Path, *arguments: str) -> Iterator[webdriver.Chrome]:
    """A headless browser that logs its console and its requests. `arguments`: further ones of its command line."""
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    for argument in (*_ARGUMENTS, *arguments, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_script_timeout(_TIMEOUT_S)
    try:
        yield driver
    finally:
        driver.quit()


class Swagger:
    """One operation on the docs page. `operation` is its operationId."""

    def __init__(self, browser: webdriver.Chrome, tag: str, operation: str) -> None:
        self._browser = browser
        self._wait = WebDriverWait(browser, _TIMEOUT_S)
        self._block = f"#operations-{tag}-{operation}"

    def open(self) -> None:
        self._click("button")

    def try_out(self) -> None:
        self.open()
        self._click("button.try-out__btn")

    def choose_file(self, path: Path, *, field: str = "") -> None:
        pick = (By.CSS_SELECTOR, f"{self._block} {field} input[type=file]")
        self._wait.until(condition.presence_of_element_located(pick)).send_keys(str(path))

    def add_item(self) -> None:
        """Another item of the array in the request's body."""
        self._click(".opblock-section-request-body button.json-schema-form-item-add")

    def execute(self) -> dict[str, Any]:
        """Sends the request. Returns the JSON of the response."""
        self._click("button.execute")
        shown = (By.CSS_SELECTOR, f"{self._block} .live-responses-table .response-col_description code")
        body: dict[str, Any] = json.loads(self._wait.until(condition.visibility_of_element_located(shown)).text)
        return body

    def status(self) -> str:
        """The status of the response."""
        cell = f"{self._block} .live-responses-table tbody .response-col_status"
        return self._browser.find_element(By.CSS_SELECTOR, cell).text

    def _click(self, selector: str) -> None:
        self._wait.until(condition.element_to_be_clickable((By.CSS_SELECTOR, f"{self._block} {selector}"))).click()


def console_errors(browser: webdriver.Chrome) -> list[str]:
    log = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium leaves it untyped
    return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


def requested_urls(browser: webdriver.Chrome) -> list[str]:
    log = browser.get_log("performance")  # type: ignore[no-untyped-call]  # selenium leaves it untyped
    messages = [json.loads(entry["message"])["message"] for entry in log]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
