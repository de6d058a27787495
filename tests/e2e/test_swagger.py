"""Swagger at /docs in a real browser: it loads without the internet, and sends pictures."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.e2e.swagger import CAT, Swagger, console_errors, requested_urls
from tests.process import running_service


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with running_service() as service:
        yield service.base_url


def test_swagger_sends_a_picture_and_shows_its_label(browser: webdriver.Chrome, base_url: str) -> None:
    browser.get(f"{base_url}/docs")
    infer = Swagger(browser, "inference", "infer")
    infer.try_out()
    infer.choose_file(CAT)
    response = infer.execute()
    assert response["predictions"][0]["label"] == "tiger cat"
    assert response["image"]["filename"] == "cat.jpg"
    urls = requested_urls(browser)
    assert len(urls) >= 4
    assert not [url for url in urls if not url.startswith((base_url, "data:", "blob:", "chrome:"))]
    assert console_errors(browser) == []


def test_swagger_sends_two_pictures(browser: webdriver.Chrome, base_url: str) -> None:
    browser.get(f"{base_url}/docs")
    batch = Swagger(browser, "inference", "infer_batch")
    batch.try_out()
    batch.choose_file(CAT)
    batch.add_item()
    batch.choose_file(CAT, field=".json-schema-form-item:nth-child(2)")
    results = batch.execute()["results"]
    assert [result["predictions"][0]["label"] for result in results] == ["tiger cat", "tiger cat"]
