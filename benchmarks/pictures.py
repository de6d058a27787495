"""The pictures of the benchmark, with the right classes of each."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from benchmarks.http_requests import Picture
from benchmarks.scenarios import Photos

_DATA = Path(__file__).parent.parent / "tests" / "data"
_SOURCE = _DATA / "photos" / "debian_palapeli-data_european-honey-bee.jpg"
_MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}

# A class whose score is this near to the best one is right, too, since decoders may differ by a level.
_NEARLY = 0.8

_SHORTEST_EDGE, _SIDE = 256, 224
_BIG_MEGAPIXELS = 12.0


class PictureSets:
    """The sets of pictures for one model. `cache`: the folder of enlarged photos."""

    def __init__(self, graph: Path, cache: Path) -> None:
        self._session = ort.InferenceSession(str(graph))
        self._cache = cache
        self._read: dict[Photos, list[Picture]] = {}

    def of(self, photos: Photos) -> list[Picture]:
        if photos not in self._read:
            self._read[photos] = [self._picture(file) for file in self._files(photos)]
        return self._read[photos]

    def of_size(self, megapixels: float) -> Picture:
        """One photo of that size."""
        return self._picture(_resized(megapixels, self._cache))

    def _files(self, photos: Photos) -> list[Path]:
        if photos == "photo":
            return [_DATA / "cat.jpg"]
        if photos == "12-megapixel":
            return [_resized(_BIG_MEGAPIXELS, self._cache)]
        manifest = json.loads((_DATA / "photos" / "manifest.json").read_text())
        return [_DATA / "photos" / entry["file"] for entry in manifest]

    def _picture(self, file: Path) -> Picture:
        data = file.read_bytes()
        return Picture(file, _MEDIA_TYPES[file.suffix], data, frozenset(self._right_classes(data)))

    def _right_classes(self, data: bytes) -> list[int]:
        [logits] = self._session.run(None, {self._session.get_inputs()[0].name: _reference(data)})
        scores = np.exp(logits[0] - logits[0].max())
        return [int(class_id) for class_id in np.flatnonzero(scores >= _NEARLY)]


def _reference(data: bytes) -> NDArray[np.float32]:
    """The default model's reference preprocessing: (1, 3, 224, 224)."""
    image = Image.open(BytesIO(data)).convert("RGB")
    scale = _SHORTEST_EDGE / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    left, top = round((width - _SIDE) / 2), round((height - _SIDE) / 2)
    image = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + _SIDE, top + _SIDE))
    pixels = (np.asarray(image, np.float32) - 127) / 128
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _resized(megapixels: float, folder: Path) -> Path:
    """A photo of 4:3 with noise, so that its JPEG is as large as a camera's; 12 megapixels are 4000 x 3000."""
    file, side = folder / f"{megapixels:g}-megapixel.jpg", (megapixels * 1e6 / 12) ** 0.5
    if not file.exists():
        width, height = round(4 * side), round(3 * side)
        image = Image.open(_SOURCE).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        noise = np.random.default_rng(0).normal(0, 4, (height, width, 1)).astype(np.float32)
        pixels = np.clip(np.asarray(image, np.float32) + noise, 0, 255).astype(np.uint8)
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(buffer.getvalue())
    return file
