"""Picture value types and the base class of image loaders."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

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
    """What a picture's header says, before anything is decoded.

    `width` and `height` are those of the upright picture, in pixels: EXIF orientations 5 to 8 swap what is stored.
    `orientation` is the EXIF value, 1 to 8, that turns the stored pixels upright.
    """

    format: str
    width: int
    height: int
    orientation: int = 1

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)


# The least size that a picture may be decoded to: known beforehand, or told from its header; None for its own size.
LeastSize = Size | Callable[[ImageInfo], Size | None] | None


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: `pixels` is (H, W, 3) uint8 RGB, upright, C-contiguous.

    `pixels` may be smaller than `info` says when the decoder was allowed to scale; `info` keeps the original size.
    """

    pixels: NDArray[np.uint8]
    info: ImageInfo


@dataclass(frozen=True, slots=True)
class ImageLoaderOptions:
    """Limits every loader keeps: `max_pixels` is checked before decoding."""

    max_pixels: int = 100_000_000
    accept_truncated: bool = False


class ImageLoader(ABC):
    """Decodes pictures. One instance serves many threads at once."""

    def __init__(self, options: ImageLoaderOptions) -> None:
        self.options = options

    @property
    @abstractmethod
    def formats(self) -> tuple[str, ...]:
        """The formats it reads, by their usual names: "JPEG", "PNG", ..."""

    @abstractmethod
    def probe(self, data: bytes) -> ImageInfo:
        """Reads the header alone.

        Raises EmptyImageError, UnsupportedFormatError or CorruptImageError.
        """

    @abstractmethod
    def load(self, data: bytes, at_least: LeastSize = None) -> Picture:
        """Decodes the (first) picture in `data`.

        With `at_least`, the decoder may scale by 1/2, 1/4 or 1/8 as long as neither side falls below it. A function
        is asked once at most, with what the header says, and saves a `probe`.
        Raises what `probe` raises, and ImageTooLargeError before any pixel is decoded.
        """
