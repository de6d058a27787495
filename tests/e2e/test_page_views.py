"""Every view of the page: reachable by keyboard, nothing for axe-core to find, and screenshots in .proof/page.

axe-core is installed into a temporary folder; that needs npm's registry.
"""

import json
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from tests import plain_http
from tests.e2e.page import Page, write_models, write_pictures
from tests.e2e.services import WAIT_S
from tests.e2e.swagger import console_errors
from tests.paths import CAT, PHOTOS, ROOT
from tests.process import Service, running_service

AXE = "axe-core@4.14.1"
SHOTS = ROOT / ".proof" / "page"
HENS = PHOTOS / "gcompris_farm_chicken.webp"
ANIMALS = [
    CAT,
    HENS,
    *(PHOTOS / f"gcompris_{name}.webp" for name in ("world_panda", "farm_dog", "world_lemur", "fish_fish25")),
]
# Each view in both widths and both schemes, the next view in the other pairs.
VARIANTS = ([(1280, "light"), (390, "dark")], [(1280, "dark"), (390, "light")])
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The repository's models, and those of `write_models`."""
    models = tmp_path_factory.mktemp("models") / "models"
    shutil.copytree(ROOT / "models", models)
    write_models(models)
    (models / "broken" / "1").mkdir(parents=True)
    (models / "broken" / "1" / "model.onnx").write_bytes(b"no graph")
    with running_service(API_MODELS_DIR=str(models), API_ADMIN_KEYS="boss") as running:
        for model in ("efficientnet-lite0-embed", "picodet-s-416", "u2netp"):  # so that no view waits for its model
            plain_http.post(f"{running.base_url}/infer?model={model}", content=CAT.read_bytes(), timeout=120)
        yield running


@pytest.fixture
def page(browser: webdriver.Chrome, service: Service) -> Page:
    page = Page(browser, service.base_url)
    page.size(1280, 1000)
    page.open()
    return page


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("axe")
    assert shutil.which("npm"), "this test needs Node.js with npm"
    command = ["npm", "install", "--no-fund", "--no-audit", "--prefix", ".", AXE]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def welcome(page: Page) -> None:
    page.find(".sample")


def labels(page: Page) -> None:
    page.choose(CAT)
    page.find(".headline", "tiger cat")


def boxes(page: Page) -> None:
    page.select("picodet-s-416")
    page.choose(HENS)
    page.find(".headline", "4 \u00d7 bird")


def masks(page: Page) -> None:
    page.select("u2netp")
    page.choose(HENS)
    page.find(".predictions")
    page.until("document.querySelector('.frame canvas').width > 300")


def why(page: Page) -> None:
    labels(page)
    page.click("button", "Why?")
    page.find(".why", "Red places matter most")


def time_and_code(page: Page) -> None:
    labels(page)
    page.click("summary", "Time")
    page.click("button", "Send it 20 times")
    page.find(".series")
    page.click("summary", "Code")


def grid(page: Page) -> None:
    page.choose(*ANIMALS)
    page.find(".progress h2", f"{len(ANIMALS)} pictures")


def compare(page: Page) -> None:
    page.select("colour")
    page.choose(CAT)
    page.find(".headline", "%")
    page.click("button", "Compare")
    page.find(".compared")


def compare_tasks(page: Page) -> None:
    page.select("picodet-s-416")
    page.choose(HENS)
    page.click("button", "Compare")
    page.select("efficientnet-lite0", ".choices label:nth-of-type(2) select")
    page.find(".stage-title", "efficientnet-lite0 1")


def similarity(page: Page) -> None:
    page.select("efficientnet-lite0-embed")
    page.choose(*ANIMALS[:4])
    page.find(".matrix")


def error(page: Page) -> None:
    page.choose(ROOT / "README.md")
    page.find(".panel .problem")


def admin_key(page: Page) -> None:
    page.click("nav a", "Operate")
    page.find("#admin-key")


def operate(page: Page) -> None:
    admin_key(page)
    page.find("#admin-key").send_keys("boss\n")
    page.find(".chart .plot canvas")
    page.click("[aria-label=picodet-s-416] summary")
    page.find("[aria-label=picodet-s-416] td", "boxes-scores")


VIEWS: list[Callable[[Page], None]] = [
    welcome, labels, boxes, masks, why, time_and_code, grid, compare, compare_tasks, similarity, error,
    admin_key, operate,
]  # fmt: skip


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_axe_finds_nothing_and_nothing_overflows(page: Page, axe: str, view: Callable[[Page], None]) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    view(page)
    page.browser.execute_script(axe)
    for width, scheme in VARIANTS[VIEWS.index(view) % 2]:
        page.size(width, 1000, scheme)
        page.until(f"innerWidth === {width}")
        shoot(page, SHOTS / f"{view.__name__}-{width}-{scheme}.png")
        assert violations(page) == [], f"{width} {scheme}"
        assert page.browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_text_is_larger_on_a_large_screen(page: Page) -> None:
    page.size(3840, 2160)
    page.until("innerWidth === 3840")
    assert page.browser.execute_script("return parseFloat(getComputedStyle(document.body).fontSize)") > 24


def shoot(page: Page, path: Path) -> None:
    """The whole page, not only what the window shows."""
    data: dict[str, Any] = page.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    path.write_bytes(b64decode(data["data"]))


def violations(page: Page) -> list[str]:
    run = (
        "const [rules, done] = arguments; axe.run({runOnly: {type: 'tag', values: rules}})"
        ".then(({violations}) => done(JSON.stringify(violations.map(({id, nodes}) => "
        "`${id}: ${nodes.map(({html, any}) => `${html} ${any[0]?.message ?? ''}`).join(' | ')}`))))"
    )
    found: list[str] = json.loads(page.browser.execute_async_script(run, RULES))
    return found


def test_heat_map_is_drawn_with_its_method_passes_and_time(page: Page, service: Service) -> None:
    why(page)
    explained = plain_http.post(
        f"{service.base_url}/explain?model=efficientnet-lite0&class_id=282", content=CAT.read_bytes(), timeout=60
    ).json()["explanation"]
    facts = dict(page.rows(".why table"))
    assert facts["method"] == explained["method"]
    assert facts["passes"] == str(explained["passes"])
    assert facts["peak"] == f"x {explained['peak']['x']}, y {explained['peak']['y']}"
    assert facts["time"].endswith("s")
    peak = (explained["peak"]["x"], explained["peak"]["y"])
    page.until_drawn()
    hot, cold = page.pixels([peak, (1, 1)], image=(451, 300))
    assert hot[3] > cold[3]
    page.click("summary", "Code")
    page.find(".code", "/explain?model=efficientnet-lite0&class_id=282")
    page.click(".why button", "Close")
    page.gone(".why")


def test_heat_map_of_a_box_and_of_a_similarity(page: Page) -> None:
    boxes(page)
    page.click("button", "Why?")
    page.find(".why", "Red places matter most")
    page.click("button", "Remove")
    page.select("efficientnet-lite0-embed")
    page.choose(CAT, HENS)
    page.click(".matrix button")
    page.find(".why", "Red places matter most")
    page.click("summary", "Code")
    page.find(".code", "reference=@")


def test_skip_link_keeps_the_view(page: Page) -> None:
    admin_key(page)
    page.browser.execute_script("document.querySelector('.skip').focus()")
    page.press(Keys.ENTER, until="#main:focus")
    page.press(Keys.TAB, until="#admin-key:focus")


def test_reader_without_scripts_is_sent_to_the_api(service: Service) -> None:
    assert "noscript" in plain_http.get(service.base_url, timeout=WAIT_S).text


def test_page_without_heat_maps_hides_their_buttons(page: Page, tmp_path: Path) -> None:
    """An older service, or a proxy that does not pass /explain on."""
    page.select("colour")
    page.choose(*write_pictures(tmp_path, "red"))
    page.find(".headline", "red")
    page.browser.execute_script(
        "const real = fetch;window.fetch = (url, options) => real(String(url).replace('/explain', '/nothing'), options)"
    )
    page.click("button", "Why?")
    page.find(".why", "makes no heat maps")
    assert not [button for button in page.all("button") if button.text == "Why?"]
    console_errors(page.browser)
