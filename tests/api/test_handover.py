"""Connections given and taken over a real pair of sockets: when each end closes its own."""

import asyncio
import resource
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager

from api.handover import ConnectionGiver, ConnectionTaker


class Pair:
    """A giver, a taker, and what was taken; `connect` gives a client and the served end of its connection."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self.ways = socket.socketpair()
        for way in self.ways:
            self._open.enter_context(way)
        self.giver = ConnectionGiver(self.ways[0])
        self.got: list[socket.socket] = []
        self.lost = 0
        self.taker = ConnectionTaker(self.ways[1], self.got.append, self._lose)

    def _lose(self) -> None:
        self.lost += 1

    def connect(self) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = self._open.enter_context(socket.create_connection(listener.getsockname()))
            served, _ = listener.accept()
        client.settimeout(5)
        return client, served

    async def close(self) -> None:
        if self.ways[1].fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.ways[1])
        for held in (*self.giver.close(), *self.got):
            held.close()
        self._open.close()


def with_a_pair(check: Callable[[Pair], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        pair = Pair()
        try:
            await check(pair)
        finally:
            await pair.close()

    asyncio.run(main())


async def settled() -> None:
    await asyncio.sleep(0.1)


def test_what_is_taken_is_the_taker_s_alone() -> None:
    async def check(pair: Pair) -> None:
        pair.taker.start()
        client, served = pair.connect()
        assert pair.giver.give(served)
        await settled()
        [taken] = pair.got
        taken.sendall(b"an answer")
        taken.close()
        assert await asyncio.to_thread(client.recv, 100) == b"an answer"
        assert await asyncio.to_thread(client.recv, 100) == b"", "no copy of the giver's keeps it open"
        assert pair.giver.close() == []

    with_a_pair(check)


def test_what_was_never_taken_is_open_and_as_it_came() -> None:
    async def check(pair: Pair) -> None:
        both = [pair.connect() for _ in range(3)]
        for client, served in both:
            assert pair.giver.give(served)
            client.sendall(b"a request")
        pair.ways[1].close()
        again = pair.giver.close()
        assert again == [served for _, served in both]
        assert [served.recv(100) for served in again] == [b"a request"] * 3
        for served in again:
            served.close()

    with_a_pair(check)


def test_a_giver_that_has_ended_gives_nothing_and_the_taker_still_takes_what_was_given() -> None:
    async def check(pair: Pair) -> None:
        _, given = pair.connect()
        _, late = pair.connect()
        assert pair.giver.give(given)
        pair.giver.end()
        assert not pair.giver.give(late)
        late.close()
        pair.taker.start()
        async with asyncio.timeout(5):
            await pair.taker.ended()
        await settled()
        assert len(pair.got) == 1
        assert pair.giver.close() == []

    with_a_pair(check)


def test_many_in_one_go_are_all_told_of() -> None:
    async def check(pair: Pair) -> None:
        for _ in range(50):
            _, served = pair.connect()
            assert pair.giver.give(served)
        pair.taker.start()
        await settled()
        assert len(pair.got) == pair.giver.given == 50
        assert pair.giver.close() == []

    with_a_pair(check)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = socket.socket()
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno(), limits[1]))
    probe.close()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_one_that_there_is_no_descriptor_for_is_told_lost_and_closed() -> None:
    async def check(pair: Pair) -> None:
        client, served = pair.connect()
        assert pair.giver.give(served)
        pair.taker.start()
        with no_descriptor_left():
            await settled()
        assert (pair.got, pair.lost) == ([], 1)
        assert await asyncio.to_thread(client.recv, 100) == b""
        assert pair.giver.close() == []

    with_a_pair(check)
