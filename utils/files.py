"""Opening files that others may replace, and durable, atomic changes to files."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

_LONGEST_PREFIX = 100  # characters; file systems allow 255 bytes


def open_regular(file: Path) -> BufferedReader:
    """Opens a file for reading bytes. Raises OSError, also for a named pipe, whose reader would wait for a writer."""
    flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    opened = os.fdopen(os.open(file, os.O_RDONLY | flags), "rb")
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise OSError(errno.EINVAL, f"{file.name} is not a regular file")
    return opened


def read_at_most(file: Path, size: int) -> bytes:
    """Returns a file's content. Raises OSError, also for a file of more than `size` bytes, and as `open_regular`."""
    with open_regular(file) as opened:
        data = opened.read(size + 1)
    if len(data) > size:
        raise OSError(errno.EFBIG, f"it is larger than {size >> 20} MiB")
    return data


def replace_file(file: Path, data: bytes) -> None:
    """Replaces a file atomically: readers see the old or the new content, also after a power cut. Raises OSError."""
    with replacing(file) as written:
        written.write(data)


@contextmanager
def replacing(file: Path, *, durable: bool = True, folder: Path | None = None) -> Iterator[BinaryIO]:
    """A new file that replaces `file` when the block ends, and is deleted if the block raises. Raises OSError.

    `durable`: a power cut later leaves the old or the new content, too, which takes milliseconds. `folder`: where the
    new file grows, on the same file system; None: beside `file`.
    """
    handle, temporary = tempfile.mkstemp(dir=folder or file.parent, prefix=f".{file.name[:_LONGEST_PREFIX]}-")
    try:
        with os.fdopen(handle, "wb") as written:
            yield written
            if durable:
                written.flush()
                os.fsync(written.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in the folder survive a power cut. Does nothing where folders cannot be opened (Windows)."""
    with suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
