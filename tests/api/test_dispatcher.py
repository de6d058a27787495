"""Connections handed to workers, over real sockets; the workers are the test itself."""

import asyncio
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from api.dispatcher import Dispatcher
from api.supervisor import listen
from engine.neighbours import Board, make_board


class Two:
    """Two workers' ends: what each was handed."""

    def __init__(self) -> None:
        self.board: Board = make_board(2)[0]
        self.pairs = [socket.socketpair() for _ in range(2)]
        self.workers: dict[int, Any] = {}
        for number, (hands, own) in enumerate(self.pairs):
            hands.setblocking(False)
            own.setblocking(False)
            self.workers[number] = SimpleNamespace(hands=hands, given=0, ready=True, settles_in=False)
            self.board.place(number).tell_alive(able=True)
        self.listener = listen("127.0.0.1", 0)
        self.dispatcher = Dispatcher(self.listener, self.board, self.workers)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.dispatcher.address)

    def taken(self, number: int) -> list[socket.socket]:
        found: list[socket.socket] = []
        while True:
            try:
                _, descriptors, _, _ = socket.recv_fds(self.pairs[number][1], 1, 1)
            except BlockingIOError:
                return found
            found += [socket.socket(fileno=descriptor) for descriptor in descriptors]

    def close(self) -> None:
        for one, other in self.pairs:
            one.close()
            other.close()


@pytest.fixture
def two() -> Iterator[Two]:
    made = Two()
    yield made
    made.close()
    made.listener.close()


async def settled() -> None:
    await asyncio.sleep(0.3)


def test_each_gets_as_many_and_one_that_lost_some_gets_the_next(two: Two) -> None:
    async def main() -> None:
        two.dispatcher.go_on()
        clients = [two.connect() for _ in range(8)]
        await settled()
        assert [two.workers[number].given for number in (0, 1)] == [4, 4]
        place = two.board.place(1)
        for _ in range(2):
            place.tell_closed()
        clients += [two.connect() for _ in range(2)]
        await settled()
        assert [two.workers[number].given for number in (0, 1)] == [4, 6]
        handed = [*two.taken(0), *two.taken(1)]
        assert {held.getpeername() for held in handed} == {client.getsockname() for client in clients}
        for held in (*clients, *handed):
            held.close()

    asyncio.run(main())


def test_one_whose_model_is_not_ready_gets_none_while_another_s_is(two: Two) -> None:
    async def main() -> None:
        two.board.place(0).tell_alive(able=False)
        two.dispatcher.go_on()
        clients = [two.connect() for _ in range(3)]
        await settled()
        assert [two.workers[number].given for number in (0, 1)] == [0, 3]
        two.workers[0].settles_in = True
        clients += [two.connect() for _ in range(3)]
        await settled()
        assert [two.workers[number].given for number in (0, 1)] == [3, 3], "but when the service has just started"
        for held in (*clients, *two.taken(0), *two.taken(1)):
            held.close()

    asyncio.run(main())


def test_connections_wait_until_somebody_is_ready_and_none_is_lost(two: Two) -> None:
    async def main() -> None:
        for worker in two.workers.values():
            worker.ready = False
        clients = [two.connect() for _ in range(5)]
        await settled()
        two.workers[1].ready = True
        two.dispatcher.go_on()
        await settled()
        handed = two.taken(1)
        assert len(handed) == 5
        for held in (*clients, *handed):
            held.close()

    asyncio.run(main())


def test_at_the_end_what_has_come_is_taken_and_the_door_is_shut(two: Two) -> None:
    async def main() -> None:
        clients = [two.connect() for _ in range(7)]
        await two.dispatcher.finish()
        handed = [*two.taken(0), *two.taken(1)]
        assert len(handed) == 7
        with pytest.raises(ConnectionRefusedError):
            two.connect()
        for held in (*clients, *handed):
            held.close()

    address = two.dispatcher.address
    two.connect = lambda: socket.create_connection(address)  # type: ignore[method-assign]
    asyncio.run(main())


def test_one_that_is_behind_or_gone_is_passed_over(two: Two) -> None:
    async def main() -> None:
        two.pairs[0][1].close()
        two.dispatcher.go_on()
        clients = [two.connect() for _ in range(4)]
        await settled()
        handed = two.taken(1)
        assert len(handed) == 4
        for held in (*clients, *handed):
            held.close()

    asyncio.run(main())
