"""What a picture's first bytes say: one type for every format."""

from dataclasses import dataclass

from loaders.images.base import ImageInfo

SWAPPING_ORIENTATIONS = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True)
class Header:
    """`width` and `height` are of the pixels as stored; `orientation` (EXIF, 1 to 8) turns them upright.

    `parts` are the (start, end) byte ranges of the first picture without metadata; empty: all of the data.
    `complete` is False when the data provably end before the picture does (JPEG: see `jpeg.scan_count`).
    `transparent_grey` is a grey PNG's transparent sample, in the file's own bit depth.
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    bit_depth: int = 8
    channels: int = 3
    has_alpha: bool = False
    animated: bool = False
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

    def essential(self, data: bytes) -> bytes:
        """What a decoder needs: no text, profiles or later frames, which it could only trip over."""
        if not self.parts:
            return data
        return b"".join([data[start:end] for start, end in self.parts])


def merge_parts(parts: list[tuple[int, int]], size: int) -> tuple[tuple[int, int], ...]:
    """Joins neighbours; empty when that is everything from 0 to `size`."""
    merged: list[tuple[int, int]] = []
    for start, end in parts:
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return () if merged == [(0, size)] else tuple(merged)
