"""The headers of rare formats, which Pillow reads: BMP, TIFF, and HEIC with pillow-heif.

Importing this module removes Pillow's own pixel limit for the process (`Image.MAX_IMAGE_PIXELS = None`), which warns
below the limit `max_pixels`, and silences its warnings about damaged metadata.
"""

import warnings
from collections.abc import Callable
from io import BytesIO

from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from loaders.images.errors import CorruptImageError
from loaders.images.headers.header import Header
from loaders.images.headers.orientation import tiff_integer

Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module="PIL")

# libtiff unpacks whole tiles; those at the edges reach beyond the picture.
MAX_TILE = 2  # times the pixels of the picture
SPARE_PIXELS = 1 << 20

_TILE_WIDTH, _TILE_LENGTH = 322, 323
_OPENERS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "AVIF": AvifImageFile,
}


def open_with_pillow(data: bytes, name: str) -> ImageFile:
    """Calls the format's class, and not `Image.open`, which would guess the format again. May raise anything."""
    if name == "HEIC":
        from pillow_heif import HeifImageFile

        opener: Callable[[BytesIO], ImageFile] = HeifImageFile
        return opener(BytesIO(data))
    return _OPENERS[name](BytesIO(data))


def read(data: bytes, name: str) -> Header:
    """Pillow turns TIFF and HEIC upright itself."""
    try:
        tile = (tiff_integer(data, _TILE_WIDTH) or 0) * (tiff_integer(data, _TILE_LENGTH) or 0) if name == "TIFF" else 0
        with open_with_pillow(data, name) as image:
            width, height = image.size
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises all kinds of errors on damaged data
        raise CorruptImageError(f"This {name} is damaged and cannot be decoded.") from error
    if tile > MAX_TILE * width * height + SPARE_PIXELS:
        raise CorruptImageError("This TIFF has tiles that are much larger than its picture.")
    return Header(name, width, height)
