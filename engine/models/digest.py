"""What a version's files say, as one name for what was found out about them."""

import hashlib
from pathlib import Path

import orjson

from loaders.file_digest import file_digest
from loaders.repository.model_repository import ModelVersion


def model_digest(version: ModelVersion, *context: object) -> str:
    """SHA-256, hexadecimal, of all files that decide an answer and of `context`. Raises OSError."""
    digests = [file_digest(Path(path)) for path, _, _ in version.signature]
    return hashlib.sha256(orjson.dumps([context, digests])).hexdigest()
