"""SHA-256 digests of files, cached until a file changes: hashing two gigabytes takes a second."""

import hashlib
from functools import lru_cache
from pathlib import Path
from time import time

from loaders.model_errors import ModelFileError
from utils.files import open_regular

# A file system's clock may give two writes within this time the same timestamp.
_SETTLED_S = 2.0


def file_digest(path: Path) -> str:
    """Returns the SHA-256 in hexadecimal. Raises ModelFileError for a file that cannot be read."""
    try:
        return _digest(path)
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror}") from error


def _digest(path: Path) -> str:
    stat = path.stat()
    newest_s = max(stat.st_mtime, stat.st_ctime)
    if not 0 <= newest_s <= time() - _SETTLED_S:
        return _read(path)
    return _cached(path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@lru_cache(maxsize=4096)
def _cached(path: Path, *_identity: int) -> str:
    return _read(path)


def _read(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
