"""Draws predictions on their picture, and encodes the result.

| prediction | drawing |
|---|---|
| classification, text | A list in the top left corner, with a bar for each score. |
| detection | A box, or its four corners if it is rotated, with label and score; landmarks as dots. |
| keypoints | The same, dots, and lines for the skeleton. |
| segment | A tint and an outline; a box if it is an instance, otherwise a line of the list. |
| depth map | A colour map in place of the picture, dark at the minimum. |

Colours are those of the class. Widths and letters grow with the picture's diagonal.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engine.tasks.masks import from_png
from engine.tasks.predictions import (
    Box,
    Classification,
    DepthMap,
    Detection,
    FaceDetection,
    GeneratedText,
    InstanceSegment,
    KeypointDetection,
    OrientedDetection,
    Point,
    Prediction,
    Segment,
)
from loaders.images.base import Picture, Size
from loaders.images.pixels import composite
from loaders.repository.specs.model_spec import TaskName

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

FONT = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
PALETTE: tuple[Colour, ...] = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (67, 99, 216), (245, 130, 49), (145, 30, 180), (66, 212, 244),
    (240, 50, 230), (191, 239, 69), (250, 190, 212), (70, 153, 144), (220, 190, 255), (154, 99, 36), (255, 250, 200),
    (128, 0, 0), (170, 255, 195), (128, 128, 0), (255, 216, 177), (0, 0, 117), (169, 169, 169),
)  # fmt: skip
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
# Keypoints with lower scores are left out.
LEAST_KEYPOINT_SCORE = 0.25

_UNDRAWN = (TaskName.IMAGE_FEATURE_EXTRACTION, TaskName.TENSOR)
_LIST_BACKGROUND: Colour = (32, 32, 32)
_EQUAL_CONTRAST = 0.179  # the luminance on which black and white have the same contrast
_BEHIND_TRANSPARENT = 255
_OPACITY = 0.45  # of a mask
_BAND_ROWS = 64  # tinted at once, so that floats stay small
_SUBPIXEL_BITS = 4  # of OpenCV's coordinates
_ELLIPSIS = "…"
_LONGEST_TEXT = 200  # characters
_FAR_OUTSIDE = 1e6  # pixels; corners further away would overflow

# By media type: OpenCV's suffix and parameters, and the longest side of the format.
_ENCODINGS: dict[str, tuple[str, tuple[int, ...], int]] = {
    "image/jpeg": (".jpg", (cv2.IMWRITE_JPEG_QUALITY, 92), 65_500),
    "image/webp": (".webp", (cv2.IMWRITE_WEBP_QUALITY, 90), 16_383),
    "image/png": (".png", (cv2.IMWRITE_PNG_COMPRESSION, 1), 2**31 - 1),
}
MEDIA_TYPES = tuple(_ENCODINGS)


class UndrawableError(Exception):
    """An answer or a picture that cannot be drawn or encoded. The message says why."""


def check_drawable(task: TaskName) -> None:
    """Raises UndrawableError for tasks whose predictions have no place in the picture."""
    if task in _UNDRAWN:
        raise UndrawableError(f"Answers of the task {task} cannot be drawn on a picture; ask for JSON.")


def check_font(file: Path) -> None:
    """Raises ValueError if the file is not a TrueType or OpenType font."""
    try:
        _load_font(file, 12)
    except OSError as error:
        raise ValueError(f"not a TrueType or OpenType font: {error}") from None


def check_sides(size: Size, media_type: str) -> None:
    """Raises UndrawableError for a picture too long for the format, one of MEDIA_TYPES."""
    longest = _ENCODINGS[media_type][2]
    if max(size.height, size.width) > longest:
        raise UndrawableError(
            f"{media_type} allows {longest:,} pixels a side, this picture has {size.width} x {size.height}; "
            "accept image/png."
        )


def encode(pixels: Pixels, media_type: str) -> bytes:
    """(H, W, 3) RGB or (H, W) grey as one of MEDIA_TYPES, without metadata. Raises UndrawableError as `check_sides`."""
    check_sides(Size(pixels.shape[1], pixels.shape[0]), media_type)
    suffix, parameters, _ = _ENCODINGS[media_type]
    stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(suffix, stored, parameters)
    return data.tobytes()


def opaque_copy(picture: Picture) -> Pixels:
    """A copy to draw on: (H, W, 3), RGB. White is behind transparent pixels."""
    if picture.alpha is None:
        return picture.pixels.copy()
    return composite(picture.pixels, picture.alpha, _BEHIND_TRANSPARENT)


def class_colour(class_id: int) -> Colour:
    return PALETTE[class_id % len(PALETTE)]


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever has the higher contrast (WCAG 2.2); it is always above 4.5."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in background)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return BLACK if luminance > _EQUAL_CONTRAST else WHITE


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the list; `share` of its width is underlined."""

    text: str
    colour: Colour
    share: float = 1.0


class Drawer:
    """Draws with one font: a TrueType or OpenType file, by default DejaVu Sans. May be used from many threads."""

    def __init__(self, font: Path | None = None) -> None:
        self._font = font or FONT

    def __call__(self, picture: Picture, predictions: Sequence[Prediction]) -> Pixels:
        """A drawn copy of a picture that was decoded in full: (H, W, 3), RGB. White is behind transparent pixels."""
        canvas = opaque_copy(picture)
        sheet = _Sheet(canvas, self._font)
        for prediction in reversed(predictions):  # the best is on top
            sheet.draw_shape(prediction)
        for prediction in reversed(predictions):
            if isinstance(prediction, Detection | InstanceSegment):
                sheet.draw_label(prediction)
        sheet.draw_list([row for prediction in predictions for row in _rows(prediction)])
        return canvas


def _rows(prediction: Prediction) -> Iterable[_Row]:
    match prediction:
        case InstanceSegment():
            return
        case Classification(label, class_id, score):
            yield _Row(f"{label} {score:.2f}", class_colour(class_id), score)
        case Segment(label, class_id, score):
            yield _Row(label if score is None else f"{label} {score:.2f}", class_colour(class_id))
        case GeneratedText(text, score):
            yield _Row(f"{text} {score:.2f}", class_colour(0), score)
        case DepthMap(minimum=minimum, maximum=maximum):
            yield _Row(f"minimum {minimum:.4g}", _depth_colour(0))
            yield _Row(f"maximum {maximum:.4g}", _depth_colour(255))


class _Sheet:
    """A picture that is drawn on in place."""

    def __init__(self, canvas: Pixels, font: Path) -> None:
        self._canvas = canvas
        self._height, self._width = canvas.shape[:2]
        diagonal = math.hypot(self._height, self._width)
        self._line = max(2, round(diagonal / 400))
        self._font = _load_font(font, max(12, round(diagonal / 50)))
        self._padding = self._line + 1
        self._text_height = sum(self._font.getmetrics())

    def draw_shape(self, prediction: Prediction) -> None:
        """All but text."""
        match prediction:
            case Segment(class_id=class_id, mask=mask):
                self._tint(from_png(mask), class_colour(class_id))
            case DepthMap(depth=depth):
                levels = (from_png(depth) >> 8).astype(np.uint8)
                self._canvas[:] = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[:, :, ::-1]
        match prediction:
            case OrientedDetection(class_id=class_id, corners=corners):
                self._lines(corners, class_colour(class_id), closed=True)
            case Detection(class_id=class_id, box=box) | InstanceSegment(class_id=class_id, box=box):
                self._frame(box, class_colour(class_id))
        match prediction:
            case FaceDetection(class_id=class_id, landmarks=landmarks):
                self._dots(landmarks, class_colour(class_id))
            case KeypointDetection():
                self._keypoints(prediction)

    def draw_label(self, prediction: Detection | InstanceSegment) -> None:
        """Above the box, or inside it where there is no room, and never beyond the picture's borders."""
        box, colour = prediction.box, class_colour(prediction.class_id)
        text = prediction.label if prediction.score is None else f"{prediction.label} {prediction.score:.2f}"
        plate = self._plate(text, colour)
        height, width = plate.shape[:2]
        above = round(box.ymin) - height
        self._paste(plate, round(box.xmin), above if above >= 0 else round(box.ymin), width)

    def draw_list(self, rows: Sequence[_Row]) -> None:
        """As many lines as fit, in the top left corner."""
        shown = rows[: max(1, self._height // (self._text_height + 2 * self._line))]
        plates = [self._plate(row.text, _LIST_BACKGROUND) for row in shown]
        width, top = max((plate.shape[1] for plate in plates), default=0), 0
        for row, plate in zip(shown, plates, strict=True):
            bar = np.full((2 * self._line, width, 3), _LIST_BACKGROUND, np.uint8)
            bar[: self._line, : round(width * row.share)] = row.colour
            self._paste(plate, 0, top, width)
            self._paste(bar, 0, top + len(plate), width)
            top += len(plate) + len(bar)

    def _plate(self, text: str, background: Colour) -> Pixels:
        """One line of text, shortened to the picture's width."""
        room = self._width - 2 * self._padding
        text = " ".join(text.split())[:_LONGEST_TEXT]
        if self._font.getlength(text) > room:
            while text and self._font.getlength(text + _ELLIPSIS) > room:
                text = text[:-1]
            text += _ELLIPSIS
        size = math.ceil(self._font.getlength(text)) + 2 * self._padding, self._text_height
        image = Image.new("RGB", size, background)
        ImageDraw.Draw(image).text((self._padding, 0), text, text_colour(background), self._font)
        return np.asarray(image)

    def _paste(self, plate: Pixels, left: int, top: int, width: int) -> None:
        """Moved and cut so that it stays inside the picture; the last column is repeated up to `width`."""
        left, top = max(0, min(left, self._width - width)), max(0, min(top, self._height - len(plate)))
        area = self._canvas[top : top + len(plate), left : left + width]
        area[:] = plate[: area.shape[0], -1:]
        part = plate[: area.shape[0], : area.shape[1]]
        area[:, : part.shape[1]] = part

    def _frame(self, box: Box, colour: Colour) -> None:
        """The outermost pixels of the frame are those of the box."""
        left, top = min(round(box.xmin), self._width - 1), min(round(box.ymin), self._height - 1)
        area = self._canvas[top : max(top + 1, round(box.ymax)), left : max(left + 1, round(box.xmax))]
        area[: self._line] = area[-self._line :] = colour
        area[:, : self._line] = area[:, -self._line :] = colour

    def _lines(self, points: Sequence[Point], colour: Colour, *, closed: bool = False) -> None:
        cv2.polylines(self._canvas, [_fixed_point(points)], closed, colour, self._line, cv2.LINE_AA, _SUBPIXEL_BITS)

    def _dots(self, points: Iterable[Point], colour: Colour) -> None:
        for point in points:
            centre = _fixed_point([point])[0].tolist()
            radius = (self._line + 1) << _SUBPIXEL_BITS
            cv2.circle(self._canvas, centre, radius, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)

    def _keypoints(self, prediction: KeypointDetection) -> None:
        points = {
            number: (keypoint.x, keypoint.y)
            for number, keypoint in enumerate(prediction.keypoints)
            if keypoint.score is None or keypoint.score >= LEAST_KEYPOINT_SCORE
        }
        for first, second in prediction.skeleton:
            if first in points and second in points:
                self._lines([points[first], points[second]], class_colour(prediction.class_id))
        self._dots(points.values(), class_colour(prediction.class_id))

    def _tint(self, mask: Pixels, colour: Colour) -> None:
        left, top, width, height = cv2.boundingRect(mask)
        for first in range(top, top + height, _BAND_ROWS):
            rows, columns = slice(first, min(first + _BAND_ROWS, top + height)), slice(left, left + width)
            band = self._canvas[rows, columns]
            weights = mask[rows, columns, None] * np.float32(_OPACITY / 255)
            band[:] = np.rint(band + (np.array(colour, np.float32) - band) * weights)
        _, inside = cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)
        outlines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(self._canvas, outlines, -1, colour, self._line, cv2.LINE_AA)


@lru_cache(16)
def _load_font(file: Path, size: int) -> ImageFont.FreeTypeFont:
    """Raises OSError if the file is not a font. Another layout engine would move the shipped font's letters."""
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC if file == FONT else None)


def _depth_colour(level: int) -> Colour:
    blue, green, red = cv2.applyColorMap(np.full((1, 1), level, np.uint8), cv2.COLORMAP_INFERNO)[0, 0].tolist()
    return red, green, blue


def _fixed_point(points: Sequence[Point]) -> NDArray[np.int32]:
    """For OpenCV, whose whole numbers are the centres of pixels; ours are their borders."""
    near = np.array(points, np.float64).clip(-_FAR_OUTSIDE, _FAR_OUTSIDE)
    return np.rint((near - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
