"""The page, drawn pictures, the command line and every HTTP and gRPC interface agree on the shipped models' answers."""

import csv
import json
from base64 import b64decode, b64encode
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import openai
import pytest
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_masks
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains

from engine.drawing import class_colour
from tests import plain_http
from tests.command_line import CommandLine
from tests.e2e.page import Page
from tests.paths import PHOTOS

LABELS, BOXES, MASK, VECTOR = MODELS = ("efficientnet-lite0", "picodet-s-416", "u2netp", "efficientnet-lite0-embed")
PHOTO = PHOTOS / "gcompris_farm_chicken.webp"
WIDTH, HEIGHT = 1024, 683
SIDES = ("xmin", "ymin", "xmax", "ymax")
DRAWN_OPACITY, DRAWN_HEAT = 0.45, 0.75  # of masks and heat maps in drawn pictures
WAIT_S = 120.0  # of each request; models load on a busy machine
NEAR = 4  # levels of 255: the browser blends otherwise, and the page has some of the colours of a map
Pixels = NDArray[np.uint8]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine({}, monkeypatch, capsys)


@pytest.fixture
def page(browser: webdriver.Chrome, shipped_url: str) -> Page:
    page = Page(browser, shipped_url)
    page.size(1280, 1400)
    page.open()
    return page


def asked(url: str, model: str, path: str = "infer", accept: str = "application/json") -> httpx.Response:
    headers = {"Accept": accept}
    return plain_http.post(f"{url}/{path}?model={model}", content=PHOTO.read_bytes(), headers=headers, timeout=WAIT_S)


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
def test_every_interface_and_the_page_give_the_same_answer(
    page: Page, shipped_url: str, shipped_grpc_port: int, model: str
) -> None:
    """In the precision of each: float32 in the Open Inference Protocol, whole pixels for Hugging Face and DeepStack."""
    answer = predictions(shipped_url, model)
    outputs = [
        by_v2_json(shipped_url, model),
        by_tritonclient(tritonclient.http, shipped_url.removeprefix("http://"), model),
        by_tritonclient(tritonclient.grpc, f"127.0.0.1:{shipped_grpc_port}", model),
    ]
    hugging_face = plain_http.post(f"{shipped_url}/hf/{model}", content=PHOTO.read_bytes(), timeout=WAIT_S).json()
    assert isinstance(hugging_face, list), hugging_face
    show(page, model)
    rows = page.rows()
    if model == VECTOR:
        vector = np.array(answer[0]["embedding"], np.float32)
        for found in (*outputs, {"embedding": hugging_face}, {"embedding": [by_openai(shipped_url, model)]}):
            np.testing.assert_array_equal(np.array(found["embedding"], np.float32), [vector])
        assert rows[0][:2] == [len(vector), pytest.approx(np.linalg.norm(vector))]
        assert [float(value) for value in rows[0][2].split(", ")] == pytest.approx(vector[:8].tolist(), rel=1e-4)
        return
    shown = [[each["label"], each["score"] or 0, *each.get("box", {}).values()] for each in answer]
    assert [row[: len(expected)] for row, expected in zip(rows, shown, strict=True)] == shown
    for found in outputs:
        assert found["label"] == [[each["label"] for each in answer]]
        scores = [-1 if each["score"] is None else each["score"] for each in answer]
        np.testing.assert_array_equal(np.array(found["score"], np.float32), np.array([scores], np.float32))
        if model == BOXES:
            boxes = np.array([[list(each["box"].values()) for each in answer]], np.float32)
            np.testing.assert_array_equal(np.array(found["box"], np.float32).reshape(boxes.shape), boxes)
    assert [(each["label"], each["score"]) for each in hugging_face] == [(e["label"], e["score"]) for e in answer]
    if model == BOXES:
        whole = [[int(each["box"][side]) for side in SIDES] for each in answer]
        assert [[each["box"][side] for side in SIDES] for each in hugging_face] == whole
        by_deepstack = plain_http.post(
            f"{shipped_url}/v1/vision/detection", files={"image": PHOTO.read_bytes()}, timeout=WAIT_S
        )
        assert by_deepstack.json()["predictions"] == [
            {"label": each["label"], "confidence": each["score"]}
            | {f"{side[0]}_{side[1:]}": pixel for side, pixel in zip(SIDES, box, strict=True)}
            for each, box in zip(answer, whole, strict=True)
        ]
    if model == MASK:
        assert [each["mask"] for each in hugging_face] == [each["mask"] for each in answer]
        masks = [b64decode(each["mask"]) for each in answer]
        assert [found["mask"] for found in outputs] == [[[each["mask"] for each in answer]], [masks], [masks]]


def by_v2_json(url: str, model: str) -> dict[str, Any]:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [b64encode(PHOTO.read_bytes()).decode()]}
    done = plain_http.post(f"{url}/v2/models/{model}/infer", json={"inputs": [tensor]}, timeout=WAIT_S).json()
    return {output["name"]: [output["data"]] for output in done["outputs"]}


def by_tritonclient(module: Any, address: str, model: str) -> dict[str, Any]:  # noqa: ANN401 - without annotations
    tensor = module.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([PHOTO.read_bytes()], object))
    with closing(module.InferenceServerClient(address)) as client:
        result = client.infer(model, [tensor])
    arrays = {name: result.as_numpy(name) for name in ("label", "score", "box", "mask", "embedding")}
    found = {name: array.tolist() for name, array in arrays.items() if array is not None}
    return found | {"label": [[label.decode() for label in row] for row in found.get("label", [])]}


def by_openai(url: str, model: str) -> list[float]:
    data = f"data:image/webp;base64,{b64encode(PHOTO.read_bytes()).decode()}"
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=WAIT_S) as client:
        [item] = client.embeddings.create(model=model, input=data).data
    return item.embedding


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
