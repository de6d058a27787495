"""The bounds of a batch: how much is read ahead, what a client that takes nothing may cost."""

import asyncio
from collections.abc import Awaitable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from api.problems import RequestError
from api.routes.batch_run import Batch, Results, Work
from api.routes.batch_stream import StreamedBatch
from api.uploads.batch_form import BatchForm, Part
from api.uploads.body import Body

LARGEST = 50
NEXT = b"\r\n--b\r\n"
HEAD = b'Content-Disposition: form-data; name="images"; filename="a"\r\n\r\n'


class Kept(Results):
    def __init__(self) -> None:
        self.begun = False
        self.kept: dict[int, bytes] = {}

    def add(self, index: int, result: bytes) -> None:
        self.kept[index] = result

    def fail(self, error: RequestError) -> None:
        raise error


class Client:
    """Sends one picture a chunk, and then waits for its answer, or leaves."""

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
        state = {"request_id": "x", "log": {}}
        return Request({"type": "http", "headers": [], "state": state}, self.receive)

    def run(self, work: Work, places: asyncio.Semaphore, results: Results) -> Awaitable[None]:
        request = self.request()
        form = BatchForm(b"b", LARGEST, 100)
        return Batch(request, work, places, results).run(Body(request, 10_000, LARGEST, 5), form)


def test_no_more_is_read_than_there_are_places() -> None:
    async def check() -> None:
        client, go, at_work = Client(20), asyncio.Event(), set()

        async def work(part: Part) -> dict[str, object]:
            at_work.add(part.index)
            await go.wait()
            return {}

        running = asyncio.ensure_future(client.run(work, asyncio.Semaphore(3), kept := Kept()))
        for _ in range(100):
            await asyncio.sleep(0)
        assert at_work == {0, 1, 2}
        assert client.sent <= 6  # a picture ends where the next begins, one waits for a place, one chunk lies ready
        go.set()
        await running
        assert sorted(kept.kept) == list(range(20))

    asyncio.run(check())


def test_all_places_are_free_again_after_a_client_has_left() -> None:
    async def check() -> None:
        async def work(_: Part) -> dict[str, object]:
            await asyncio.sleep(60)
            return {}

        places = asyncio.Semaphore(3)
        for pictures in (1, 2, 3):
            with pytest.raises(ClientDisconnect):
                await Client(pictures, leaves=True).run(work, places, Kept())
        async with asyncio.timeout(1):
            for _ in range(3):
                await places.acquire()

    asyncio.run(check())


def test_a_client_that_takes_no_lines_is_given_up() -> None:
    async def check() -> None:
        client, places = Client(5), asyncio.Semaphore(3)

        async def work(_: Part) -> dict[str, object]:
            return {}

        async def never_sent(_: object) -> None:
            await asyncio.sleep(60)

        request = client.request()
        answer = StreamedBatch(request, lambda results: client.run(work, places, results), stall_s=0.02)
        with pytest.raises(ClientDisconnect):
            await answer(request.scope, request.receive, never_sent)

    asyncio.run(check())


@given(st.lists(st.binary(max_size=LARGEST + 5), min_size=1, max_size=5), st.lists(st.integers(0, 800), max_size=5))
def test_the_pictures_of_a_form_are_the_same_in_any_chunks(pictures: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(NEXT + HEAD + picture for picture in pictures) + b"\r\n--b--\r\n"
    form, found = BatchForm(b"b", LARGEST, 5), []
    places = sorted({0, *(min(cut, len(whole)) for cut in cuts), len(whole)})
    for start, end in pairwise(places):
        found += form.feed(whole[start:end])
    form.finish()
    wanted = [picture if len(picture) <= LARGEST else None for picture in pictures]
    assert found == [Part(index, "a", data) for index, data in enumerate(wanted)]
