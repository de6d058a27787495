"""Fuzzes the HTTP connection of a running service: no 500, no hang, one answer for each whole request, in order.

`python -m tests.fuzz.wire SECONDS`. Exit status: 0, or 1 with the smallest example that breaks a rule.
"""

import json
import socket
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from tests.answers import Answer, AnswerReader, fault
from tests.pictures_by_colour import colour_picture
from tests.process import Service, running
from tests.tiny_models import add_model, colour_graph

_KEY = "boss"
_QUIET_S = 0.15  # without an answer for this time, the service waits for more of the request
_HANG_S = 10.0
_ROUND = 60  # examples between two looks at the clock
_RED = colour_picture("red")

_HEAD_BYTES = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40)
_TOKENS = st.text("abcXYZ-_09", min_size=1, max_size=12)
_SAFE_VALUES = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), max_size=60)
_NAMES = st.sampled_from(
    ["Content-Type", "Accept", "Authorization", "X-API-Key", "Expect", "Cookie", "Range", "If-None-Match", "Origin",
     "X-Forwarded-For", "Upgrade-Insecure-Requests", "Content-Encoding", "Accept-Encoding", "TE", "Via"]
)  # fmt: skip
_VALUES = st.sampled_from(
    ["multipart/form-data", "multipart/form-data; boundary=b", 'multipart/form-data; boundary="b"', "image/png", "gzip",
     "multipart/form-data; boundary=", "application/json", "identity", "Bearer boss", "boss", "*", "bytes=0-", "\xff"]
)  # fmt: skip
_TARGETS = st.sampled_from(
    ["/infer", "/infer", "/infer/batch", "/infer/batch?stream=true", "/explain", "/explain?box=0,0,5,5",
     "/infer?top_k=2", "/infer?top_k=-1", "/infer?x=%ff",
     "/infer?model=colour&model=other", "/infer?version=9999999999999999999999", "/models",
     "/models/colour", "/models/colour/versions", "/models/%00", "/models/..%2f..%2f", "/health/live", "/health/ready",
     "//infer", "/infer/", "/models/default", "/models/colour/active", "/openapi.json", "/infer?model=", "/nope",
     "/v2/models/colour/infer", "/v2/models/colour", "/metrics", "/hf/colour", "/hf/colour/health", "/v1/embeddings",
     "/v1/models/colour", "/v1/vision/detection", "/v1/vision/custom/colour", "/v1/vision/custom/list"]
)  # fmt: skip
_METHODS = ["POST", "POST", "POST", "GET", "PUT", "DELETE", "OPTIONS", "PATCH"]
_PIECES = st.sampled_from(
    [_RED, b"\r\n--b\r\n", b"--b\r\n", b"\r\n--b--\r\n", b"--b--", b"\r\n", b"\r\n\r\n", b'{"version": 1}',
     b"\x89PNG\r\n\x1a\n",
     b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n', b'{"name": "other"}', b"\0" * 100,
     b'Content-Disposition: form-data; name="images"\r\n\r\n', b"Content-Type: image/png\r\n", b"x" * 5000]
)  # fmt: skip
_BODIES = st.lists(_PIECES | st.binary(max_size=30), max_size=8).map(b"".join)
_FORMS = st.sampled_from([b"image", b"images", b"model", b""]).map(
    lambda name: b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n--b--\r\n' % (name, _RED)
)
_KEYS_OF_JSON = st.sampled_from(
    ["image", "images", "inputs", "parameters", "top_k", "threshold", "model", "input", "encoding_format", "dimensions",
     "image_url", "url", "min_confidence"]
)  # fmt: skip
_TEXTS = st.sampled_from(
    [b64encode(_RED).decode(), f"data:;base64,{b64encode(_RED).decode()}", "http://x/", "?", "colour"]
)
_VALUES_OF_JSON = st.recursive(
    _TEXTS | st.none() | st.booleans() | st.integers(-2, 2) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS_OF_JSON, inner, max_size=3),
    max_leaves=6,
)
_JSON = st.dictionaries(_KEYS_OF_JSON, _VALUES_OF_JSON, max_size=4).map(lambda value: json.dumps(value).encode())


@st.composite
def whole_requests(draw: st.DrawFn, methods: Sequence[str] = _METHODS) -> bytes:
    """Requests with valid framing; each must get an answer. `%ID%` becomes its X-Request-ID."""
    method, target = draw(st.sampled_from(methods)), draw(_TARGETS)
    headers = draw(st.lists(st.tuples(_NAMES | _TOKENS.map("X-".__add__), _VALUES | _SAFE_VALUES), max_size=4))
    # Headers that change the framing are added below.
    lines = [f"{name}: {value}" for name, value in headers if name not in ("Expect", "X-Request-ID")]
    body = draw(_BODIES | _FORMS | _JSON)
    if draw(st.booleans()):
        kind = "application/json" if body.startswith(b"{") else "multipart/form-data; boundary=b"
        lines.append(f"Content-Type: {kind}")
    if draw(st.booleans()):
        size = draw(st.integers(1, 4096))
        lines.append("Transfer-Encoding: chunked")
        chunks = [body[i : i + size] for i in range(0, len(body), size)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", "X-Request-ID: %ID%", f"X-API-Key: {_KEY}", *lines])
    return head.encode("latin-1") + b"\r\n\r\n" + body


@st.composite
def broken_streams(draw: st.DrawFn) -> bytes:
    """Damaged requests, or random bytes."""
    data = bytearray(b"".join(draw(st.lists(whole_requests() | st.binary(max_size=200), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 5))):
        place = draw(st.integers(0, len(data)))
        new = draw(st.binary(max_size=4) | _HEAD_BYTES.map(lambda text: text.encode("latin-1")) | _PIECES)
        data[place : place + draw(st.sampled_from([0, 0, 1, 4, 100]))] = new
    return bytes(data)


_CUTS = st.lists(st.floats(0, 1), max_size=4)


class Wire:
    """Connections to the service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        host, _, port = service.base_url.removeprefix("http://").partition(":")
        self._address = host, int(port)

    def broken(self, data: bytes, cuts: Sequence[float]) -> None:
        """Answers are well-formed and not a 500, and the connection ends after the client has left."""
        with self._connect() as connection:
            _send(connection, data, cuts)
            answers, ended = _read(connection, 1 << 30, _QUIET_S)
            _judge(answers)
            if not ended:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                more, ended = _read(connection, 1 << 30, _HANG_S)
                _judge(more)
                assert ended, "the connection stays open after its client has left"
        self.check_alive()

    def whole(self, requests: Sequence[bytes], cuts: Sequence[float]) -> None:
        """One answer each, in order, until an answer closes the connection."""
        named = [request.replace(b"%ID%", b"id-%d" % number) for number, request in enumerate(requests)]
        methods = [request.partition(b" ")[0].decode() for request in requests]
        with self._connect() as connection:
            _send(connection, b"".join(named), cuts)
            answers, ended = _read(connection, len(named), _HANG_S, methods)
        _judge(answers, methods)
        ids = [answer.headers.get("x-request-id") for answer in answers]
        assert ids == [f"id-{number}" for number in range(len(answers))], f"answers out of order: {ids}"
        complete = len(answers) == len(named) or (ended and answers and answers[-1].closes)
        assert complete, f"{len(answers)} answers to {len(named)} requests, connection {'closed' if ended else 'open'}"

    def check_alive(self) -> None:
        """Another client is answered."""
        with self._connect() as connection:
            connection.sendall(b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(_RED), _RED))
            answers, _ = _read(connection, 1, _HANG_S)
        # The fuzzer has the admin key and may have changed the default model to another with the same answers.
        assert answers, "no answer for another client"
        assert answers[0].status == 200, answers[0].body
        assert answers[0].json()["predictions"][0]["label"] == "red", answers[0].body
        assert not self._service.bugs(), self._service.log_text[-3000:]

    def _connect(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=_HANG_S)


def main() -> int:
    """Checks both properties until the time is over."""
    end = time.monotonic() + float(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        for version in (1, 2):
            add_model(models, "colour", colour_graph(gain=version), version=version)
        add_model(models, "other", colour_graph())
        environment = {"API_MODELS_DIR": str(models), "API_DEFAULT_MODEL": "colour", "API_ADMIN_KEYS": _KEY}
        with running(environment | {"API_CACHE_DIR": f"{folder}/cache"}) as service:
            return _attack(Wire(service), end)


def _attack(wire: Wire, end: float) -> int:
    rounds = 0
    whole = _property(st.lists(whole_requests([*_METHODS, "HEAD"]), min_size=1, max_size=5), wire.whole)
    broken = _property(broken_streams(), wire.broken)
    while time.monotonic() < end or not rounds:
        whole()
        broken()
        rounds += 1
    print(f"wire: {rounds * _ROUND} lists of whole requests, {rounds * _ROUND} broken streams: no fault")
    return 0


def _property(streams: st.SearchStrategy[object], check: Callable[..., None]) -> Callable[[], None]:
    @settings(
        max_examples=_ROUND,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        verbosity=Verbosity.normal,
        print_blob=False,
    )
    @given(streams, _CUTS)
    def holds(stream: object, cuts: list[float]) -> None:
        partial(check, stream)(cuts)

    return holds


def _send(connection: socket.socket, data: bytes, cuts: Sequence[float]) -> None:
    places = sorted({0, len(data), *(int(cut * len(data)) for cut in cuts)})
    with suppress(OSError):  # the service may close the connection
        for start, stop in pairwise(places):
            connection.sendall(data[start:stop])
            time.sleep(0.001)


def _read(
    connection: socket.socket, most: int, quiet_s: float, methods: Sequence[str] = ()
) -> tuple[list[Answer], bool]:
    """Reads up to `most` answers, until none comes for `quiet_s` or the connection has ended (True).

    `methods`: the methods of the requests, if known.
    """
    reader = AnswerReader()
    answers: list[Answer] = []
    connection.settimeout(quiet_s)
    while len(answers) < most:
        try:
            data = connection.recv(1 << 16)
        except TimeoutError:
            return answers, False
        except OSError:  # reset: the service closed it before it had read everything
            data = b""
        reader.feed(data)
        while answer := reader.next(*methods[len(answers) : len(answers) + 1]):
            answers.append(answer)
        if not data:
            return answers, True
    return answers, False


def _judge(answers: Sequence[Answer], methods: Sequence[str] = ()) -> None:
    for number, answer in enumerate(answers):
        assert not (wrong := fault(answer, *methods[number : number + 1])), wrong


if __name__ == "__main__":
    sys.exit(main())
