"""Swagger at /docs in a browser: it loads without the internet, sends pictures, and runs no foreign script."""

from pathlib import Path

import httpx
from selenium import webdriver

from tests.e2e.swagger import CAT, Swagger, console_errors, requested_urls
from tests.process import running_service


def test_swagger_sends_a_picture_and_shows_its_label(browser: webdriver.Chrome, shipped_url: str) -> None:
    browser.get(f"{shipped_url}/docs")
    infer = Swagger(browser, "inference", "infer")
    infer.try_out()
    infer.choose_file(CAT)
    answer = infer.execute()
    assert answer["predictions"][0]["label"] == "tiger cat"
    assert answer["image"]["filename"] == "cat.jpg"
    urls = requested_urls(browser)
    assert len(urls) >= 4
    assert not [url for url in urls if not url.startswith((shipped_url, "data:", "blob:", "chrome:"))]
    assert console_errors(browser) == []


def test_swagger_sends_two_pictures(browser: webdriver.Chrome, shipped_url: str) -> None:
    browser.get(f"{shipped_url}/docs")
    batch = Swagger(browser, "inference", "infer_batch")
    batch.try_out()
    batch.choose_file(CAT, field=".json-schema-form-item:nth-child(1)")
    batch.add_item()
    batch.choose_file(CAT, field=".json-schema-form-item:nth-child(2)")
    results = batch.execute()["results"]
    assert [result["predictions"][0]["label"] for result in results] == ["tiger cat", "tiger cat"]


def test_protected_docs_open_with_the_key_as_password_and_run_no_foreign_script(
    browser: webdriver.Chrome,
    tmp_path: Path,
) -> None:
    with running_service(API_KEYS="secret-key", API_PROTECT="docs") as service:
        url = httpx.URL(service.base_url)
        browser.get(f"{url}/docs")
        assert "Swagger UI" not in browser.page_source
        assert any("401" in message for message in console_errors(browser))

        browser.get(f"{url.copy_with(username='anybody', password='secret-key')}/docs")
        Swagger(browser, "inference", "infer").open()
        assert console_errors(browser) == []

        browser.execute_script(
            "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
            "const i = new Image(); i.src = 'http://127.0.0.2:1/x.png'; document.body.append(i);"
        )
        assert browser.execute_script("return window.ran") is None
        blocked = console_errors(browser)
        assert any("script-src" in message for message in blocked)
        assert any("img-src" in message for message in blocked)

        page = tmp_path / "frame.html"
        page.write_text(f'<iframe id="docs" src="{url}/docs"></iframe>')
        browser.get(page.as_uri())
        assert any("frame-ancestors" in message for message in console_errors(browser))
