"""Errors of pictures.

ImageError
├── EmptyImageError          no bytes
├── CorruptImageError        not a picture, or a damaged one
│   └── TruncatedImageError  the data ends before the picture does
├── UnsupportedFormatError   a known format that is not supported
└── ImageTooLargeError       more pixels than allowed; raised before decoding
"""

from collections.abc import Sequence


class ImageError(Exception):
    """Base class; the message is meant for the client that sent the picture."""


class EmptyImageError(ImageError):
    def __init__(self) -> None:
        super().__init__("The picture is empty (0 bytes).")


class CorruptImageError(ImageError):
    """The bytes are not a picture, or a damaged one."""


class TruncatedImageError(CorruptImageError):
    """The bytes end before the picture does."""


class UnsupportedFormatError(ImageError):
    """A known `format` that is not among the `supported` ones."""

    def __init__(self, image_format: str, supported: Sequence[str], remedy: str = "") -> None:
        self.format = image_format
        self.supported = tuple(supported)
        text = f"{image_format} pictures are not supported. Supported: {', '.join(self.supported)}."
        super().__init__(f"{text} {remedy}".strip())


class ImageTooLargeError(ImageError):
    """The picture has `width` x `height` pixels, more than `max_pixels`."""

    def __init__(self, width: int, height: int, max_pixels: int) -> None:
        self.width, self.height, self.max_pixels = width, height, max_pixels
        super().__init__(
            f"The picture has {width} x {height} = {width * height:,} pixels; the maximum is {max_pixels:,}."
        )
