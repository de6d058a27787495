"""Picture value types and the base class of image loaders."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Format and size of a picture, from its header.

    `width` and `height` are those of the upright picture, in pixels: EXIF orientations 5 to 8 swap the stored sides.
    `orientation` is the EXIF value, 1 to 8, that turns the stored pixels upright. `alpha`: whether some pixels are
    transparent, which only decoding shows and which is not compared.
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    alpha: bool = field(default=False, compare=False)

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)


# The smallest size to decode to: fixed, or computed from the header; None means full size.
LeastSize = Size | Callable[[ImageInfo], Size | None] | None


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: `pixels` is (H, W, 3) uint8 RGB, upright, C-contiguous.

    `pixels` may be smaller than `info` says if the decoder scaled them; `info` has the original size. Transparent
    pixels have the colour that they have in the file; `alpha` is (H, W) uint8 (0 is transparent), None if all are
    opaque.
    """

    pixels: NDArray[np.uint8]
    info: ImageInfo
    alpha: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class ImageLoaderOptions:
    """Limits of every loader: `max_pixels` is checked before decoding."""

    max_pixels: int = 100_000_000
    accept_truncated: bool = False


class ImageLoader(ABC):
    """Decodes pictures. Instances are thread-safe."""

    def __init__(self, options: ImageLoaderOptions) -> None:
        self.options = options

    @property
    @abstractmethod
    def formats(self) -> tuple[str, ...]:
        """The supported formats: "JPEG", "PNG", ..."""

    @abstractmethod
    def load(self, data: bytes, at_least: LeastSize = None) -> Picture:
        """Decodes the first picture in `data`.

        With `at_least`, the decoder may scale by 1/2, 1/4 or 1/8 if both sides stay at least that long. A function is
        called once at most. Raises EmptyImageError, UnsupportedFormatError, CorruptImageError, and ImageTooLargeError
        before decoding any pixel.
        """
