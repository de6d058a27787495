"""Requests of every kind, each with a function that judges its answer."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.answers import Answer, fault
from tests.load.echo import Coloured, judge

RIGHT = "right"
_BOUNDARY = "proof-5f1d"
_BAD = (
    (b"", "400 empty_image"),
    (b"no picture at all", "400 undecodable_image"),
    (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(3), "400 truncated_image"),
    (b"\xff\x4f\xff\x51" + bytes(30), "415 unsupported_format"),
)
_BAD_QUERIES = ("top_k=0", "topk=3", "threshold=2", "version=a/b")


@dataclass(frozen=True, slots=True)
class Request:
    """`head` and `body` are sent as they are. `expected`: the right outcomes. `model`: the model that is requested."""

    kind: str
    model: str
    head: bytes
    body: bytes
    judge: Callable[[Answer], str]
    expected: frozenset[str] = frozenset({RIGHT})

    @property
    def payload(self) -> bytes:
        return self.head + self.body


def outcome(request: Request, answer: Answer, request_id: str) -> str:
    """`right`, a status with its code, or `wrong: ...`."""
    if wrong := fault(answer):
        return f"wrong: {wrong}"
    if answer.headers.get("x-request-id") != request_id:
        return f"wrong: the answer to {answer.headers.get('x-request-id')} instead of {request_id}"
    try:
        if answer.status != 200:
            return f"{answer.status} {answer.problem().get('code')}"
        return request.judge(answer)
    except (ValueError, KeyError, TypeError) as error:
        return f"wrong: {error!r} in {answer.body[:300]!r}"


class EchoRequests:
    """Random requests with coloured pictures, for models that answer with a colour."""

    def __init__(self, chance: random.Random, pictures: Sequence[Coloured], models: Sequence[str]) -> None:
        self._chance, self._pictures, self._models = chance, pictures, models

    def next(self, request_id: str) -> Request:
        make = self._chance.choices(
            (self._raw, self._form, self._batch, self._stream, self._bad, self._query), (6, 6, 2, 1, 1, 1)
        )[0]
        return make(request_id)

    def _raw(self, request_id: str) -> Request:
        picture, model = self._picture(), self._model()
        head = request_head(f"/infer?model={model}", "application/octet-stream", len(picture.data), request_id)
        return Request("raw", model, head, picture.data, partial(_one, picture=picture))

    def _form(self, request_id: str) -> Request:
        picture, model = self._picture(), self._model()
        body = form([picture.data], "image")
        head = form_head(f"/infer?model={model}", len(body), request_id)
        return Request("form", model, head, body, partial(_one, picture=picture))

    def _batch(self, request_id: str) -> Request:
        return self._many(request_id, "batch", "", _many)

    def _stream(self, request_id: str) -> Request:
        return self._many(request_id, "stream", "&stream=true", _lines)

    def _many(self, request_id: str, kind: str, query: str, judge: Callable[..., str]) -> Request:
        pictures, model = [self._picture() for _ in range(self._chance.randint(1, 5))], self._model()
        body = form([picture.data for picture in pictures], "images")
        head = form_head(f"/infer/batch?model={model}{query}", len(body), request_id)
        return Request(kind, model, head, body, partial(judge, pictures=pictures))

    def _bad(self, request_id: str) -> Request:
        (data, expected), model = self._chance.choice(_BAD), self._model()
        head = request_head(f"/infer?model={model}", "image/png", len(data), request_id)
        return Request("bad picture", model, head, data, _unexpected, frozenset({expected}))

    def _query(self, request_id: str) -> Request:
        picture, model = self._picture(), self._model()
        target = f"/infer?model={model}&{self._chance.choice(_BAD_QUERIES)}"
        head = request_head(target, "image/png", len(picture.data), request_id)
        return Request("bad query", model, head, picture.data, _unexpected, frozenset({"422 invalid_parameter"}))

    def _picture(self) -> Coloured:
        return self._chance.choice(self._pictures)

    def _model(self) -> str:
        return self._chance.choice(self._models)


def form(pictures: Sequence[bytes], field: str) -> bytes:
    """A multipart body with a part for each picture."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="p"\r\n\r\n'.encode()
    return b"".join(head + picture + b"\r\n" for picture in pictures) + f"--{_BOUNDARY}--\r\n".encode()


def form_head(target: str, length: int, request_id: str) -> bytes:
    """The request head for a body of `form`."""
    return request_head(target, f"multipart/form-data; boundary={_BOUNDARY}", length, request_id)


def request_head(target: str, content_type: str, length: int, request_id: str) -> bytes:
    """The request head of a POST with a body of `length` bytes."""
    return (
        f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-ID: {request_id}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def _unexpected(answer: Answer) -> str:
    return f"wrong: {answer.status} to an invalid request"


def _one(answer: Answer, *, picture: Coloured) -> str:
    return judge(answer.json(), picture)


def _many(answer: Answer, *, pictures: Sequence[Coloured]) -> str:
    return _each(answer.json()["results"], pictures)


def _lines(answer: Answer, *, pictures: Sequence[Coloured]) -> str:
    return _each([json.loads(line) for line in answer.body.splitlines()], pictures)


def _each(results: Sequence[dict[str, Any]], pictures: Sequence[Coloured]) -> str:
    """Returns the worst of the results: a wrong one, else an error, else RIGHT."""
    if sorted(result.get("index", -1) for result in results) != list(range(len(pictures))):
        return f"wrong: the results are {[result.get('index') for result in results]}, of {len(pictures)} pictures"
    found = [_result(result, pictures[result["index"]]) for result in results]
    return next((one for one in found if one.startswith("wrong")), next((one for one in found if one != RIGHT), RIGHT))


def _result(result: dict[str, Any], picture: Coloured) -> str:
    if error := result.get("error"):
        return f"{error['status']} {error['code']}"
    return judge(result, picture)
