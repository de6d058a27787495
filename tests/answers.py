"""Parses HTTP answers from a socket strictly, and checks the rules that every answer of the service keeps."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h11

PROBLEM = "application/problem+json"
# The documented errors, those of caches and redirects, and those of deletions and uploads.
_DOCUMENTED = {200, 201, 204, 304, 307, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 431, 503, 504}
_WAIT = {429, 503}
_LEAKS = re.compile(r"Traceback|/tmp/|/home/|site-packages|\.py\b")


class MalformedError(Exception):
    """The bytes are not an HTTP answer, or one too many."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"

    def json(self) -> dict[str, Any]:
        """Raises ValueError if the body is not a JSON object."""
        found = json.loads(self.body)
        if not isinstance(found, dict):
            raise ValueError(f"not a JSON object: {self.body[:100]!r}")
        return found

    def problem(self) -> dict[str, Any]:
        """The problem details of an error; empty without them."""
        try:
            return self.json() if self.headers.get("content-type") == PROBLEM else {}
        except ValueError:
            return {}


class AnswerReader:
    """Cuts the bytes of a connection into answers; each must belong to a request."""

    def __init__(self) -> None:
        self._data = b""
        self._ended = False

    def feed(self, data: bytes) -> None:
        """`data` is empty if the connection is closed."""
        self._data += data
        self._ended = self._ended or not data

    @property
    def idle(self) -> bool:
        """Whether no bytes are left over."""
        return not self._data

    def next(self, method: str = "POST") -> Answer | None:
        """The next answer, to a request of `method`; None until it is complete. Raises MalformedError."""
        try:
            answer = self._take(method, ended=False)
        except h11.RemoteProtocolError as error:
            raise MalformedError(f"{error}: {self._data[:200]!r}") from error
        if answer or not self._ended:
            return answer
        with suppress(h11.RemoteProtocolError):  # it is cut off
            return self._take(method, ended=True)
        return None

    def _take(self, method: str, *, ended: bool) -> Answer | None:
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 16)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
        parser.send(h11.EndOfMessage())
        if self._data:
            parser.receive_data(self._data)
        if ended:
            parser.receive_data(b"")
        head: h11.Response | None = None
        body = bytearray()
        while True:
            match parser.next_event():
                case h11.Response() as head:
                    pass
                case h11.Data(data=data):
                    body += data
                case h11.EndOfMessage() if head:
                    self._data = b"" if parser.their_state is h11.CLOSED else parser.trailing_data[0]
                    headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
                    return Answer(head.status_code, headers, bytes(body))
                case h11.InformationalResponse():
                    pass
                case h11.NEED_DATA | h11.PAUSED | h11.ConnectionClosed():
                    return None


def fault(answer: Answer, method: str = "POST") -> str | None:
    """Returns the rule that an answer to `method` breaks; None if it breaks none."""
    if answer.status not in _DOCUMENTED:
        return f"status {answer.status}: {answer.body[:300]!r}"
    # uvicorn's own answer to bytes that are not HTTP.
    unread = answer.status == 400 and answer.closes and answer.headers.get("content-type", "").startswith("text/plain")
    if answer.status < 400 or unread or method == "HEAD":
        return None
    problem = answer.problem()
    if problem.get("status") != answer.status or not problem.get("code") or not problem.get("detail"):
        return f"{answer.status} without problem details: {answer.body[:300]!r}"
    if _LEAKS.search(str(problem["detail"])):
        return f"the detail shows internals: {problem['detail']}"
    waits = answer.status not in _WAIT or answer.headers.get("retry-after", "").isdigit()
    return None if waits else f"{answer.status} without Retry-After"
