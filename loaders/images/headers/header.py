"""The header of a picture, one type for every format."""

from dataclasses import dataclass

from loaders.images.base import ImageInfo

SWAPPING_ORIENTATIONS = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True)
class Header:
    """`width` and `height` are those of the stored pixels; `orientation` (EXIF, 1 to 8) turns them upright.

    `parts` are the (start, end) byte ranges of a PNG without metadata; empty means all of the data.
    `complete` is False if the data are known to end before the picture does (JPEG: see `jpeg.scan_count`).
    `channels` are those of a JPEG. `transparent_grey` is the transparent sample of a grey PNG, in the file's bit depth.
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    bit_depth: int = 8
    channels: int = 3
    has_alpha: bool = False
    complete: bool = True
    multi_scan: bool = False
    scan_start: int = 0
    transparent_grey: int | None = None
    parts: tuple[tuple[int, int], ...] = ()

    @property
    def info(self) -> ImageInfo:
        width, height = self.width, self.height
        if self.orientation in SWAPPING_ORIENTATIONS:
            width, height = height, width
        return ImageInfo(self.format, width, height, self.orientation)
