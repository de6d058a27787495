"""A first visit to the page, with the shipped models: a cat, why it is one, two models compared, and the curl copied.

Once with the mouse alone, and once with the keyboard alone.
"""

import json
import subprocess

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from tests.e2e.page import Page
from tests.paths import CAT


@pytest.fixture
def page(browser: webdriver.Chrome, shipped_url: str) -> Page:
    page = Page(browser, shipped_url)
    page.size(1280, 900)
    page.open()
    page.allow_clipboard()
    return page


def test_with_the_mouse_alone(page: Page) -> None:
    page.drop(CAT)
    page.find(".headline", "tiger cat")
    page.click(".predictions button", "Why?")
    page.find(".why", "Red places matter most")
    assert page.is_shown(".frame canvas")
    page.click("button", "Compare")
    page.find(".stage-title", "picodet-s-416 1")
    page.click("summary", "Code")
    page.click("button", "Copy code")
    page.find("button", "Copied")
    assert_code_gives_what_is_shown(page)


def test_with_the_keyboard_alone(page: Page) -> None:
    page.browser.execute_cdp_cmd("Page.setInterceptFileChooserDialog", {"enabled": True})
    page.browser.execute_script("document.querySelector('#pick').addEventListener('click', () => window.picked = true)")
    page.press("/")
    page.until("window.picked")
    page.choose(CAT)  # the dialog is the desktop's, and needs no mouse
    page.browser.execute_cdp_cmd("Page.setInterceptFileChooserDialog", {"enabled": False})
    page.find(".headline", "tiger cat")
    page.press(Keys.TAB, until=".predictions button:focus")
    page.press(Keys.ENTER)
    page.find(".why", "Red places matter most")
    assert page.is_shown(".frame canvas")
    page.press(Keys.SHIFT + Keys.TAB, until=".choices button:focus")
    page.press(Keys.ENTER)
    page.find(".stage-title", "picodet-s-416 1")
    page.press(Keys.TAB, until="details:last-of-type summary:focus")
    page.press(Keys.ENTER, until=".code")
    page.press(Keys.TAB, until=".panel select:focus")
    page.press(Keys.TAB)
    page.press(Keys.ENTER)
    page.find("button:focus", "Copied")
    assert_code_gives_what_is_shown(page)


def assert_code_gives_what_is_shown(page: Page) -> None:
    """The copied command, run beside the picture, prints the answers whose numbers are on the page."""
    command = page.browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    done = subprocess.run(["bash", "-c", command], cwd=CAT.parent, capture_output=True, text=True, check=True)
    one, other = json.loads(done.stdout)["results"]
    labels, boxes = page.rows(".predictions.image-classification"), page.rows(".predictions.object-detection")
    assert [row[:2] for row in labels] == [[each["label"], each["score"]] for each in one["predictions"]]
    assert [row[:6] for row in boxes] == [
        [each["label"], each["score"], *each["box"].values()] for each in other["predictions"]
    ]
