"""The docs page under its Content-Security-Policy and behind a key, in a real browser."""

from pathlib import Path

import httpx
from selenium import webdriver

from tests.e2e.swagger import Swagger, console_errors
from tests.process import running_service


def test_protected_docs_accept_the_key_as_password_and_block_foreign_scripts(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    with running_service(API_KEYS="secret-key", API_PROTECT="docs") as service:
        url = httpx.URL(service.base_url)
        browser.get(f"{url}/docs")
        assert "swagger-ui" not in browser.page_source
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
