from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFont

from engine.drawing import (
    FONT,
    MEDIA_TYPES,
    PALETTE,
    Drawer,
    UndrawableError,
    check_drawable,
    class_colour,
    encode,
    text_colour,
)
from engine.tasks.predictions import Box, Detection, Prediction
from loaders.images.base import ImageInfo, Picture
from loaders.repository.specs.model_spec import TaskName
from tests.engine.drawing.drawings import CASES, GOLDEN, HEIGHT, WIDTH, drawn, picture
from tests.pictures import Pixels, scene


def grey(width: int, height: int) -> Picture:
    return Picture(np.full((height, width, 3), 90, np.uint8), ImageInfo("PNG", width, height))


def plate_pixels(pixels: Pixels, class_id: int) -> int:
    """Pixels of the class's colour, those of the letters not counted."""
    return int((pixels == class_colour(class_id)).all(axis=2).sum())


@pytest.mark.parametrize("name", CASES)
def test_drawing_equals_the_golden_picture(name: str) -> None:
    golden = np.asarray(Image.open(GOLDEN / f"{name}.png"))
    np.testing.assert_array_equal(drawn(name), golden)


def test_the_outermost_pixels_of_a_frame_are_those_of_the_box() -> None:
    pixels = Drawer()(grey(200, 150), [Detection("x", 3, 1.0, Box(49.6, 60.2, 120.4, 99.5))])
    ys, xs = np.nonzero((pixels[60:] == class_colour(3)).all(axis=2))  # the label is above
    assert (xs.min(), xs.max() + 1) == (50, 120)
    assert (ys.min() + 60, ys.max() + 61) == (60, 100)
    assert (pixels[70:90, 60:110] == 90).all()


@pytest.mark.parametrize(
    "box", [Box(0, 0, 60, 60), Box(140, 0, 200, 60), Box(190, 140, 200, 150), Box(0, 100, 40, 150), Box(60, 5, 120, 99)]
)
def test_labels_stay_inside_the_picture(box: Box) -> None:
    def label_only(picture: Picture, box: Box) -> int:
        with_text = Drawer()(picture, [Detection("label", 3, 0.5, box)])
        return int((with_text == text_colour(class_colour(3))).all(axis=2).sum())

    assert label_only(grey(200, 150), box) == label_only(grey(200, 150), Box(60, 60, 120, 120)) > 0


def contrast(*colours: tuple[int, ...]) -> float:
    """By WCAG 2.2."""
    levels = [np.array(colour) / 255 for colour in colours]
    linear = [np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4) for level in levels]
    darker, lighter = sorted(float(parts @ (0.2126, 0.7152, 0.0722)) + 0.05 for parts in linear)
    return lighter / darker


def test_labels_are_readable_on_the_colour_of_every_class() -> None:
    assert len(set(PALETTE)) == len(PALETTE)
    for colour in PALETTE:
        assert contrast(text_colour(colour), colour) >= 4.5, colour


def test_the_shipped_font_has_letters_with_accents() -> None:
    font = ImageFont.truetype(FONT, 20)
    missing = bytes(font.getmask("\uffff"))
    assert all(bytes(font.getmask(letter)) != missing for letter in "éŁßøčğΩЖ…")


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 500), (500, 1), (20, 8)])
def test_every_prediction_can_be_drawn_on_a_tiny_picture(size: tuple[int, int]) -> None:
    without_maps: list[Prediction] = [
        prediction for case in CASES.values() for prediction in case if not hasattr(prediction, "mask")
    ]
    for prediction in without_maps[:-2]:  # not the depth map, which has a size of its own
        assert Drawer()(grey(*size), [prediction]).shape == (size[1], size[0], 3)


def test_the_best_prediction_is_drawn_last() -> None:
    box = Box(40, 60, 120, 110)
    pixels = Drawer()(grey(200, 150), [Detection("best", 1, 0.9, box), Detection("other", 2, 0.8, box)])
    assert tuple(pixels[109, 80]) == class_colour(1)


def test_white_is_behind_transparent_pixels() -> None:
    pixels = scene(WIDTH, HEIGHT)
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:, :80] = 0
    drawn_picture = Drawer()(Picture(pixels, ImageInfo("PNG", WIDTH, HEIGHT, alpha=True), alpha), [])
    assert (drawn_picture[:, :80] == 255).all()
    np.testing.assert_array_equal(drawn_picture[:, 80:], pixels[:, 80:])


def test_the_given_pixels_are_not_changed() -> None:
    given = picture()
    before = given.pixels.copy()
    Drawer()(given, CASES["instances"])
    np.testing.assert_array_equal(given.pixels, before)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_pictures_are_encoded_as_their_media_type(media_type: str) -> None:
    pixels = scene(WIDTH, HEIGHT)
    image = Image.open(BytesIO(encode(pixels, media_type)))
    assert image.get_format_mimetype() == media_type
    assert np.abs(np.asarray(image, np.int16) - pixels).mean() < (0.1 if media_type == "image/png" else 4)


def test_a_side_that_the_format_does_not_allow_is_an_error() -> None:
    with pytest.raises(UndrawableError, match=r"image/webp allows 16,383 pixels a side, this picture has 16384 x 1"):
        encode(np.zeros((1, 16_384, 3), np.uint8), "image/webp")


@pytest.mark.parametrize("task", TaskName)
def test_answers_without_a_place_in_the_picture_are_an_error(task: TaskName) -> None:
    if task in (TaskName.IMAGE_FEATURE_EXTRACTION, TaskName.TENSOR):
        with pytest.raises(UndrawableError, match=f"task {task} cannot be drawn"):
            check_drawable(task)
    else:
        check_drawable(task)
