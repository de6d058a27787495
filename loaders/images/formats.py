"""The picture formats that are decoded, and the suffixes of their files."""

from pathlib import Path, PurePath

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jfif"), "PNG": (".png",), "WebP": (".webp",), "GIF": (".gif",), "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"), "AVIF": (".avif",), "HEIC": (".heic", ".heif"),
}  # fmt: skip
FORMATS = tuple(_SUFFIXES)
_ALL_SUFFIXES = frozenset(suffix for suffixes in _SUFFIXES.values() for suffix in suffixes)


def has_picture_suffix(path: PurePath) -> bool:
    return path.suffix.lower() in _ALL_SUFFIXES


def picture_files(folder: Path) -> list[Path]:
    """Returns the files below `folder` whose suffix is that of a picture, sorted by path.

    Raises FileNotFoundError if there are none, or no such folder.
    """
    found = [path for path in sorted(folder.rglob("*")) if has_picture_suffix(path)]
    if not found:
        raise FileNotFoundError(f"no pictures in the folder {folder}" if folder.is_dir() else f"no folder {folder}")
    return found
