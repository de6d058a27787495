"""Decodes every supported format with Pillow.

Each format's Pillow class is called, and not `Image.open`, which would guess the format again. It gets the picture
without metadata (`Header.essential`, `tiff.without_metadata`), about which Pillow would warn.

Importing this module removes Pillow's own pixel limit for the process (`Image.MAX_IMAGE_PIXELS = None`), which warns
below the limit `max_pixels`.
"""

from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO

import numpy as np
from PIL import Image, features
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from loaders.images.base import ImageLoaderOptions
from loaders.images.checked_loader import CheckedImageLoader, check_size
from loaders.images.errors import UnsupportedFormatError
from loaders.images.formats import FORMATS
from loaders.images.headers import Header, png, tiff
from loaders.images.pixels import Decoded, grey_to_rgb

Image.MAX_IMAGE_PIXELS = None

_OPENERS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "AVIF": AvifImageFile,
}
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
        with _open(_prepare(data, header), header.format) as image:
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


def _prepare(data: bytes, header: Header) -> bytes:
    if header.format == "TIFF":
        return tiff.without_metadata(data)
    data = header.essential(data)
    if header.format == "PNG":
        png.check_sums(data)
    return data


def _open(data: bytes, name: str) -> ImageFile:
    if name == "HEIC":
        from pillow_heif import HeifImageFile

        opener: Callable[[BytesIO], ImageFile] = HeifImageFile
        return opener(BytesIO(data))
    return _OPENERS[name](BytesIO(data))


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
