"""Connections handed to workers, over real sockets; the workers are the test itself."""

import asyncio
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from api.dispatcher import Dispatcher
from api.handover import ConnectionGiver
from api.supervisor import listen
from engine.neighbours import Board, make_board


class Two:
    """Two workers' ends: what each was handed."""

    def __init__(self) -> None:
        self.board: Board = make_board(2)[0]
        self.pairs = [socket.socketpair() for _ in range(2)]
        self.workers: dict[int, Any] = {}
        for number, (way, own) in enumerate(self.pairs):
            own.setblocking(False)
            self.workers[number] = SimpleNamespace(connections=ConnectionGiver(way), ready=True, settles_in=False)
            self.board.place(number).tell_alive(able=True)
        self.listener = listen("127.0.0.1", 0)
        self.dispatcher = Dispatcher(self.listener, self.board, self.workers)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.dispatcher.address)

    def given(self) -> list[int]:
        return [self.workers[number].connections.given for number in (0, 1)]

    def taken(self, number: int) -> list[socket.socket]:
        found: list[socket.socket] = []
        while True:
            try:
                _, descriptors, _, _ = socket.recv_fds(self.pairs[number][1], 1, 1)
            except BlockingIOError:
                return found
            found += [socket.socket(fileno=descriptor) for descriptor in descriptors]

    async def close(self) -> None:
        for number, (_, own) in enumerate(self.pairs):
            own.close()
            for untaken in self.workers[number].connections.close():
                untaken.close()


@pytest.fixture
def two() -> Iterator[Two]:
    made = Two()
    yield made
    asyncio.run(made.close())
    made.listener.close()


async def settled() -> None:
    await asyncio.sleep(0.3)


def test_each_gets_as_many_and_one_that_lost_some_gets_the_next(two: Two) -> None:
    async def main() -> None:
        two.dispatcher.go_on()
        clients = [two.connect() for _ in range(8)]
        await settled()
        assert two.given() == [4, 4]
        place = two.board.place(1)
        for _ in range(2):
            place.tell_closed()
        clients += [two.connect() for _ in range(2)]
        await settled()
        assert two.given() == [4, 6]
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
        assert two.given() == [0, 3]
        two.workers[0].settles_in = True
        clients += [two.connect() for _ in range(3)]
        await settled()
        assert two.given() == [3, 3], "but when the service has just started"
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
    two.connect = lambda: socket.create_connection(address)  # type: ignore[method-assign]  # its listener will be gone
    asyncio.run(main())


def test_what_a_worker_that_is_gone_never_took_goes_to_another_before_what_came_later(two: Two) -> None:
    async def main() -> None:
        two.dispatcher.go_on()
        clients = [two.connect() for _ in range(6)]
        await settled()
        assert two.given() == [3, 3]
        gone = two.workers.pop(0)
        two.pairs[0][1].close()
        two.workers[1].ready = False
        untaken = gone.connections.close()
        assert [held.getpeername() for held in untaken] == [client.getsockname() for client in clients[::2]]
        two.dispatcher.give_again(untaken)
        clients.append(two.connect())
        await settled()
        two.workers[1].ready = True
        two.dispatcher.go_on()
        await settled()
        handed = two.taken(1)
        wanted = [client.getsockname() for client in (*clients[1::2], *clients[:6:2], clients[6])]
        assert [held.getpeername() for held in handed] == wanted
        for held in (*clients, *handed):
            held.close()
        two.workers[0] = gone

    asyncio.run(main())


def test_when_all_has_ended_what_was_never_taken_is_closed(two: Two) -> None:
    async def main() -> None:
        two.workers[1].ready = False
        client = two.connect()
        await two.dispatcher.finish()
        two.workers[0].connections.end()
        two.pairs[0][1].close()
        two.dispatcher.give_again(two.workers[0].connections.close())
        client.settimeout(5)
        assert client.recv(1) == b""
        client.close()

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
