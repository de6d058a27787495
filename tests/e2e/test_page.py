"""The page at /: ways in, batches, errors, time, code and keys."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests import plain_http
from tests.e2e.page import SIZE, Page, one_colour_each, write_pictures
from tests.e2e.services import WAIT_S
from tests.e2e.swagger import console_errors, requested_urls
from tests.paths import CAT, DATA
from tests.process import running_service

ROTATED = DATA / "odd_pictures" / "exif_orientation" / "f8-exif.jpg"


def test_dropped_picture_is_sent_as_it_is_and_answered(page: Page, page_url: str) -> None:
    page.record_bodies()
    page.drop(ROTATED)
    page.find(".headline", "%")
    assert page.bodies() == [hashlib.sha256(ROTATED.read_bytes()).hexdigest()]
    answer = plain_http.post(f"{page_url}/infer", content=ROTATED.read_bytes(), timeout=WAIT_S).json()
    assert [row[:2] for row in page.rows()] == [[p["label"], p["score"]] for p in answer["predictions"]]
    size = f"{answer['image']['width']} \u00d7 {answer['image']['height']}"
    page.find(".scene .facts", size)


def test_pasted_picture_is_answered(page: Page) -> None:
    page.allow_clipboard()
    copy = (
        "const done = arguments[0]; const canvas = new OffscreenCanvas(64, 48);"
        "const context = canvas.getContext('2d');"
        "context.fillStyle = 'blue'; context.fillRect(0, 0, 64, 48);"
        "canvas.convertToBlob({type: 'image/png'})"
        ".then((blob) => navigator.clipboard.write([new ClipboardItem({'image/png': blob})]))"
        ".then(() => done(null), (error) => done(String(error)))"
    )
    assert page.browser.execute_async_script(copy) is None
    ActionChains(page.browser).key_down(Keys.CONTROL).send_keys("v").key_up(Keys.CONTROL).perform()
    page.find(".headline", "blue")
    page.click("button", "Remove")
    page.click("button", "Paste")
    page.find(".headline", "blue")


def test_picture_of_another_tab_is_taken_or_explained(page: Page, page_url: str, tmp_path: Path) -> None:
    page.drop_link("https://example.com/cat.jpg")
    page.find(".notice", "requests nothing from other sites")
    page.drop(tmp_path)
    page.find(".notice", "Folders cannot be dropped")
    page.drop_link(f"{page_url}/page/samples/cat.webp")
    page.find(".scene .facts", "cat.webp")
    page.find(".headline", "%")


def test_live_camera_gives_a_picture(page: Page) -> None:
    page.click("button", "Camera")
    page.until("document.querySelector('dialog video').videoWidth")
    page.click("dialog button", "Take the picture")
    page.find(".scene .facts", "camera.jpg")
    page.find(".headline", "%")


def test_camera_without_a_secure_context_opens_the_devices_own(page: Page, page_url: str) -> None:
    page.browser.get(page_url.replace("127.0.0.1", "fovea.test"))
    page.find(".welcome", "A live camera needs HTTPS or localhost")
    assert page.all("input[capture=environment]")
    assert not [button for button in page.all("button") if button.text == "Paste"]
    requested_urls(page.browser)  # of the other name
    console_errors(page.browser)  # Chromium ignores Cross-Origin-Opener-Policy there, and says so


def test_sample_gives_the_first_answer_without_a_picture(page: Page) -> None:
    page.click(".sample")
    page.find(".headline", "%")
    assert len(page.all(".panel .scroll tbody tr")) == 3


def test_slash_opens_the_file_dialog(page: Page) -> None:
    page.browser.execute_cdp_cmd("Page.setInterceptFileChooserDialog", {"enabled": True})
    page.browser.execute_script("document.querySelector('#pick').addEventListener('click', () => window.picked = true)")
    ActionChains(page.browser).send_keys("/").perform()
    page.until("window.picked")
    page.browser.execute_cdp_cmd("Page.setInterceptFileChooserDialog", {"enabled": False})


def test_many_pictures_fill_a_grid_and_arrows_move_between_them(page: Page, tmp_path: Path) -> None:
    """More than API_MAX_BATCH_IMAGES, here 8, are sent as several batches."""
    colours = ["red", "green", "blue"] * 4
    (tmp_path / "no-picture.png").write_bytes(b"text")
    page.choose(*one_colour_each(tmp_path, colours), tmp_path / "no-picture.png")
    page.find(".progress h2", "13 pictures, 1 failed")
    assert [card.text.split("\n")[1].split()[0] for card in page.all(".card.done")] == colours
    assert page.find(".headline").text.startswith("red")
    ActionChains(page.browser).send_keys(Keys.ARROW_RIGHT).perform()
    page.find(".headline", "green")
    ActionChains(page.browser).send_keys(Keys.ARROW_LEFT).perform()
    page.find(".headline", "red")
    page.click(".card.failed")
    page.find(".panel .problem", "not a")
    console_errors(page.browser)  # Chromium reports the batch that is too large: 413


def test_cancel_ends_a_batch_and_the_rest_can_be_sent(page: Page, tmp_path: Path) -> None:
    page.select("slow")
    page.choose(*one_colour_each(tmp_path, ["red"] * 24))
    page.find(".card.done")
    page.click(".progress button", "Cancel")
    page.find("button", "others")
    assert page.all(".card.cancelled")
    page.click("button", "others")
    page.until("document.querySelectorAll('.card.done').length === 24")
    console_errors(page.browser)  # Chromium reports the first batches, which are too large: 413


def test_unreachable_service_is_said_in_words(page: Page) -> None:
    """A sample's button did nothing, and the operator's view stayed empty."""
    page.offline(True)
    page.click(".sample")
    page.find(".notice", "does not answer")
    page.click(".notice button")
    page.gone(".notice")
    page.click("nav a", "Operate")
    page.find(".notice", "does not answer")
    page.offline(False)
    page.click("nav a", "Try")
    page.click(".sample")
    page.find(".headline", "%")
    page.click("nav a", "Operate")
    page.find("main", "Admin key")
    assert not [line for line in console_errors(page.browser) if "Uncaught" in line]


def test_error_is_shown_in_words_with_its_request_id(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a picture")
    page.drop(tmp_path / "notes.txt")
    problem = page.find(".panel .problem").text
    assert "notes" not in problem
    assert "request" in problem
    assert len(problem) > 40
    console_errors(page.browser)  # Chromium reports the status


def test_format_that_the_browser_cannot_show_is_answered(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", SIZE, "red").save(tmp_path / "red.tif")
    page.choose(tmp_path / "red.tif")
    page.find(".frame", "cannot show the format TIFF")
    page.find(".headline", "%")


def test_time_is_a_waterfall_and_a_series_says_where_it_goes(page: Page, tmp_path: Path) -> None:
    page.choose(*write_pictures(tmp_path, "red"))
    page.click("summary", "Time")
    stages = [row[0] for row in page.rows(".waterfall")]
    assert stages == [
        "upload and network", "decode", "preprocess", "queue", "inference", "postprocess",
        "other, in the server", "reading the answer",
    ]  # fmt: skip
    page.click("button", "Send it 20 times")
    page.find(".series caption", "20 requests")
    seen, server, _ = page.rows(".series")
    assert 0 < server[1] <= seen[1]
    assert seen[1] <= seen[2]
    page.find("p", "Most of the time is spent")


@pytest.mark.parametrize("language", ["curl", "python", "javascript"])
def test_code_repeats_what_was_done(page: Page, tmp_path: Path, language: str) -> None:
    """A file's name may hold what a shell or a string would interpret."""
    picture = tmp_path / "a red 'one' & $HOME \\.png"
    Image.new("RGB", (32, 24), "red").save(picture)
    page.choose(picture)
    page.find(".headline", "red")
    page.click("summary", "Code")
    page.select(language, ".panel .row select")
    code = page.browser.execute_script("return document.querySelector('.code').textContent")
    for _ in range(2):  # one picture, then a form with two
        assert run_code(language, code, tmp_path).count("red") >= 1
        page.choose(picture)
        if not page.all(".card"):
            page.find(".card.done")
        code = page.browser.execute_script("return document.querySelector('.code').textContent")


def run_code(language: str, code: str, folder: Path) -> str:
    if language == "curl":
        command = ["bash", "-c", code]
    elif language == "python":
        command = [sys.executable, "-c", code]
    else:
        (folder / "code.mjs").write_text(code)
        command = ["node", "code.mjs"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_page_asks_for_the_key_and_keeps_it_in_memory(browser: webdriver.Chrome) -> None:
    with running_service(API_KEYS="secret", API_PROTECT="docs,metrics") as service:
        browser.get(service.base_url)
        page = Page(browser, service.base_url)
        page.find("#key").send_keys("wrong\n")
        page.find(".notice", "not valid")
        page.find("#key").clear()
        page.find("#key").send_keys("secret\n")
        page.gone("#key")
        page.find(".choices select")
        page.choose(CAT)
        page.find(".headline", "tiger cat")
        page.click("summary", "Code")
        code = page.find(".code").text
        assert "secret" not in code
        assert "$FOVEA_KEY" in code
        assert (
            browser.execute_script("return localStorage.length + sessionStorage.length + document.cookie.length") == 0
        )
        browser.refresh()
        page.find("#key")
    console_errors(browser)
