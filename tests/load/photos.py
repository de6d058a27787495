"""Photos with the classes that the default model may give first."""

import json
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from tests.paths import ROOT

_DATA = ROOT / "tests" / "data"
_MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
_BIG = (4000, 3000)  # 12 megapixels


@dataclass(frozen=True, slots=True)
class Photo:
    """An encoded photo. `classes`: the right class ids."""

    name: str
    media_type: str
    data: bytes
    classes: frozenset[int]


def photos() -> list[Photo]:
    """All photos of the tests."""
    found = []
    for entry in json.loads((_DATA / "photos" / "manifest.json").read_text(encoding="utf-8")):
        file = _DATA / "photos" / entry["file"]
        found.append(Photo(file.name, _MEDIA_TYPES[file.suffix], file.read_bytes(), frozenset(entry["accept"])))
    return found


def big_photo(photo: Photo) -> Photo:
    """The same photo as a JPEG of 12 megapixels."""
    buffer = BytesIO()
    Image.open(BytesIO(photo.data)).convert("RGB").resize(_BIG, Image.Resampling.LANCZOS).save(buffer, "JPEG")
    return Photo(f"big {photo.name}", "image/jpeg", buffer.getvalue(), photo.classes)
