"""The page at /: ways in, answers drawn and in a table, batches, errors, time and code."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.e2e.page import BOXES, SIZE, Page, write_models, write_pictures
from tests.e2e.swagger import chromium, console_errors, requested_urls
from tests.paths import CAT, DATA
from tests.process import running_service

RED, GREEN, BLUE = (230, 25, 75), (60, 180, 75), (255, 225, 25)  # classes 0, 1 and 2
ROTATED = DATA / "odd_pictures" / "exif_orientation" / "f8-exif.jpg"


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = write_models(tmp_path_factory.mktemp("models"))
    cache = str(tmp_path_factory.mktemp("cache"))
    with running_service(
        API_MODELS_DIR=str(models), API_DEFAULT_MODEL="colour", API_CACHE_DIR=cache, API_MAX_BATCH_IMAGES="8"
    ) as service:
        yield service.base_url


@pytest.fixture(scope="module")
def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    elsewhere = "--host-resolver-rules=MAP fovea.test 127.0.0.1"
    with chromium(tmp_path_factory.mktemp("profile"), *camera, elsewhere) as driver:
        yield driver


@pytest.fixture
def page(shared_browser: webdriver.Chrome, base_url: str) -> Iterator[Page]:
    """The open page; afterwards it has logged no error, and has requested nothing from elsewhere."""
    console_errors(shared_browser)
    requested_urls(shared_browser)
    page = Page(shared_browser, base_url)
    page.size(1280, 1400)
    page.open()
    yield page
    assert console_errors(shared_browser) == []
    assert not [
        url for url in requested_urls(shared_browser) if not url.startswith((base_url, "data:", "blob:", "chrome:"))
    ]


def test_dropped_picture_is_sent_as_it_is_and_answered(page: Page, base_url: str) -> None:
    page.record_bodies()
    page.drop(ROTATED)
    page.find(".headline", "%")
    assert page.bodies() == [hashlib.sha256(ROTATED.read_bytes()).hexdigest()]
    answer = httpx.post(f"{base_url}/infer", content=ROTATED.read_bytes()).json()
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


def test_picture_of_another_tab_is_taken_or_explained(page: Page, base_url: str, tmp_path: Path) -> None:
    page.drop_link("https://example.com/cat.jpg")
    page.find(".notice", "requests nothing from other sites")
    page.drop(tmp_path)
    page.find(".notice", "Folders cannot be dropped")
    page.drop_link(f"{base_url}/page/samples/cat.webp")
    page.find(".scene .facts", "cat.webp")
    page.find(".headline", "%")


def test_live_camera_gives_a_picture(page: Page) -> None:
    page.click("button", "Camera")
    page.until("document.querySelector('dialog video').videoWidth")
    page.click("dialog button", "Take the picture")
    page.find(".scene .facts", "camera.jpg")
    page.find(".headline", "%")


def test_camera_without_a_secure_context_opens_the_devices_own(page: Page, base_url: str) -> None:
    page.browser.get(base_url.replace("127.0.0.1", "fovea.test"))
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


def test_boxes_are_at_the_answers_pixels_and_act_on_the_sliders(page: Page, tmp_path: Path) -> None:
    page.select("boxes")
    page.choose(*write_pictures(tmp_path, "black"))
    page.find(".headline", "cat, dog, bird")
    x, y = SIZE[0] / 64, SIZE[1] / 64
    for thing, colour in zip(BOXES, (RED, GREEN, BLUE), strict=True):
        xmin, ymin, xmax, ymax = thing.box
        middle = (xmin + xmax) / 2 * x
        inside = 0.8  # pixels: the line lies inside the picture
        edge = [(max(xmin * x, inside), (ymin + 3 * ymax) / 4 * y), (middle, min(ymax * y, SIZE[1] - inside))]
        for pixel in page.pixels(edge):
            assert pixel[3] == 255
            assert max(abs(a - b) for a, b in zip(pixel[:3], colour, strict=True)) < 40
    assert not page.drawn((32 * x, 28 * y))
    assert [row[:6] for row in page.rows()] == [
        [label, pytest.approx(thing.score), *(pytest.approx(side * (x, y)[i % 2]) for i, side in enumerate(thing.box))]
        for label, thing in zip(("cat", "dog", "bird"), BOXES, strict=True)
    ]
    page.slide("Threshold", 0.5)
    page.find(".headline")
    page.until("document.querySelectorAll('.panel .scroll tbody tr').length === 2")
    assert not page.drawn((48 * x, SIZE[1] - inside))
    page.slide("At most", 1)
    page.until("document.querySelectorAll('.panel .scroll tbody tr').length === 1")
    assert sum("/infer?" in url for url in requested_urls(page.browser)) == 1  # from the answer already there


def test_labels_stay_inside_the_picture(page: Page, tmp_path: Path) -> None:
    """The second box begins in the upper left corner, and has no room above it."""
    page.select("boxes")
    page.choose(*write_pictures(tmp_path, "black"))
    page.find(".headline", "dog")
    assert page.drawn((4, 10))


def test_asking_for_more_than_the_answer_has_asks_again(page: Page, tmp_path: Path) -> None:
    page.select("boxes")
    page.choose(*write_pictures(tmp_path, "black"))
    page.find(".headline", "bird")
    page.slide("Threshold", 0.1)
    page.until("performance.getEntriesByType('resource').some(({name}) => name.includes('threshold=0.1'))")
    page.find(".headline", "bird")


def test_masks_are_tinted_and_toggled_by_label(page: Page, tmp_path: Path) -> None:
    page.select("masks")
    page.choose(*write_pictures(tmp_path, "black"))
    page.find(".headline", "sky")
    left = (SIZE[0] / 8, SIZE[1] / 2)
    page.until("document.querySelector('.frame canvas').getContext('2d').getImageData(20, 100, 1, 1).data[3]")
    red, _, _, alpha = page.pixels([left])[0]
    assert red > 200
    assert 100 < alpha < 200
    page.click(".chip", "sky")
    page.until("!document.querySelector('.frame canvas').getContext('2d').getImageData(20, 100, 1, 1).data[3]")
    page.find(".predictions th", "grass")


@pytest.mark.parametrize(("model", "says"), [("pose", "animal"), ("depth", " to 6"), ("embed", "3 numbers")])
def test_other_tasks_are_drawn_with_a_table(page: Page, tmp_path: Path, model: str, says: str) -> None:
    page.select(model)
    page.choose(*write_pictures(tmp_path, "red"))
    page.find(".headline", says)
    assert page.rows()
    if model == "pose":
        page.click("summary", "2 points of animal")
        page.find("details td", "300")
        assert page.drawn((300, 150))
    if model == "depth":
        page.until("document.querySelector('.frame canvas').getContext('2d').getImageData(2, 2, 1, 1).data[3]")


def test_prediction_under_the_pointer_stands_out_here_and_in_the_table(page: Page, tmp_path: Path) -> None:
    page.select("boxes")
    page.choose(*write_pictures(tmp_path, "black"))
    page.find(".headline", "cat")
    canvas = page.find(".frame canvas")
    to_bird = (canvas.size["width"] // 4, canvas.size["height"] * 3 // 8)  # from the middle
    ActionChains(page.browser).move_to_element_with_offset(canvas, *to_bird).perform()
    page.find("tr.hovered", "bird")
    cat, bird = page.pixels([(320, 160), (480, SIZE[1] - 0.8)])
    assert cat[3] < bird[3]
    ActionChains(page.browser).move_to_element(page.find(".headline")).perform()
    page.gone("tr.hovered")


def test_table_is_copied_with_the_numbers_of_the_answer(page: Page, base_url: str) -> None:
    page.allow_clipboard()
    page.choose(ROTATED)
    page.click("button", "Copy table")
    page.find("button", "Copied")
    read = "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))"
    text = str(page.browser.execute_async_script(read))
    answer = httpx.post(f"{base_url}/infer", content=ROTATED.read_bytes()).json()
    head, *rows = [line.split("\t") for line in text.splitlines()]
    assert head == ["label", "score"]
    assert [(label, float(score)) for label, score in rows] == [(p["label"], p["score"]) for p in answer["predictions"]]


def test_h_hides_the_drawing_while_it_is_held(page: Page, tmp_path: Path) -> None:
    page.select("boxes")
    page.choose(*write_pictures(tmp_path, "black"))
    page.find(".headline", "cat")
    ActionChains(page.browser).key_down("h").perform()
    page.until("document.querySelector('.frame canvas').hidden")
    ActionChains(page.browser).key_up("h").perform()
    page.until("!document.querySelector('.frame canvas').hidden")


def test_many_pictures_fill_a_grid_and_arrows_move_between_them(page: Page, tmp_path: Path) -> None:
    """More than API_MAX_BATCH_IMAGES, here 8, are sent as several batches."""
    colours = ["red", "green", "blue"] * 4
    paths = []
    for i, colour in enumerate(colours):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (32, 24), colour).save(paths[-1])
    (tmp_path / "no-picture.png").write_bytes(b"text")
    page.choose(*paths, tmp_path / "no-picture.png")
    page.find(".progress h2", "13 pictures, 1 failed")
    assert [card.text.split("\n")[1].split()[0] for card in page.all(".card.done")] == [
        {"red": "red", "green": "green", "blue": "blue"}[colour] for colour in colours
    ]
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
    paths = []
    for i in range(24):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (32, 24), "red").save(paths[-1])
    page.choose(*paths)
    page.find(".card.done")
    page.click(".progress button", "Cancel")
    page.find("button", "others")
    assert page.all(".card.cancelled")
    page.click("button", "others")
    page.until("document.querySelectorAll('.card.done').length === 24")
    console_errors(page.browser)  # Chromium reports the first batches, which are too large: 413


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


def test_vectors_are_a_matrix_of_similarities(page: Page, tmp_path: Path) -> None:
    page.select("embed")
    page.choose(*write_pictures(tmp_path, "red", "blue", "maroon"))
    page.find(".progress h2", "3 pictures")
    page.find("#similarity")
    rows = [row[1:] for row in page.rows(".matrix")]
    assert rows == [[pytest.approx(value, abs=1e-6) for value in row] for row in [[1, 0, 1], [0, 1, 0], [1, 0, 1]]]


def test_two_models_are_compared_with_their_differences_marked(page: Page, tmp_path: Path) -> None:
    page.choose(*write_pictures(tmp_path, "red"))
    page.find(".headline", "red")
    page.click("button", "Compare")
    page.find(".compared")
    page.find(".stage-title", "colour 1")  # the other version comes first
    page.select("other", ".choices label:nth-of-type(3) select")
    page.find(".stage-title", "other 1")
    page.find(".panel", "3 of 3 rows differ")
    [_, *_] = page.all("tr.differs")
    assert len(page.all(".frame canvas")) == 2
    label, left, right, difference = page.rows(".compared")[0]
    assert label == "red"
    assert left > right
    assert difference.startswith("\u2212")
    page.click("button", "Stop comparing")
    page.gone(".compared")


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


def test_page_asks_for_the_key_and_keeps_it_in_memory(shared_browser: webdriver.Chrome, tmp_path: Path) -> None:
    settings = {"API_KEYS": "secret", "API_PROTECT": "docs,metrics", "API_CACHE_DIR": str(tmp_path / "cache")}
    with running_service(**settings) as service:
        shared_browser.get(service.base_url)
        page = Page(shared_browser, service.base_url)
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
            shared_browser.execute_script("return localStorage.length + sessionStorage.length + document.cookie.length")
            == 0
        )
        shared_browser.refresh()
        page.find("#key")
    console_errors(shared_browser)
