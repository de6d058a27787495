"""Digest of a version's files, as a cache key."""

import hashlib
from pathlib import Path

import orjson

from loaders.file_digest import file_digest
from loaders.model_errors import ModelFileError
from loaders.repository.model_repository import ModelVersion


def model_digest(version: ModelVersion, *context: object) -> str:
    """Returns the SHA-256 (hexadecimal) of all files that decide an answer and of `context`. Raises ModelFileError."""
    digests = [_digest(Path(path), version) for path, _, _ in version.signature]
    return hashlib.sha256(orjson.dumps([context, digests])).hexdigest()


def _digest(file: Path, version: ModelVersion) -> str:
    """A twin that cannot be read is rejected when it is compared; it does not stop the load."""
    try:
        return file_digest(file)
    except ModelFileError:
        if file == version.twin:
            return ""
        raise
