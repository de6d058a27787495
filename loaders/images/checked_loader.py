"""The base class of decoders: limits, truncation, errors and orientation around `decode`."""

from abc import abstractmethod
from dataclasses import replace

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
from loaders.images.pixels import Decoded, missing_rows

MAX_MISSING_ROWS = 0.1  # of a truncated JPEG that may be accepted
JPEG_SCALES = (8, 4, 2)
JPEG_END = b"\xff\xd9"
_DECODER_BYTES_PER_PIXEL = 6  # about the memory of a decoder, including its result


class CheckedImageLoader(ImageLoader):
    """Reads the header, enforces the limits and calls `decode`.

    Whatever a decoder raises on hostile bytes becomes an ImageError. A MemoryError means that the picture may be valid,
    but memory is short.
    """

    @abstractmethod
    def decode(self, data: bytes, header: Header, scale: int) -> Decoded:
        """Returns the stored pixels; `scale` (1, 2, 4 or 8) divides the sides of a JPEG. May raise anything."""

    def load(self, data: bytes, at_least: LeastSize = None) -> Picture:
        header = read_header(data, self.formats)
        info = header.info
        if info.size.pixels > self.options.max_pixels:
            raise ImageTooLargeError(info.width, info.height, self.options.max_pixels)
        complete = is_complete(data, header)
        if not complete:
            data = self._completed(data, header)
        scale = _scale(info, at_least) if header.format == "JPEG" else 1
        decoded = self._decode_safely(data, header, scale)
        if not complete and missing_rows(decoded.rgb) > MAX_MISSING_ROWS:
            raise _truncated(header)
        upright = decoded.upright(header.orientation)
        if upright.alpha is not None:
            info = replace(info, alpha=True)
        return Picture(upright.rgb, info, upright.alpha)

    def _completed(self, data: bytes, header: Header) -> bytes:
        """Adds an end marker to a JPEG. In CMYK, rows that the decoder fills in cannot be recognised."""
        if self.options.accept_truncated and header.format == "JPEG" and header.channels != 4:
            return data + JPEG_END
        raise _truncated(header)

    def _decode_safely(self, data: bytes, header: Header, scale: int) -> Decoded:
        try:
            decoded = self.decode(data, header, scale)
        except UnsupportedFormatError:
            raise
        except Exception as error:  # decoders raise all kinds of errors on damaged data
            if not _has_room(header, scale):
                raise MemoryError("There is not enough memory to decode this picture.") from error
            if isinstance(error, ImageError):
                raise
            if "truncated" in str(error) or isinstance(error, EOFError):
                raise _truncated(header) from error
            raise _damaged(header) from error
        check_size(decoded.rgb.shape[0], decoded.rgb.shape[1], header, scale)
        return decoded


def _has_room(header: Header, scale: int) -> bool:
    """Decoders report a lack of memory as damage, or return nothing."""
    try:
        np.empty((_DECODER_BYTES_PER_PIXEL, header.height // scale, header.width // scale), np.uint8)
    except MemoryError:
        return False
    return True


def is_complete(data: bytes, header: Header) -> bool:
    """Raises CorruptImageError for a JPEG with too many scans."""
    if header.format == "JPEG":
        return jpeg.scan_count(data, header) is not None
    return header.complete


def check_size(height: int, width: int, header: Header, scale: int) -> None:
    """Raises CorruptImageError if the decoded size is not that of the header."""
    if (width, height) != (-(-header.width // scale), -(-header.height // scale)):
        raise CorruptImageError(f"This {header.format} contains a picture of another size than its header says.")


def _scale(info: ImageInfo, at_least: LeastSize) -> int:
    """Returns the largest scale at which both sides are still `at_least` as long."""
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
