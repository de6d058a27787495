"""API_MAX_ARRIVING_MB limits the memory of all uploads in progress."""

import contextlib
from contextlib import ExitStack

import pytest

from api.uploads.body import ArrivingMemory
from tests.conftest import Serve
from tests.raw_http import connected, post, read_answer
from tests.server import until

_SIZE = 400_000
_FORM = b"--b\r\nContent-Disposition: form-data; name=image; filename=a.png\r\n\r\n"


@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
def test_slow_uploads_share_a_memory_limit(
    serve: Serve, red_png: bytes, monkeypatch: pytest.MonkeyPatch, *, form: bool
) -> None:
    taken: list[int] = []
    take = ArrivingMemory.take

    def take_and_note(memory: ArrivingMemory, size: int, *, held: int) -> None:
        taken.append(size)
        take(memory, size, held=held)

    monkeypatch.setattr(ArrivingMemory, "take", take_and_note)
    server = serve(max_arriving_mb=1)
    headers = "Content-Type: multipart/form-data; boundary=b\r\n" if form else ""
    body = (_FORM if form else b"") + red_png + bytes(_SIZE)
    with ExitStack() as uploads:
        for _ in range(2):
            slow = uploads.enter_context(connected(server.port))
            slow.sendall(post(body, headers=headers)[:-1000])
        until(lambda: sum(taken) == 2 * (len(body) - 1000))
        third = uploads.enter_context(connected(server.port))
        with contextlib.suppress(ConnectionError):
            third.sendall(post(body, headers=headers)[:-1000])
        rejected = read_answer(third)
        assert (rejected.status, rejected.code) == (503, "uploads_full")
        assert b"\r\nretry-after: 1\r\n" in rejected.head
        assert server.client.post("/infer", content=red_png).status_code == 200  # a small one still fits
    until(lambda: server.client.post("/infer", content=red_png + bytes(_SIZE)).status_code == 200)
