"""A file's digest, computed once while the file stays as it is: two gigabytes take a second."""

import hashlib
from functools import lru_cache
from pathlib import Path
from time import time

from loaders.model_errors import ModelFileError

# A file that was written less than so long ago may be written again without its times telling.
_SETTLED_S = 2.0


def file_digest(path: Path) -> str:
    """SHA-256, hexadecimal. Raises ModelFileError for a file that is gone meanwhile, or cannot be opened."""
    try:
        return _digest(path)
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror}") from error


def _digest(path: Path) -> str:
    stat = path.stat()
    newest_s = max(stat.st_mtime, stat.st_ctime)
    if not 0 <= newest_s <= time() - _SETTLED_S:
        return _read(path)
    return _remembered(path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@lru_cache(maxsize=4096)
def _remembered(path: Path, *_identity: int) -> str:
    return _read(path)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
