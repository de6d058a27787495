"""What comes before and after any decoder: limits, truncation, errors, orientation."""

from abc import abstractmethod

import numpy as np

from loaders.images.base import ImageInfo, ImageLoader, LeastSize, Picture
from loaders.images.errors import (
    CorruptImageError,
    ImageError,
    ImageTooLargeError,
    TruncatedImageError,
    UnsupportedFormatError,
)
from loaders.images.headers import Header, jpeg, read_header
from loaders.images.pixels import Pixels, missing_rows, turn_upright

MAX_MISSING_ROWS = 0.1  # of a truncated JPEG that may be accepted
JPEG_SCALES = (8, 4, 2)
JPEG_END = b"\xff\xd9"
_DECODER_PLANES = 6  # of a byte a pixel: about what decoders take, the result included


class CheckedImageLoader(ImageLoader):
    """Reads the header with our own parser, keeps the limits, and lets `decode` do one thing.

    All that a decoder may raise on hostile bytes ends here as an ImageError; a MemoryError says that the picture may be
    sound and there is no room for it.
    """

    @abstractmethod
    def decode(self, data: bytes, header: Header, scale: int) -> Pixels:
        """The pixels as stored, RGB; `scale` (1, 2, 4 or 8) divides a JPEG's sides. May raise anything."""

    def probe(self, data: bytes) -> ImageInfo:
        return read_header(data, self.formats).info

    def load(self, data: bytes, at_least: LeastSize = None) -> Picture:
        header = read_header(data, self.formats)
        info = header.info
        if info.size.pixels > self.options.max_pixels:
            raise ImageTooLargeError(info.width, info.height, self.options.max_pixels)
        complete = is_complete(data, header)
        if not complete:
            data = self._mended(data, header)
        scale = _scale(info, at_least) if header.format == "JPEG" else 1
        pixels = self._decode_safely(data, header, scale)
        if not complete and missing_rows(pixels) > MAX_MISSING_ROWS:
            raise _truncated(header)
        # libheif has turned HEIC already
        return Picture(turn_upright(pixels, 1 if header.format == "HEIC" else header.orientation), info)

    def _mended(self, data: bytes, header: Header) -> bytes:
        """CMYK is not mended: the rows filled in could not be told from the picture's own."""
        if self.options.accept_truncated and header.format == "JPEG" and header.channels != 4:
            return data + JPEG_END
        raise _truncated(header)

    def _decode_safely(self, data: bytes, header: Header, scale: int) -> Pixels:
        try:
            pixels = self.decode(data, header, scale)
        except UnsupportedFormatError:
            raise
        except Exception as error:  # decoders raise whatever they like on damaged data
            if not _has_room(header, scale):
                raise MemoryError("There is not enough memory to decode it.") from error
            if isinstance(error, ImageError):
                raise
            if "truncated" in str(error) or isinstance(error, EOFError):
                raise _truncated(header) from error
            raise _damaged(header) from error
        check_size(pixels.shape[0], pixels.shape[1], header, scale)
        return pixels


def _has_room(header: Header, scale: int) -> bool:
    """Decoders take a lack of memory for damage, or give nothing at all."""
    try:
        np.empty((_DECODER_PLANES, header.height // scale, header.width // scale), np.uint8)
    except MemoryError:
        return False
    return True


def is_complete(data: bytes, header: Header) -> bool:
    """Raises CorruptImageError for a JPEG with absurdly many scans."""
    if header.format == "JPEG":
        return jpeg.scan_count(data, header) is not None
    return header.complete


def check_size(height: int, width: int, header: Header, scale: int) -> None:
    """Whether a decoder found what the header promised."""
    # libheif turns HEIC by itself
    stored = header.info if header.format == "HEIC" else header
    if (width, height) != (-(-stored.width // scale), -(-stored.height // scale)):
        raise CorruptImageError(f"This {header.format} holds a picture of another size than its header says.")


def _scale(info: ImageInfo, at_least: LeastSize) -> int:
    """The largest 1/scale at which neither side falls below `at_least`."""
    least = at_least(info) if callable(at_least) else at_least
    if least is None:
        return 1
    for scale in JPEG_SCALES:
        if info.width // scale >= max(least.width, 1) and info.height // scale >= max(least.height, 1):
            return scale
    return 1


def _truncated(header: Header) -> TruncatedImageError:
    return TruncatedImageError(f"This {header.format} is incomplete: its data end before the picture does.")


def _damaged(header: Header) -> CorruptImageError:
    return CorruptImageError(f"This {header.format} is damaged and cannot be decoded.")
