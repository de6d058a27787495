"""The memory of all uploads in progress together is limited."""

import contextlib
import time
from contextlib import ExitStack

import pytest

from tests.conftest import Serve
from tests.raw_http import connected, post, read_answer
from tests.server import until

_SIZE = 400_000
_FORM = b"--b\r\nContent-Disposition: form-data; name=image; filename=a.png\r\n\r\n"


@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
def test_pictures_that_arrive_slowly_have_a_bound_together(serve: Serve, red_png: bytes, *, form: bool) -> None:
    server = serve(max_arriving_mb=1)
    headers = "Content-Type: multipart/form-data; boundary=b\r\n" if form else ""
    body = (_FORM if form else b"") + red_png + bytes(_SIZE)
    with ExitStack() as open_ones:
        for _ in range(2):
            slow = open_ones.enter_context(connected(server.port))
            slow.sendall(post(body, headers=headers)[:-1000])
        time.sleep(0.3)
        third = open_ones.enter_context(connected(server.port))
        with contextlib.suppress(ConnectionError):
            third.sendall(post(body, headers=headers)[:-1000])
        refused = read_answer(third)
        assert (refused.status, refused.code) == (503, "uploads_full")
        assert b"\r\nretry-after: 1\r\n" in refused.head
        assert server.client.post("/infer", content=red_png).status_code == 200, "a small one is not kept waiting"
    until(lambda: server.client.post("/infer", content=red_png + bytes(_SIZE)).status_code == 200)
