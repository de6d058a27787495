"""What was measured on this machine, as JSON files in the cache folder."""

import logging
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from utils.files import replace_file

T = TypeVar("T")

_log = logging.getLogger("fovea.models")


def read_measurement(file: Path | None, kind: TypeAdapter[T]) -> T | None:
    """Returns None for a missing or invalid file."""
    try:
        return kind.validate_json(file.read_bytes()) if file else None
    except (OSError, ValidationError):
        return None


def write_measurement(file: Path | None, kind: TypeAdapter[T], value: T) -> None:
    """Without a writable folder, the next load measures again."""
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, kind.dump_json(value))
    except OSError as error:
        _log.warning("cannot write the %s cache file=%s error=%s", file.parent.name, file.name, error.strerror)
