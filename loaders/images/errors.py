"""What can be wrong with a picture.

ImageError
├── EmptyImageError          no bytes at all
├── CorruptImageError        not a picture, or one that cannot be decoded
│   └── TruncatedImageError  the data ends before the picture does
├── UnsupportedFormatError   a format we recognise and do not read
└── ImageTooLargeError       more pixels than allowed, known before decoding
"""

from collections.abc import Sequence


class ImageError(Exception):
    """The picture is at fault; the message is fit for the person who sent it."""


class EmptyImageError(ImageError):
    def __init__(self) -> None:
        super().__init__("The picture is empty (0 bytes).")


class CorruptImageError(ImageError):
    """The bytes are no picture, or a damaged one."""


class TruncatedImageError(CorruptImageError):
    """The bytes end before the picture does."""


class UnsupportedFormatError(ImageError):
    """A recognised format that is not read here: `format` and what is `supported`."""

    def __init__(self, image_format: str, supported: Sequence[str], remedy: str = "") -> None:
        self.format = image_format
        self.supported = tuple(supported)
        text = f"{image_format} pictures are not supported. Supported: {', '.join(self.supported)}."
        super().__init__(f"{text} {remedy}".strip())


class ImageTooLargeError(ImageError):
    """`width` x `height` pixels is more than `max_pixels`."""

    def __init__(self, width: int, height: int, max_pixels: int) -> None:
        self.width, self.height, self.max_pixels = width, height, max_pixels
        super().__init__(
            f"The picture has {width} x {height} = {width * height:,} pixels; at most {max_pixels:,} are allowed."
        )
