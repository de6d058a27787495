"""The page at / in a real browser, used as a person does: real files, keys and clicks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.engine.tasks.graphs import Thing, boxes_scores, constant_graph
from tests.tiny_models import add_model, colour_graph, slow_graph

WAIT_S = 60
SIZE = (640, 320)  # of `write_pictures`
BOXES = (Thing((16, 16, 48, 32), 0, 0.9), Thing((0, 0, 20, 40), 1, 0.6), Thing((32, 48, 64, 64), 2, 0.3))
_STRETCHED = '[preprocess]\nresize = "stretch"\nsize = [64, 64]\nmean = [0.0]\nstd = [1.0]\n'
_MASKS = {
    "class_queries_logits": np.array([[[9, 0, 0], [0, 9, 0]]], np.float32),
    "masks_queries_logits": np.array([[[[9, -9], [9, -9]], [[-9, 9], [-9, -9]]]], np.float32),
}
_POSE = np.zeros((1, 11, 20), np.float32)
_POSE[0, :, 0] = [32, 32, 16, 16, 0.9, 30, 30, 0.8, 34, 34, 0.7]
_EMBEDDING = 'task = "image-feature-extraction"\n'


def write_models(folder: Path) -> Path:
    """A model of each kind that the page draws. `colour`, the default, has two versions; `other` is less sure."""
    add_model(folder, "colour", colour_graph())
    add_model(folder, "colour", colour_graph(gain=20.0), version=2)
    add_model(folder, "other", colour_graph(gain=1.0))
    add_model(folder, "slow", slow_graph(rounds=60))
    boxes = 'task = "object-detection"\nhead = "boxes-scores"\nscore_threshold = 0.2\n' + _STRETCHED
    add_model(folder, "boxes", constant_graph(boxes_scores(BOXES)), spec=boxes, labels=["cat", "dog", "bird"])
    masks = 'task = "image-segmentation"\n' + _STRETCHED
    add_model(folder, "masks", constant_graph(_MASKS), spec=masks, labels=["sky", "grass"])
    pose = (
        'task = "keypoint-detection"\nkeypoint_shape = [2, 3]\nkeypoint_names = ["head", "tail"]\nskeleton = [[0, 1]]\n'
    )
    add_model(folder, "pose", constant_graph({"output0": _POSE}), spec=pose + _STRETCHED, labels=["animal"])
    depth = {"depth": np.arange(64, dtype=np.float32).reshape(1, 8, 8)}
    add_model(folder, "depth", constant_graph(depth), spec='task = "depth-estimation"\n' + _STRETCHED, labels=None)
    embedding = _EMBEDDING + '[preprocess]\nresize = "stretch"\nsize = [8, 8]\nmean = [0.0]\nstd = [1.0]\n'
    add_model(folder, "embed", colour_graph(), spec=embedding, labels=None)
    return folder


def one_colour_each(folder: Path, colours: Sequence[str]) -> list[Path]:
    """Small pictures, in files that the colours' positions name."""
    paths = [folder / f"{number}.png" for number in range(len(colours))]
    for path, colour in zip(paths, colours, strict=True):
        Image.new("RGB", (32, 24), colour).save(path)
    return paths


def write_pictures(folder: Path, *colours: str) -> list[Path]:
    """One PNG a colour, `<colour>.png`."""
    paths = [folder / f"{colour}.png" for colour in colours]
    for path in paths:
        Image.new("RGB", SIZE, path.stem).save(path)
    return paths


class Page:
    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser = browser
        self._url = url

    def open(self, hash_: str = "") -> None:
        """Waits until the models are listed, except in the operator's view."""
        self.browser.get(f"{self._url}/{hash_}")
        self.find("main" if hash_ else ".choices select")

    def size(self, width: int, height: int, scheme: str = "light", scale: float = 1) -> None:
        """The window's size, light or dark, and device pixels for each of its pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)

    def find(self, selector: str, text: str = "") -> WebElement:
        """The first shown element with this text in it; waits for it."""

        def found(_: object) -> WebElement | None:
            return next((element for element in self.all(selector) if self._has(element, text)), None)

        element = WebDriverWait(self.browser, WAIT_S, 0.05, ignored_exceptions=[Exception]).until(
            found, f"{selector} with {text!r}"
        )
        assert element
        return element

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def gone(self, selector: str) -> None:
        WebDriverWait(self.browser, WAIT_S, 0.05).until(lambda _: not self.all(selector), f"{selector} is there")

    def click(self, selector: str, text: str = "") -> None:
        element = self.find(selector, text)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def select(self, value: str, selector: str = ".choices select") -> None:
        Select(self.find(selector)).select_by_value(value)

    def choose(self, *paths: Path) -> None:
        """Through the file dialog's input."""
        [pick] = self.all("#pick")
        pick.send_keys("\n".join(map(str, paths)))

    def drop(self, *paths: Path) -> None:
        """Drags files from the desktop and drops them on the page."""
        self._drop({"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1})

    def drop_link(self, url: str) -> None:
        """As from another tab that gives the picture's address."""
        self._drop({"items": [{"mimeType": "text/uri-list", "data": url}], "dragOperationsMask": 1})

    def _drop(self, data: dict[str, Any]) -> None:
        for kind in ("dragEnter", "dragOver", "drop"):
            event = {"type": kind, "x": 400, "y": 300, "data": data}
            self.browser.execute_cdp_cmd("Input.dispatchDragEvent", event)

    def press(self, keys: str, until: str = "") -> None:
        """Presses keys; with `until` and Tab again and again, until the selector finds something."""
        for _ in range(60 if until and Keys.TAB in keys else 1):
            ActionChains(self.browser).send_keys(keys).perform()
            if until and self.all(until):
                return
        if until:
            self.find(until)

    def is_shown(self, selector: str) -> bool:
        """Whether all of the first element is in the window."""
        script = (
            "const {left, top, right, bottom} = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight"
        )
        return bool(self.browser.execute_script(script, selector))

    def slide(self, name: str, value: float) -> None:
        """Sets a slider and releases it."""
        script = (
            "const [name, value] = arguments;"
            "const label = [...document.querySelectorAll('.slider')].find((l) => l.textContent.includes(name));"
            "const input = label.querySelector('input'); input.value = value;"
            "for (const type of ['input', 'change']) input.dispatchEvent(new Event(type, {bubbles: true}));"
        )
        self.browser.execute_script(script, name, value)

    def rows(self, selector: str = ".panel .scroll table") -> list[list[Any]]:
        """Each row of a table: the label's text, and the exact numbers behind what is shown."""
        script = (
            "return [...document.querySelector(arguments[0]).tBodies[0].rows].map((row) => [...row.cells]"
            ".map((cell) => {const data = cell.querySelector('data');"
            "return data ? Number(data.value) : cell.innerText.trim()}))"
        )
        rows: list[list[Any]] = self.browser.execute_script(script, selector)
        return rows

    def pixels(
        self, points: Sequence[tuple[float, float]], image: tuple[int, int] = SIZE, at: int = 0
    ) -> list[list[int]]:
        """RGBA of the drawing at points of the picture, in the picture's own pixels."""
        script = (
            "const [points, [width, height], at] = arguments;"
            "const canvas = document.querySelectorAll('.frame canvas')[at];"
            "const context = canvas.getContext('2d');"
            "const inside = (value, most) => Math.min(most - 1, value);"
            "return points.map(([x, y]) => [...context.getImageData("
            "inside(x * canvas.width / width, canvas.width), inside(y * canvas.height / height, canvas.height),"
            "1, 1).data])"
        )
        found: list[list[int]] = self.browser.execute_script(script, list(map(list, points)), list(image), at)
        return found

    def drawn(self, point: tuple[float, float], *, at: int = 0) -> bool:
        """Whether something opaque is drawn at a point."""
        return self.pixels([point], at=at)[0][3] > 200

    def until(self, happens: str) -> None:
        """Waits for an expression of JavaScript to be true."""
        WebDriverWait(self.browser, WAIT_S, 0.05).until(
            lambda _: self.browser.execute_script(f"return Boolean({happens})"), happens
        )

    def until_drawn(self) -> None:
        """Until the drawing has a pixel."""
        canvas = "document.querySelector('.frame canvas')"
        self.until(f"{canvas}.getContext('2d').getImageData(0, 0, {canvas}.width, {canvas}.height).data.some(Boolean)")

    def allow_clipboard(self) -> None:
        permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        self.browser.execute_cdp_cmd("Browser.grantPermissions", {"permissions": permissions})

    def offline(self, is_offline: bool) -> None:
        self.browser.execute_cdp_cmd("Network.enable", {})
        conditions = {"offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def record_bodies(self) -> None:
        """Keeps the SHA-256 of each body that is sent as it is."""
        self.browser.execute_script(
            "window.bodies = []; const real = fetch; window.fetch = async (url, options) => {"
            "if (options?.body instanceof Blob) {"
            "const hash = await crypto.subtle.digest('SHA-256', await options.body.arrayBuffer());"
            "const hex = [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0'));"
            "window.bodies.push(hex.join(''));}"
            "return real(url, options);}"
        )

    def bodies(self) -> list[str]:
        found: list[str] = json.loads(self.browser.execute_script("return JSON.stringify(window.bodies)"))
        return found

    def _has(self, element: WebElement, text: str) -> bool:
        return element.is_displayed() and text in element.text
