"""What HTTP costs: CPU time of the server a request, before the model's work. Linux only.

.venv/bin/python -m benchmarks.http_overhead [ROUNDS] [REQUESTS]

The engine answers at once, with a fixed answer; the client is another process, on one connection that stays open. The
picture has 80 KB. The servers take turns, so that whatever else the machine does hits all alike.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import uvicorn

from api.http_protocol import BoundedHttpProtocol
from api.inference_api import InferenceAPI
from api.middleware.request_context import RequestContext
from api.routes import infer as infer_routes
from api.security.rejection_delay import RejectionDelay
from api.settings import ApiSettings
from engine.inference_engine import Observer, Wait
from engine.models.loaded_model import ModelRef
from engine.pipeline import Answer
from engine.scheduling.scheduler import QueueFullError
from engine.tasks.predictions import Classification, Prediction
from loaders.images.base import ImageInfo
from loaders.repository.specs.model_spec import TaskName
from utils.time_utils import StageTimer

PICTURE_BYTES = 80_000
_BOUNDARY = b"----------------------------5a1c0ffee5a1c0ffee"
_PREDICTIONS: list[Prediction] = [Classification(f"label {n}", n, 0.38619885 / (n + 1)) for n in range(5)]
_MODEL = ModelRef("efficientnet-lite0", 1, TaskName.IMAGE_CLASSIFICATION)

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class _InstantEngine:
    """Answers before it has looked; `observer` counts the answers."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def request(self, choices: Sequence[object]) -> list[object]:
        return list(choices)

    def check_queue(self, choices: Sequence[object]) -> None:
        """There always is one."""

    async def predict(
        self,
        data: bytes,
        choices: object,  # noqa: ARG002 - the engine's own signature
        options: object,  # noqa: ARG002 - as above
        timer: StageTimer,
        wait: Wait,  # noqa: ARG002 - as above
    ) -> list[Answer]:
        assert len(data) == PICTURE_BYTES
        answers = [Answer(_MODEL, ImageInfo("JPEG", 451, 300), _PREDICTIONS, timer)]
        self._observer.answered(answers)
        return answers

    def close(self) -> None:
        """Nothing to end."""


class _FullEngine(_InstantEngine):
    """Refuses before it is given anything."""

    def check_queue(self, choices: Sequence[object]) -> None:  # noqa: ARG002 - the engine's own signature
        raise QueueFullError(64, 64, 1)


class _Service(InferenceAPI):
    made_with: type[_InstantEngine] = _InstantEngine

    def _start(self) -> None:
        self._engine = self.made_with(self.metrics)  # type: ignore[assignment]  # as much of an engine as is asked


class _FullService(_Service):
    made_with = _FullEngine


async def _bare(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The floor: what the server and the kernel take whatever the application does."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    body = orjson.dumps({"predictions": _PREDICTIONS})
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _app(kind: str) -> Any:  # noqa: ANN401 - ASGI applications of two kinds
    infer_routes.RejectionDelay = partial(RejectionDelay, 0.0)  # type: ignore[assignment,attr-defined]  # no delays
    made = _FullService if kind.startswith("full") else _Service
    service = made(ApiSettings(_env_file=None, log_level="warning" if kind.endswith("unlogged") else "info"))
    return {"bare": _bare, "context": RequestContext(_bare)}.get(kind, service.app)  # type: ignore[arg-type]  # starlette types ASGI twice


def serve(kind: str) -> None:
    """Serves until it is ended; tells its port on stdout."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        _app(kind), http=BoundedHttpProtocol, log_config=None, access_log=False, proxy_headers=False
    )
    uvicorn.Server(config).run([listener])


@dataclass(frozen=True)
class _Running:
    pid: int
    connection: socket.socket

    def cpu_s(self) -> float:
        """Of all its threads, to the nanosecond."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def ask(self, request: bytes) -> None:
        self.connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.connection.recv(65_536)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")), answer
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self.connection.recv(65_536)


@contextmanager
def _running(kind: str) -> Iterator[_Running]:
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "benchmarks.http_overhead", "--serve", kind]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=_environment()) as process:
            assert process.stdout
            try:
                port = int(process.stdout.readline())
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    yield _Running(process.pid, connection)
            finally:
                process.terminate()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("API_")}


def _request(body: bytes, content_type: bytes) -> bytes:
    head = b"POST /infer HTTP/1.1\r\nHost: localhost\r\nUser-Agent: benchmark\r\nAccept: */*\r\n"
    return head + b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (content_type, len(body), body)


def _requests() -> dict[str, bytes]:
    picture = bytes(range(256)) * (PICTURE_BYTES // 256) + bytes(PICTURE_BYTES % 256)
    part = b'Content-Disposition: form-data; name="image"; filename="cat.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    form = b"--%s\r\n%s%s\r\n--%s--\r\n" % (_BOUNDARY, part, picture, _BOUNDARY)
    return {
        "raw": _request(picture, b"image/jpeg"),
        "form": _request(form, b"multipart/form-data; boundary=" + _BOUNDARY),
    }


_ROWS = [
    ("server and kernel alone", "bare", "raw"),
    ("  and request id, log line", "context", "raw"),
    ("/infer, raw, no log line", "unlogged", "raw"),
    ("/infer, raw", "service", "raw"),
    ("/infer, form, no log line", "unlogged", "form"),
    ("/infer, form", "service", "form"),
    ("/infer, queue full, no log line", "full, unlogged", "raw"),
    ("/infer, queue full", "full", "raw"),
]


def main() -> None:
    rounds, count = (
        (int(word) for word in [*sys.argv[1:3], "15", "400"][:2]) if len(sys.argv) != 2 else (int(sys.argv[1]), 400)
    )
    requests = _requests()
    found: dict[str, list[float]] = {name: [] for name, _, _ in _ROWS}
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(_running(kind)) for kind in {kind for _, kind, _ in _ROWS}}
        for turn in range(rounds + 1):
            for name, kind, body in _ROWS:
                us = _measure(servers[kind], requests[body], count)
                if turn:  # the first is the warm-up
                    found[name].append(us)
    print("server's CPU time, us a request      median     min")
    for name, values in found.items():
        print(f"{name:34} {statistics.median(values):8.0f} {min(values):7.0f}")


def _measure(server: _Running, request: bytes, count: int) -> float:
    """Microseconds of CPU a request."""
    before = server.cpu_s()
    for _ in range(count):
        server.ask(request)
    return (server.cpu_s() - before) / count * 1e6


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        main()
