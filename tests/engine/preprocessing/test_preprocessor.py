"""Tensors against the reference: a full Pillow resize, then the crop or the padding, then float64 arithmetic.

Pillow 13 resizes down first where the height loses more than twice as many pixels as the width. Models were trained
with the order of older versions, so that is the reference.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import product
from math import ceil

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from engine.preprocessing.preprocessor import Preprocessor
from loaders.images.base import ImageInfo, Picture, Size
from loaders.repository.specs.model_spec import Color, Interpolation, PreprocessSpec, Resize, Rounding
from loaders.tensors import Tensor

Pixels = NDArray[np.uint8]

# An exact preprocessor is equal in every bit. Otherwise sums are in float32: a value near the border between two levels
# may be rounded to the other, in each of the two passes.
MAX_LEVELS = 2
MAX_DIFFERING = {"bilinear": 0.02, "bicubic": 0.0005, "lanczos": 0.0005}  # of noise at simple ratios
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
OPENCV = {"opencv-linear": cv2.INTER_LINEAR, "opencv-cubic": cv2.INTER_CUBIC}


def make_spec(**fields: object) -> PreprocessSpec:
    defaults: dict[str, object] = {"size": (20, 24), "layout": "NCHW", "dtype": "float32"}
    return PreprocessSpec.model_validate(defaults | fields)


def noise(width: int, height: int, seed: int = 1) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def picture_of(pixels: Pixels) -> Picture:
    return Picture(pixels, ImageInfo("PNG", pixels.shape[1], pixels.shape[0]))


def reference_layout(width: int, height: int, spec: PreprocessSpec) -> tuple[tuple[int, int], tuple[int, int]]:
    """(width, height) to resize to, and the top left corner, in exact arithmetic."""
    assert spec.size is not None
    target_height, target_width = spec.size
    to_int: dict[Rounding, Callable[[Fraction], int]] = {Rounding.DOWN: int, Rounding.NEAREST: round, Rounding.UP: ceil}
    cut = to_int[spec.resize_rounding]
    if spec.resize is Resize.SHORTEST_EDGE:
        ratio = Fraction(spec.shortest_edge or min(spec.size), min(width, height))
    else:
        ratio = min(Fraction(target_width, width), Fraction(target_height, height))
    resized = max(1, cut(width * ratio)), max(1, cut(height * ratio))
    if spec.resize is Resize.STRETCH:  # to the target's ratio; beyond it where the centre is then cropped
        ratio = Fraction(spec.shortest_edge or min(spec.size), min(spec.size))
        resized = cut(target_width * ratio), cut(target_height * ratio)
    if spec.resize is Resize.LONGEST_EDGE:
        return resized, (0, 0)
    spaces = target_width - resized[0], target_height - resized[1]
    left, top = (space // 2 if space >= 0 else -to_int[spec.crop_rounding](Fraction(-space, 2)) for space in spaces)
    return resized, (left, top)


def reference_resize(image: Image.Image, size: tuple[int, int], interpolation: str) -> Image.Image:
    """Resize the whole picture across and then down, as Pillow before 13 does, and 13 for most pictures."""
    if interpolation in OPENCV:
        resized = (
            image if size == image.size else cv2.resize(np.asarray(image), size, interpolation=OPENCV[interpolation])
        )
        return Image.fromarray(np.asarray(resized, np.uint8))
    resampling = RESAMPLING[interpolation]
    if resampling is Image.Resampling.NEAREST:
        return image.resize(size, resampling)
    return image.resize((size[0], image.height), resampling).resize(size, resampling)


def reference_pixels(pixels: Pixels, spec: PreprocessSpec) -> Pixels:
    """(H, W, C), in the spec's channel order."""
    assert spec.size is not None
    image = Image.fromarray(pixels)
    if spec.color is Color.GRAY:
        image = image.convert("L")
    resized, corner = reference_layout(image.width, image.height, spec)
    fill = tuple(int(level) for level in np.resize(spec.pad_value, len(image.getbands())))
    canvas = Image.new(image.mode, (spec.size[1], spec.size[0]), fill)
    canvas.paste(reference_resize(image, resized, spec.interpolation.value), corner)
    array = np.asarray(canvas).reshape(canvas.height, canvas.width, -1)
    return array[:, :, ::-1] if spec.color is Color.BGR else array


def reference(pixels: Pixels, spec: PreprocessSpec) -> Tensor:
    values = (reference_pixels(pixels, spec).astype(np.float64) * spec.rescale_factor - spec.mean) / spec.std
    if spec.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    if spec.dtype == "uint8":
        values = np.clip(np.rint(values), 0, 255)
    assert spec.dtype is not None
    return values[np.newaxis].astype(spec.dtype)


def assert_equals_reference(pixels: Pixels, spec: PreprocessSpec) -> None:
    expected = reference(pixels, spec)
    tensor = Preprocessor(spec, exact_decode=True)(picture_of(pixels))
    assert (tensor.shape, tensor.dtype) == (expected.shape, expected.dtype)
    assert tensor.flags.c_contiguous
    if spec.interpolation is Interpolation.NEAREST:
        assert_differ_at_ties_only(tensor, expected, pixels, spec)
        return
    np.testing.assert_array_equal(tensor, expected)
    level = spec.rescale_factor / min(spec.std)
    rounding = 0.0 if spec.dtype == "uint8" else float(np.finfo(tensor.dtype).eps * np.abs(expected).max())
    usual = Preprocessor(spec)(picture_of(pixels))
    assert (usual.shape, usual.dtype, usual.flags.c_contiguous) == (expected.shape, expected.dtype, True)
    difference = np.abs(usual.astype(np.float64) - expected.astype(np.float64))
    assert difference.max() <= MAX_LEVELS * level + rounding


def assert_differ_at_ties_only(tensor: Tensor, expected: Tensor, pixels: Pixels, spec: PreprocessSpec) -> None:
    """A coordinate exactly between two pixels has no nearest one."""
    assert spec.size is not None
    height, width = pixels.shape[:2]
    resized, corner = reference_layout(width, height, spec)
    columns, rows = (
        [i for i in range(target) if (Fraction(2 * (i - offset) + 1, 2) * source / side).denominator == 1]
        for target, offset, source, side in zip(spec.size[::-1], corner, (width, height), resized, strict=True)
    )
    y_axis, x_axis = (2, 3) if spec.layout == "NCHW" else (1, 2)
    differ = np.delete(np.delete(tensor != expected, rows, y_axis), columns, x_axis)
    assert not differ.any()


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("resize", ["shortest-edge", "stretch", "letterbox", "longest-edge"])
def test_every_combination_equals_the_reference(resize: str, interpolation: str) -> None:
    for layout, color, dtype in product(("NCHW", "NHWC"), ("RGB", "BGR", "GRAY"), ("float32", "float16", "uint8")):
        spec = make_spec(
            resize=resize,
            interpolation=interpolation,
            layout=layout,
            color=color,
            dtype=dtype,
            pad_value=114,
            rescale_factor=1.0 if dtype == "uint8" else 1 / 255,
            mean=(0.0,) if dtype == "uint8" else (0.45,) if color == "GRAY" else MEAN,
            std=(1.0,) if dtype == "uint8" else (0.22,) if color == "GRAY" else STD,
        )
        for width, height in ((97, 61), (61, 97), (13, 11), (24, 20)):
            assert_equals_reference(noise(width, height), spec)


specs = st.builds(
    make_spec,
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    resize=st.sampled_from((Resize.STRETCH, Resize.SHORTEST_EDGE, Resize.LETTERBOX, Resize.LONGEST_EDGE)),
    shortest_edge=st.one_of(st.none(), st.integers(1, 50)),
    interpolation=st.sampled_from(Interpolation),
    resize_rounding=st.sampled_from(Rounding),
    crop_rounding=st.sampled_from(Rounding),
    pad_value=st.integers(0, 255),
    color=st.sampled_from(Color),
    layout=st.sampled_from(("NCHW", "NHWC")),
    dtype=st.just("uint8"),
    rescale_factor=st.just(1.0),
)
odd_sizes = st.one_of(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.just(1), st.integers(1, 300)),
    st.tuples(st.integers(1, 300), st.just(1)),
    st.tuples(st.integers(200, 400), st.integers(2, 6)),
)


@given(specs, odd_sizes, st.integers(0, 2**31))
def test_odd_sizes_equal_the_reference(spec: PreprocessSpec, size: tuple[int, int], seed: int) -> None:
    assert_equals_reference(noise(*size, seed), spec)


@pytest.mark.parametrize("interpolation", list(MAX_DIFFERING))
def test_most_values_are_equal_in_every_bit(interpolation: str) -> None:
    """Over many sizes, so that the bound for one picture does not hide a small shift."""
    spec = make_spec(size=(32, 32), shortest_edge=36, interpolation=interpolation, dtype="uint8", rescale_factor=1.0)
    unequal = values = 0
    for width, height in product(range(40, 130, 11), range(40, 130, 13)):
        pixels = noise(width, height)
        tensor, expected = Preprocessor(spec)(picture_of(pixels)), reference(pixels, spec)
        unequal += int(np.count_nonzero(tensor != expected))
        values += tensor.size
    assert unequal / values <= MAX_DIFFERING[interpolation]


@pytest.mark.parametrize("size", [(1500, 1100), (1100, 1500), (3000, 40), (40, 3000)])
def test_large_pictures_in_several_bands_equal_the_reference(size: tuple[int, int]) -> None:
    assert_equals_reference(noise(*size), make_spec(size=(48, 56), interpolation="bicubic", resize="stretch"))


def test_tensors_share_no_memory_and_are_reproducible() -> None:
    preprocessor, picture = Preprocessor(make_spec(interpolation="bicubic")), picture_of(noise(90, 70))
    first, second = preprocessor(picture), preprocessor(picture)
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, second)


def test_parallel_threads_get_equal_tensors() -> None:
    preprocessor = Preprocessor(make_spec(interpolation="bicubic"))
    pictures = [picture_of(noise(60 + n % 7, 50 + n % 5, n)) for n in range(40)]
    alone = [preprocessor(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for tensor, expected in zip(pool.map(preprocessor, pictures), alone, strict=True):
                np.testing.assert_array_equal(tensor, expected)


@pytest.mark.parametrize(("color", "expected"), [("RGB", [255, 0, 10]), ("BGR", [10, 0, 255]), ("GRAY", [77])])
def test_channels_have_the_order_of_the_spec(color: str, expected: list[int]) -> None:
    """Grey by ITU-R 601: 0.299 R + 0.587 G + 0.114 B."""
    red = np.zeros((5, 4, 3), np.uint8)
    red[:] = (255, 0, 10)
    spec = make_spec(resize="stretch", color=color, dtype="uint8", rescale_factor=1.0)
    assert Preprocessor(spec)(picture_of(red))[0, :, 0, 0].tolist() == expected


def test_a_picture_of_the_input_size_is_unchanged() -> None:
    pixels = noise(24, 20)
    spec = make_spec(interpolation="lanczos", layout="NHWC", dtype="uint8", rescale_factor=1.0)
    np.testing.assert_array_equal(Preprocessor(spec)(picture_of(pixels))[0], pixels)


def test_padding_is_normalised_like_a_pixel() -> None:
    spec = make_spec(resize="longest-edge", pad_value=255, mean=(0.5,), std=(0.25,))
    tensor = Preprocessor(spec)(picture_of(np.zeros((10, 24, 3), np.uint8)))
    assert np.unique(tensor[0, :, :10]).tolist() == [-2.0]
    assert np.unique(tensor[0, :, 10:]).tolist() == [2.0]


@pytest.mark.parametrize(
    ("fields", "byte", "value"),
    [
        ({"rescale_factor": 2.0}, 200, 255),
        ({"rescale_factor": 1.0, "mean": (100.0,)}, 50, 0),
        ({"rescale_factor": 0.5}, 5, 2),
        ({"rescale_factor": 0.5}, 7, 4),
    ],
    ids=["too much", "too little", "half to the even below", "half to the even above"],
)
def test_uint8_values_are_rounded_and_clipped(fields: dict[str, object], byte: int, value: int) -> None:
    tensor = Preprocessor(make_spec(resize="stretch", dtype="uint8", **fields))(
        picture_of(np.full((8, 8, 3), byte, np.uint8))
    )
    assert np.unique(tensor).tolist() == [value]


def test_an_extreme_ratio_computes_the_visible_part_only() -> None:
    """A full resize would make 65,500 x 256 pixels of it 256 times over: 4 billion."""
    tensor = Preprocessor(make_spec(size=(256, 256)))(picture_of(noise(65_500, 1)))
    assert tensor.shape == (1, 3, 256, 256)


@pytest.mark.parametrize("missing", ["size", "layout", "dtype"])
def test_an_incomplete_spec_is_rejected(missing: str) -> None:
    with pytest.raises(ValueError, match="lacks"):
        Preprocessor(make_spec(**{missing: None}))


@pytest.mark.parametrize(
    ("layout", "color", "shape"),
    [
        ("NCHW", "RGB", (1, 3, 20, 24)),
        ("NHWC", "BGR", (1, 20, 24, 3)),
        ("NCHW", "GRAY", (1, 1, 20, 24)),
        ("NHWC", "GRAY", (1, 20, 24, 1)),
    ],
)
def test_the_input_shape_is_that_of_the_tensor(layout: str, color: str, shape: tuple[int, ...]) -> None:
    preprocessor = Preprocessor(make_spec(layout=layout, color=color))
    assert preprocessor.input_shape == shape
    assert preprocessor(picture_of(noise(9, 9))).shape == shape


@pytest.mark.parametrize(
    ("fields", "least"),
    [
        ({"resize": "stretch"}, Size(70, 58)),
        ({"resize": "shortest-edge", "shortest_edge": 30}, Size(116, 87)),
        ({"resize": "letterbox"}, Size(70, 53)),
    ],
)
def test_a_decoder_keeps_a_multiple_of_the_resized_picture(fields: dict[str, object], least: Size) -> None:
    info = ImageInfo("JPEG", 4000, 3000)
    assert Preprocessor(make_spec(**fields)).decode_size(info) == least
    assert Preprocessor(make_spec(**fields), exact_decode=True).decode_size(info) is None
