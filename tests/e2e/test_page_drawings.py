"""Answers on the page: drawn at the right pixels, filtered, hidden, compared, and in tables with the same numbers."""

from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains

from tests import plain_http
from tests.e2e.page import BOXES, SIZE, Page, write_pictures
from tests.e2e.services import WAIT_S
from tests.e2e.swagger import requested_urls
from tests.paths import DATA

RED, GREEN, BLUE = (230, 25, 75), (60, 180, 75), (255, 225, 25)  # classes 0, 1 and 2
ROTATED = DATA / "odd_pictures" / "exif_orientation" / "f8-exif.jpg"


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
    assert page.find(".headline").text == "cat, dog"
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
    canvas = page.find(".frame canvas")
    to_grass = (canvas.size["width"] // 4, -canvas.size["height"] // 4)  # from the middle
    ActionChains(page.browser).move_to_element_with_offset(canvas, *to_grass).perform()
    page.find("tr.hovered", "grass")
    page.click(".chip", "sky")
    page.until("!document.querySelector('.frame canvas').getContext('2d').getImageData(20, 100, 1, 1).data[3]")
    assert page.find(".headline").text == "grass"
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


def test_table_is_copied_with_the_numbers_of_the_answer(page: Page, page_url: str) -> None:
    page.allow_clipboard()
    page.choose(ROTATED)
    page.click("button", "Copy table")
    page.find("button", "Copied")
    read = "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))"
    text = str(page.browser.execute_async_script(read))
    answer = plain_http.post(f"{page_url}/infer", content=ROTATED.read_bytes(), timeout=WAIT_S).json()
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
