"""Ways from a picture's bytes to the default model's tensor: duration, and distance from the reference.

.venv/bin/python -m benchmarks.preprocessing [ROUNDS]

The reference is Pillow alone: a full decode, a full resize across and then down, the crop, arithmetic in float64.
Times are this thread's CPU time, medians of interleaved rounds. simplejpeg is included if it is installed.
"""

import json
import statistics
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from random import Random

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from engine.preprocessing.geometry import Placement
from engine.preprocessing.preprocessor import DECODE_MARGIN, Preprocessor
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageInfo, Picture, Size
from loaders.images.headers import read_header
from loaders.repository.specs.model_spec import PreprocessSpec
from loaders.tensors import Tensor

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT / "tests" / "data" / "photos"
MODEL = ROOT / "models" / "efficientnet-lite0"
BEE = PHOTOS / "debian_palapeli-data_european-honey-bee.jpg"
LEVELS = 128  # of 256, in one unit of the tensor
BICUBIC = Image.Resampling.BICUBIC

Pixels = NDArray[np.uint8]
Decode = Callable[[bytes], Picture]
Trip = Callable[[bytes], Tensor]

SPEC = PreprocessSpec.model_validate(
    tomllib.loads((MODEL / "model.toml").read_text())["preprocess"] | {"layout": "NCHW", "dtype": "float32"}
)
USUAL, EXACT = Preprocessor(SPEC), Preprocessor(SPEC, exact_decode=True)
LOADER = create_image_loader("opencv")
TABLE = (np.arange(256, dtype=np.float64)[None] - np.array(SPEC.mean)[:, None]) / np.array(SPEC.std)[:, None]
TABLE32 = TABLE.astype(np.float32)


# --- decoders


def opencv(data: bytes, margin: float = DECODE_MARGIN) -> Picture:
    return LOADER.load(data, partial(at_margin, margin))


def at_margin(margin: float, info: ImageInfo) -> Size:
    resized = EXACT.frame(info.size).placement.resized
    return Size(int(resized.width * margin), int(resized.height * margin))


def pillow(data: bytes) -> Picture:
    """`draft` picks the scale."""
    info = read_header(data).info
    image = Image.open(BytesIO(data))
    least = at_margin(DECODE_MARGIN, info)
    image.draft("RGB", (least.width, least.height))
    return Picture(np.asarray(image.convert("RGB")), info)


def simplejpeg(data: bytes) -> Picture:
    info = read_header(data).info
    if info.format != "JPEG":
        return opencv(data)
    least = at_margin(DECODE_MARGIN, info)
    decode = import_module("simplejpeg").decode_jpeg
    return Picture(decode(data, "RGB", min_height=least.height, min_width=least.width), info)


# --- resizes


def placement_of(picture: Picture) -> Placement:
    return USUAL.frame(picture.info.size).placement


def cropped(pixels: Pixels, place: Placement) -> Pixels:
    side = USUAL.target
    return pixels[-place.top : -place.top + side.height, -place.left : -place.left + side.width]


def looked_up(pixels: Pixels) -> Tensor:
    tensor = np.empty(USUAL.input_shape, np.float32)
    for channel, table in enumerate(TABLE32):
        np.take(table, pixels[..., channel], out=tensor[0, channel], mode="clip")
    return tensor


def crop_box(picture: Picture) -> tuple[float, float, float, float]:
    """The box that the crop keeps, in decoded pixels."""
    place, target = placement_of(picture), USUAL.target
    height, width = picture.pixels.shape[:2]
    across, down = width / place.resized.width, height / place.resized.height
    left, top = -place.left * across, -place.top * down
    return left, top, left + target.width * across, top + target.height * down


def pillow_two_passes(picture: Picture) -> Tensor:
    return two_passes(Image.fromarray(picture.pixels), picture)


def pillow_four_bytes(picture: Picture) -> Tensor:
    """Pillow stores RGB in 4 bytes a pixel; OpenCV converts faster, and Pillow wraps the buffer without a copy."""
    four = cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2RGBA)
    image = Image.frombuffer("RGBX", (four.shape[1], four.shape[0]), four, "raw", "RGBX", 0, 1)
    return two_passes(image, picture)


def two_passes(image: Image.Image, picture: Picture) -> Tensor:
    left, top, right, bottom = crop_box(picture)
    side = USUAL.target.width
    columns = image.resize((side, image.height), BICUBIC, box=(left, 0, right, image.height))
    return looked_up(np.asarray(columns.resize((side, side), BICUBIC, box=(0, top, side, bottom))))


def pillow_one_call(picture: Picture, gap: float | None = None) -> Tensor:
    side, image = USUAL.target.width, Image.fromarray(picture.pixels)
    return looked_up(np.asarray(image.resize((side, side), BICUBIC, box=crop_box(picture), reducing_gap=gap)))


def opencv_resize(picture: Picture, interpolation: int) -> Tensor:
    place = placement_of(picture)
    resized = cv2.resize(picture.pixels, (place.resized.width, place.resized.height), interpolation=interpolation)
    return looked_up(cropped(np.asarray(resized, np.uint8), place))


def reference(data: bytes) -> Tensor:
    image = over_white(Image.open(BytesIO(data)))
    place = USUAL.frame(Size(*image.size)).placement
    size = place.resized
    resized = image.resize((size.width, image.height), BICUBIC).resize((size.width, size.height), BICUBIC)
    return looked_up(cropped(np.asarray(resized), place))


def over_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


# --- the candidates


def candidates() -> dict[str, Trip]:
    decoders: dict[str, Decode] = {f"margin {margin}": partial(opencv, margin=margin) for margin in (1, 1.5, 2, 4)}
    found: dict[str, Trip] = {
        f"**OpenCV at margin {DECODE_MARGIN}, products of matrices in float32**": lambda data: USUAL(opencv(data)),
        "the same in float64": lambda data: EXACT(opencv(data)),
        "Pillow's resize of the crop, two calls": lambda data: pillow_two_passes(opencv(data)),
        "the same, fed 4 bytes a pixel": lambda data: pillow_four_bytes(opencv(data)),
        "Pillow's resize of the crop, one call": lambda data: pillow_one_call(opencv(data)),
        "the same, `reducing_gap` 2": lambda data: pillow_one_call(opencv(data), 2.0),
        "Pillow: `draft`, one call, `reducing_gap` 2": lambda data: pillow_one_call(pillow(data), 2.0),
        "`cv2.INTER_AREA`": lambda data: opencv_resize(opencv(data), cv2.INTER_AREA),
        "`cv2.INTER_CUBIC`": lambda data: opencv_resize(opencv(data), cv2.INTER_CUBIC),
        "`cv2.INTER_LINEAR`": lambda data: opencv_resize(opencv(data), cv2.INTER_LINEAR),
    }
    found |= {f"as chosen, but {name}": partial(through, decode) for name, decode in decoders.items()}
    found["as chosen, but a full decode"] = lambda data: USUAL(LOADER.load(data))
    found["as chosen, but Pillow decodes"] = partial(through, pillow)
    if find_spec("simplejpeg"):
        found["as chosen, but simplejpeg decodes"] = partial(through, simplejpeg)
    else:
        print("simplejpeg is not installed: left out\n")
    return found | {"the reference: all by Pillow, nothing scaled": reference}


def through(decode: Decode, data: bytes) -> Tensor:
    return USUAL(decode(data))


def normalisations(planes: Pixels) -> dict[str, Callable[[], Tensor]]:
    """(3, H, W) bytes -> the tensor."""
    pixels = np.ascontiguousarray(planes.transpose(1, 2, 0))
    scale, mean = 1 / SPEC.std[0], np.array(SPEC.mean, np.float32)[:, None, None]

    def opencv_tables() -> Tensor:
        tensor = np.empty(planes.shape, np.float32)
        for target, plane, table in zip(tensor, planes, TABLE32, strict=True):
            cv2.LUT(plane, table, dst=target)
        return tensor

    return {
        "**`cv2.LUT` a plane**": opencv_tables,
        "`np.take` a channel": lambda: looked_up(pixels)[0],
        "`cv2.dnn.blobFromImage`": lambda: np.asarray(cv2.dnn.blobFromImage(pixels, scale, mean=SPEC.mean))[0],
        "NumPy arithmetic": lambda: (planes - mean) * np.float32(scale),
    }


# --- measuring


def timed(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Microseconds of this thread of every second call; the first call fills the caches.

    In random order, since a function that uses much memory slows the next one.
    """
    spent: dict[str, list[float]] = {name: [] for name in functions}
    order, random = list(functions.items()), Random(1)
    for _ in range(rounds):
        random.shuffle(order)
        for name, function in order:
            function()
            started = time.thread_time_ns()
            function()
            spent[name].append((time.thread_time_ns() - started) / 1000)
    return {name: statistics.median(times) for name, times in spent.items()}


def jpeg_of(path: Path, pixels: int | None = None) -> bytes:
    image = over_white(Image.open(path))
    factor = (pixels / (image.width * image.height)) ** 0.5 if pixels else 1
    buffer = BytesIO()
    image.resize((int(image.width * factor), int(image.height * factor)), BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def timed_pictures() -> dict[str, bytes]:
    return {
        "JPEG 451 x 300": (ROOT / "tests" / "data" / "cat.jpg").read_bytes(),
        "JPEG 12 MP": jpeg_of(BEE, 12_000_000),
        "WebP 1024 x 681": (PHOTOS / "gcompris_world_panda.webp").read_bytes(),
        "PNG 451 x 300": (PHOTOS / "skimage_chelsea.png").read_bytes(),
    }


def distances(trips: Mapping[str, Trip], pictures: list[bytes]) -> dict[str, str]:
    """Mean and largest difference (in levels), the mean of the worst picture, and changed answers, as table cells."""
    session = onnxruntime.InferenceSession(MODEL / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    expected = [reference(data) for data in pictures]
    answers = [int(session.run(None, {name: tensor})[0].argmax()) for tensor in expected]
    cells = {}
    for trip_name, trip in trips.items():
        tensors = [trip(data) for data in pictures]
        apart = [np.abs(t.astype(np.float64) - e) * LEVELS for t, e in zip(tensors, expected, strict=True)]
        tops = [int(session.run(None, {name: tensor})[0].argmax()) for tensor in tensors]
        changed = sum(a != b for a, b in zip(tops, answers, strict=True))
        means = [float(a.mean()) for a in apart]
        cells[trip_name] = (
            f"{statistics.mean(means):.4f} | {max(means):.3f} | {max(float(a.max()) for a in apart):.0f} | {changed}"
        )
    return cells


def print_trips(trips: Mapping[str, Trip], rounds: int) -> None:
    pictures = timed_pictures()
    times = {name: timed_trips(trips, data, rounds) for name, data in pictures.items()}
    manifest = json.loads((PHOTOS / "manifest.json").read_text(encoding="utf-8"))
    apart = distances(trips, [jpeg_of(PHOTOS / entry["file"]) for entry in manifest])
    print("| | " + " | ".join(f"{name}, us" for name in pictures) + " | mean | worst mean | max | top-1 changed |")
    print("|---" * (len(pictures) + 5) + "|")
    chosen = next(iter(trips))
    for name in trips:
        cells = (f"{found[name]:,.0f} ({found[name] / found[chosen]:.2f})" for found in times.values())
        print(f"| {name} | " + " | ".join(cells) + f" | {apart[name]} |")


def timed_trips(trips: Mapping[str, Trip], data: bytes, rounds: int) -> dict[str, float]:
    few = len(data) > 300_000
    return timed({name: partial(trip, data) for name, trip in trips.items()}, max(5, rounds // 5) if few else rounds)


def print_normalisations(rounds: int) -> None:
    planes = np.random.default_rng(1).integers(0, 256, (3, 224, 224), np.uint8)
    ways = normalisations(planes)
    exact = next(iter(ways.values()))()
    print("\n| 224 x 224 bytes to floats | us | largest difference |\n|---|---|---|")
    for name, spent in timed(ways, rounds * 5).items():
        print(f"| {name} | {spent:.0f} | {float(np.abs(ways[name]() - exact).max()):.1g} |")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    print_trips(candidates(), rounds)
    print_normalisations(rounds)


if __name__ == "__main__":
    main()
