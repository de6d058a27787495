"""Swagger lets one request send several pictures."""

import json

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as wait_for
from selenium.webdriver.support.ui import WebDriverWait

from tests.e2e.test_swagger import base_url, browser  # noqa: F401 - fixtures
from tests.paths import ROOT

CAT = ROOT / "tests" / "data" / "cat.jpg"
_OPERATION = "#operations-inference-infer_batch_infer_batch_post"
_BODY = f"{_OPERATION} .opblock-section-request-body"


def test_swagger_sends_two_pictures(browser: webdriver.Chrome, base_url: str) -> None:  # noqa: F811 - fixtures
    wait = WebDriverWait(browser, 20)
    browser.get(f"{base_url}/docs")
    wait.until(wait_for.element_to_be_clickable((By.CSS_SELECTOR, f"{_OPERATION} button"))).click()
    wait.until(wait_for.element_to_be_clickable((By.CSS_SELECTOR, "button.try-out__btn"))).click()
    for nth in (1, 2):
        pick = f"{_BODY} .json-schema-form-item:nth-child({nth}) input[type=file]"
        wait.until(wait_for.presence_of_element_located((By.CSS_SELECTOR, pick))).send_keys(str(CAT))
        if nth == 1:
            browser.find_element(By.CSS_SELECTOR, f"{_BODY} button.json-schema-form-item-add").click()
    browser.find_element(By.CSS_SELECTOR, "button.execute").click()
    answer = wait.until(
        wait_for.visibility_of_element_located(
            (By.CSS_SELECTOR, ".live-responses-table .response-col_description code")
        )
    )
    results = json.loads(answer.text)["results"]
    assert [result["predictions"][0]["label"] for result in results] == ["tiger cat", "tiger cat"]
