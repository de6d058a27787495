"""Prepared HTTP requests, and the check of their answers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.connection import Answer

_BOUNDARY = "bench-7d1c5a"
_CLASS_ID = re.compile(rb'"predictions": ?\[\s*\{[^{}]*?"class_id": ?(\d+)')
_OK = 200


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture; `classes`: the right class ids."""

    file: Path
    media_type: str
    data: bytes
    classes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Request:
    """`payload`: the whole request as it goes over the wire; `pictures`: how many it carries."""

    payload: bytes
    classes: frozenset[int]
    pictures: int = 1

    def is_right(self, answer: Answer) -> bool:
        """Whether the best prediction of every picture is a right class."""
        found = _CLASS_ID.findall(answer.body) if answer.status == _OK else []
        return len(found) == self.pictures and all(int(class_id) in self.classes for class_id in found)


def multipart(path: str, pictures: Sequence[Picture], field: str = "image") -> Request:
    """One request with a part named `field` for each picture."""
    body = b"".join(_part(picture, field) for picture in pictures) + f"--{_BOUNDARY}--\r\n".encode()
    classes = frozenset[int]().union(*(picture.classes for picture in pictures))
    return Request(_post(path, f"multipart/form-data; boundary={_BOUNDARY}", body), classes, len(pictures))


def raw(path: str, picture: Picture) -> Request:
    """The body is the picture."""
    return Request(_post(path, picture.media_type, picture.data), picture.classes)


def _part(picture: Picture, field: str) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{field}"; filename="{picture.file.name}"'
    head = f"--{_BOUNDARY}\r\n{disposition}\r\nContent-Type: {picture.media_type}\r\n\r\n"
    return head.encode() + picture.data + b"\r\n"


def _post(path: str, content_type: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
