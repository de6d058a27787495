"""Decodes every supported format with Pillow."""

from importlib.util import find_spec

import numpy as np
from PIL import Image, features

from loaders.images.base import ImageLoaderOptions
from loaders.images.checked_loader import CheckedImageLoader, check_size
from loaders.images.errors import UnsupportedFormatError
from loaders.images.formats import FORMATS
from loaders.images.headers import Header, png
from loaders.images.headers.by_pillow import open_with_pillow
from loaders.images.pixels import Decoded, grey_to_rgb

_GREY_16_BIT = ("I;16", "I;16B", "I;16L", "I;16N")
_TO_RGB = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})


class PillowImageLoader(CheckedImageLoader):
    """Pillow's codecs, and pillow-heif for HEIC if installed (imported with the first HEIC)."""

    def __init__(self, options: ImageLoaderOptions) -> None:
        super().__init__(options)
        self._formats = tuple(name for name in FORMATS if _is_available(name))

    @property
    def formats(self) -> tuple[str, ...]:
        return self._formats

    def decode(self, data: bytes, header: Header, scale: int) -> Decoded:
        if header.format == "PNG":
            data = png.without_metadata(data, header)
            png.check_sums(data)
        with open_with_pillow(data, header.format) as image:
            if scale > 1:
                image.draft(None, (header.width // scale, header.height // scale))
            check_size(image.height, image.width, header, scale)
            return self._to_rgb(image, header)

    def _to_rgb(self, image: Image.Image, header: Header) -> Decoded:
        if image.mode in _GREY_16_BIT:
            return grey_to_rgb(np.asarray(image).astype(np.uint16, copy=False), 16, header.transparent_grey)
        if image.mode not in _TO_RGB:
            raise UnsupportedFormatError(f"{header.format} ({image.mode} samples)", self.formats)
        if header.transparent_grey is not None:
            return grey_to_rgb(np.asarray(image.convert("L")), header.bit_depth, header.transparent_grey)
        return _split(image, header)


def _is_available(name: str) -> bool:
    if name == "HEIC":
        return find_spec("pillow_heif") is not None
    return name != "AVIF" or bool(features.check("avif"))


def _split(image: Image.Image, header: Header) -> Decoded:
    _fit_transparent_colour(image, header)
    image.load()
    if not image.has_transparency_data:
        return Decoded(np.array(image.convert("RGB")))
    layers = np.asarray(image.convert("RGBA"))
    return Decoded(layers[:, :, :3].copy(), layers[:, :, 3].copy())


def _fit_transparent_colour(image: Image.Image, header: Header) -> None:
    """Reduces the transparent colour to 8 bits, as Pillow does with 16-bit RGB pixels only."""
    colour = image.info.get("transparency")
    if header.bit_depth == 16 and isinstance(colour, tuple):
        image.info["transparency"] = tuple(sample >> 8 for sample in colour)
