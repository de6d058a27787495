"""The limits of a batch: how much of the body is read ahead, and what happens when the client leaves."""

import asyncio
from collections.abc import Awaitable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from api.problems import BodyTooLargeError
from api.routes.batch_run import Add, BatchRun, Predict
from api.uploads.body import BodyLimits, RequestBody
from api.uploads.multipart import MultipartReader
from api.uploads.pictures import Part, PictureForm

LARGEST = 50
NEXT = b"\r\n--b\r\n"
HEAD = b'Content-Disposition: form-data; name="images"; filename="a"\r\n\r\n'


class Client:
    """Sends one picture per chunk, and then waits for the response, or leaves."""

    def __init__(self, pictures: int, *, leaves: bool = False) -> None:
        self.chunks = [NEXT + HEAD + b"%d" % n for n in range(pictures)]
        if not leaves:
            self.chunks.append(b"\r\n--b--\r\n")
        self.sent = 0
        self._leaves = leaves

    async def receive(self) -> dict[str, Any]:
        if self.sent < len(self.chunks):
            self.sent += 1
            more = self._leaves or self.sent < len(self.chunks)
            return {"type": "http.request", "body": self.chunks[self.sent - 1], "more_body": more}
        if not self._leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    def request(self) -> Request:
        state = {"request_id": "x", "log": {}, "failed": []}
        return Request({"type": "http", "headers": [], "state": state}, self.receive)

    def run(self, predict: Predict, slots: asyncio.Semaphore, add: Add) -> Awaitable[None]:
        request = self.request()
        form = PictureForm(("images",), LARGEST, 100)
        body = RequestBody(request, BodyLimits(10_000, LARGEST, 5))
        return BatchRun(request, predict, slots, add).run(body, MultipartReader(b"b", form), form)


def test_body_is_read_only_while_slots_are_free() -> None:
    async def check() -> None:
        client, go, started = Client(20), asyncio.Event(), set()

        async def predict(part: Part) -> dict[str, object]:
            started.add(part.index)
            await go.wait()
            return {}

        kept: dict[int, bytes] = {}
        running = asyncio.ensure_future(client.run(predict, asyncio.Semaphore(3), kept.__setitem__))
        for _ in range(100):
            await asyncio.sleep(0)
        assert started == {0, 1, 2}
        assert client.sent <= 6  # a picture ends where the next begins, one waits for a slot, one chunk is read ahead
        go.set()
        await running
        assert sorted(kept) == list(range(20))

    asyncio.run(check())


def test_slots_are_released_after_a_disconnect() -> None:
    async def check() -> None:
        async def predict(_: Part) -> dict[str, object]:
            await asyncio.sleep(60)
            return {}

        slots = asyncio.Semaphore(3)
        for pictures in (1, 2, 3):
            with pytest.raises(ClientDisconnect):
                await Client(pictures, leaves=True).run(predict, slots, dict[int, bytes]().__setitem__)
        async with asyncio.timeout(1):
            for _ in range(3):
                await slots.acquire()

    asyncio.run(check())


@given(st.lists(st.binary(max_size=LARGEST + 5), min_size=1, max_size=5), st.lists(st.integers(0, 800), max_size=5))
def test_form_pictures_are_independent_of_chunk_boundaries(pictures: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(NEXT + HEAD + picture for picture in pictures) + b"\r\n--b--\r\n"
    form, found = PictureForm(("images",), LARGEST, 5), []
    reader = MultipartReader(b"b", form)
    positions = sorted({0, *(min(cut, len(whole)) for cut in cuts), len(whole)})
    for start, end in pairwise(positions):
        reader.feed(whole[start:end])
        found += form.take_complete()
    reader.finish()
    assert [(part.index, part.field, part.filename) for part in found] == [
        (index, "images", "a") for index in range(len(pictures))
    ]
    for part, picture in zip(found, pictures, strict=True):
        if len(picture) <= LARGEST:
            assert part.data == picture
        else:
            assert isinstance(part.data, BodyTooLargeError)
