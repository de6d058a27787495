"""The page, the drawn picture, the command line and the JSON of the shipped models agree on every number and pixel."""

import csv
import json
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_masks
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains

from engine.drawing import class_colour
from tests.command_line import CommandLine
from tests.e2e.page import Page
from tests.paths import PHOTOS

LABELS, BOXES, MASK, VECTOR = MODELS = ("efficientnet-lite0", "picodet-s-416", "u2netp", "efficientnet-lite0-embed")
PHOTO = PHOTOS / "gcompris_farm_chicken.webp"
WIDTH, HEIGHT = 1024, 683
SIDES = ("xmin", "ymin", "xmax", "ymax")
DRAWN_OPACITY, DRAWN_HEAT = 0.45, 0.75  # of masks and heat maps in drawn pictures
NEAR = 4  # levels of 255: the browser blends otherwise, and the page has some of the colours of a map
Pixels = NDArray[np.uint8]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine({}, monkeypatch, capsys)


@pytest.fixture
def page(page_browser: webdriver.Chrome, shipped_url: str) -> Page:
    page = Page(page_browser, shipped_url)
    page_browser.get("about:blank")
    page.size(1280, 1400)
    page.open()
    return page


def asked(url: str, model: str, path: str = "infer", accept: str = "application/json") -> httpx.Response:
    headers = {"Accept": accept}
    return httpx.post(f"{url}/{path}?model={model}", content=PHOTO.read_bytes(), headers=headers, timeout=60)


def predictions(url: str, model: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asked(url, model).json()["predictions"]
    assert found
    return found


def picture(data: bytes, mode: str = "RGB") -> Pixels:
    with Image.open(BytesIO(data)) as image:
        assert image.size == (WIDTH, HEIGHT)
        return np.asarray(image.convert(mode))


@pytest.mark.parametrize("model", MODELS)
def test_the_command_line_gives_the_answer_of_the_service(
    command: CommandLine, shipped_url: str, tmp_path: Path, model: str
) -> None:
    answer = predictions(shipped_url, model)
    done = command(PHOTO, "--model", model, "--save", tmp_path / "out", "--format", "ndjson")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/predictions.ndjson").read_bytes())["predictions"] == answer
    drawn = asked(shipped_url, model, accept="image/webp")
    if model == VECTOR:
        assert drawn.status_code == 406
        saved = np.load(tmp_path / "out/embeddings" / f"{PHOTO.name}.npy")
        np.testing.assert_array_equal(saved, np.array(answer[0]["embedding"], np.float32))
    else:
        assert (tmp_path / "out/annotated" / PHOTO.name).read_bytes() == drawn.content
    if model == MASK:
        [mask] = (tmp_path / "out/masks").iterdir()
        assert mask.read_bytes() == b64decode(answer[0]["mask"])


@pytest.mark.parametrize("model", [LABELS, BOXES])
def test_csv_has_the_numbers_of_the_json(command: CommandLine, shipped_url: str, model: str) -> None:
    rows = csv.DictReader(command(PHOTO, "--model", model, "--format", "csv").stdout.splitlines())
    names = ("score", *SIDES) if model == BOXES else ("score",)
    assert [(row["label"], *(float(row[name]) for name in names)) for row in rows] == [
        (each["label"], each["score"], *each.get("box", {}).values()) for each in predictions(shipped_url, model)
    ]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
@pytest.mark.parametrize("model", [BOXES, MASK])
def test_coco_has_the_numbers_and_pixels_of_the_json(command: CommandLine, shipped_url: str, model: str) -> None:
    written = json.loads(command(PHOTO, "--model", model, "--format", "coco").stdout)
    names = {category["id"]: category["name"] for category in written["categories"]}
    for annotation, each in zip(written["annotations"], predictions(shipped_url, model), strict=True):
        assert names[annotation["category_id"]] == each["label"]
        if model == BOXES:
            left, top, width, height = annotation["bbox"]
            sides = [left, top, left + width, top + height]
            assert [annotation["score"], *sides] == pytest.approx([each["score"], *each["box"].values()], abs=1e-9)
        else:
            inside = picture(b64decode(each["mask"]), "L") > 127
            np.testing.assert_array_equal(coco_masks.decode(annotation["segmentation"]), inside)


@pytest.mark.parametrize("model", MODELS)
def test_the_page_shows_the_numbers_of_the_json(page: Page, shipped_url: str, model: str) -> None:
    answer = predictions(shipped_url, model)
    show(page, model)
    rows = page.rows()
    if model == VECTOR:
        vector = answer[0]["embedding"]
        assert rows[0][:2] == [len(vector), pytest.approx(np.linalg.norm(vector))]
        assert [float(value) for value in rows[0][2].split(", ")] == pytest.approx(vector[:8], rel=1e-4)
        return
    shown = [[each["label"], each["score"] or 0, *each.get("box", {}).values()] for each in answer]
    assert [row[: len(expected)] for row, expected in zip(rows, shown, strict=True)] == shown


def test_boxes_of_the_page_and_of_the_drawn_picture_are_at_the_same_pixels(page: Page, shipped_url: str) -> None:
    """But where the edge of a neighbour is."""
    drawn = picture(asked(shipped_url, BOXES, accept="image/png").content)
    show(page, BOXES)
    shown = over_photo(page)
    found = predictions(shipped_url, BOXES)
    edges = [each["box"][side] for each in found for side in ("xmin", "xmax")]
    for each in found:
        colour = class_colour(each["class_id"])
        xmin, ymin, xmax, ymax = (round(each["box"][side]) for side in SIDES)
        middle, low = (xmin + xmax) // 2, (ymin + 3 * ymax) // 4
        for x, y in [(xmin, low), (xmax - 1, low), (middle, ymax - 1)]:
            assert drawn[y, x].tolist() == list(colour)
            if sum(abs(x - edge) < 10 for edge in edges) <= 1:
                assert np.abs(shown[y, x] - np.array(colour)).max() <= NEAR


def test_the_mask_of_the_page_and_of_the_drawn_picture_have_the_same_pixels(page: Page, shipped_url: str) -> None:
    """Inside and outside; the drawn picture has an outline, and a list of the labels."""
    mask = picture(b64decode(predictions(shipped_url, MASK)[0]["mask"]), "L")
    drawn = picture(asked(shipped_url, MASK, accept="image/png").content)
    show(page, MASK)
    page.slide("Opacity", DRAWN_OPACITY)
    outline = cv2.morphologyEx((mask > 127).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((9, 9), np.uint8)) > 0
    with_list = np.zeros_like(outline)
    with_list[:60, :200] = True
    assert_near(over_photo(page), drawn, ~outline & ~with_list)


def test_the_heat_map_of_the_page_and_of_the_drawn_picture_have_the_same_pixels(page: Page, shipped_url: str) -> None:
    """But the circle that the page draws around the peak."""
    explanation = asked(shipped_url, LABELS, "explain").json()["explanation"]
    drawn = picture(asked(shipped_url, LABELS, "explain", "image/png").content)
    show(page, LABELS)
    page.click("button", "Why?")
    page.find(".why", "Red places matter most")
    facts = dict(page.rows(".why table"))
    assert facts["passes"] == str(explanation["passes"])
    assert facts["peak"] == f"x {explanation['peak']['x']}, y {explanation['peak']['y']}"
    page.slide("Opacity", DRAWN_HEAT)
    circle = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(circle, tuple(explanation["peak"].values()), 40, 255, cv2.FILLED)
    assert_near(over_photo(page), drawn, circle == 0)


def show(page: Page, model: str) -> None:
    page.select(model)
    page.choose(PHOTO)
    page.find(".headline:not(.muted)")


def over_photo(page: Page) -> Pixels:
    """The photo with the page's canvas over it, which gets as many pixels as the photo has."""
    width = page.browser.execute_script("return document.querySelector('.frame canvas').getBoundingClientRect().width")
    page.size(1280, 1400, scale=WIDTH / width)
    for selector in (".predictions tbody tr", ".headline"):  # the page draws again
        ActionChains(page.browser).move_to_element(page.find(selector)).perform()
    page.until(f"document.querySelector('.frame canvas').width === {WIDTH}")
    page.until_drawn()
    url = page.browser.execute_script("return document.querySelector('.frame canvas').toDataURL()")
    with Image.open(BytesIO(b64decode(url.partition(",")[2]))) as canvas, Image.open(PHOTO) as photo:
        return np.asarray(Image.alpha_composite(photo.convert("RGBA"), canvas).convert("RGB"))


def assert_near(one: Pixels, other: Pixels, where: NDArray[np.bool_]) -> None:
    assert where.mean() > 0.8
    assert np.abs(one.astype(int) - other)[where].max() <= NEAR
