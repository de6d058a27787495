"""The service at /vision/ behind nginx with deploy/nginx.conf, in a browser."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests import plain_http
from tests.e2e.nginx import nginx
from tests.e2e.page import Page
from tests.e2e.services import WAIT_S
from tests.e2e.swagger import CAT, Swagger, console_errors, requested_urls
from tests.paths import PHOTOS
from tests.process import running_service

HENS = PHOTOS / "gcompris_farm_chicken.webp"
# A prefix that nginx strips without saying so: the pages must work there, too.
PLAIN = "location /plain/ { proxy_pass http://fovea/; }"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        running_service(API_TRUSTED_PROXIES="127.0.0.1", API_ADMIN_KEYS="boss") as service,
        nginx([service.port], tmp_path_factory.mktemp("nginx"), PLAIN) as url,
    ):
        yield url


@pytest.mark.parametrize("location", ["plain", "vision"])
def test_swagger_sends_a_picture_behind_a_prefix(browser: webdriver.Chrome, proxy: str, location: str) -> None:
    browser.get(f"{proxy}/{location}/docs")
    infer = Swagger(browser, "inference", "infer")
    infer.try_out()
    infer.choose_file(CAT)
    assert infer.execute()["predictions"][0]["label"] == "tiger cat"
    assert infer.status() == "200"
    urls = [url for url in requested_urls(browser) if url.startswith("http")]
    assert f"{proxy}/{location}/infer" in {url.partition("?")[0] for url in urls}
    assert not [url for url in urls if not url.startswith(f"{proxy}/{location}/")]
    assert console_errors(browser) == []


@pytest.mark.parametrize("location", ["plain", "vision"])
def test_page_sends_pictures_behind_a_prefix(browser: webdriver.Chrome, proxy: str, location: str) -> None:
    page = Page(browser, f"{proxy}/{location}")
    page.open()
    page.choose(CAT)
    page.find(".headline", "tiger cat")
    page.click("summary", "Code")
    page.find(".code", f"{proxy}/{location}/infer?model=")
    page.click("button", "Why?")
    page.find(".why", "Red places matter most")
    page.choose(CAT, HENS)
    page.find(".progress h2", "3 pictures")
    page.click("nav a", "Operate")
    page.find("#admin-key").send_keys("boss\n")
    page.find(".chart .plot canvas")
    urls = [url for url in requested_urls(browser) if url.startswith("http")]
    assert {f"{proxy}/{location}/{path}" for path in ("infer", "infer/batch", "explain", "models", "metrics")} <= {
        url.partition("?")[0] for url in urls
    }
    assert not [url for url in urls if not url.startswith(f"{proxy}/{location}/")]
    assert [line for line in console_errors(browser) if "422" not in line] == []  # how the admin key is checked


@pytest.mark.parametrize("path", ["docs/", "models/"])
def test_redirects_keep_the_prefix(proxy: str, path: str) -> None:
    response = plain_http.get(f"{proxy}/vision/{path}", follow_redirects=True, timeout=WAIT_S)
    assert response.status_code == 200
    assert str(response.url) == f"{proxy}/vision/{path.rstrip('/')}"
