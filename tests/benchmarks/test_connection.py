import asyncio
from collections.abc import Sequence
from unittest.mock import Mock

import pytest

from benchmarks.connection import LOST, Answer, Connection

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


def _open() -> tuple[Connection, list[Answer], Mock]:
    answers: list[Answer] = []
    connection = Connection(lambda _, answer: answers.append(answer))
    transport = Mock(spec=asyncio.Transport)
    transport.is_closing.return_value = False
    connection.connection_made(transport)
    connection.send(b"GET / HTTP/1.1\r\n\r\n")
    return connection, answers, transport


@pytest.mark.parametrize("pieces", [[ANSWER], [ANSWER[:7], ANSWER[7:30], ANSWER[30:]], [bytes([b]) for b in ANSWER]])
def test_an_answer_may_come_in_any_pieces(pieces: Sequence[bytes]) -> None:
    connection, answers, _ = _open()
    for piece in pieces:
        connection.data_received(piece)
    assert answers == [Answer(200, b"hello")]


def test_chunks_end_with_an_empty_one() -> None:
    connection, answers, _ = _open()
    connection.data_received(b"HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert not answers
    connection.data_received(b"0\r\n\r\n")
    assert [answer.status for answer in answers] == [404]


def test_a_lost_connection_is_an_answer_of_its_own() -> None:
    connection, answers, _ = _open()
    connection.connection_lost(None)
    assert answers == [Answer(LOST, b"")]


def test_nothing_is_told_after_closing() -> None:
    connection, answers, transport = _open()
    connection.close()
    connection.connection_lost(None)
    assert not answers
    transport.abort.assert_called_once()


def test_a_server_that_wants_to_close_is_obeyed() -> None:
    connection, answers, transport = _open()
    connection.data_received(b"HTTP/1.1 503 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert answers == [Answer(503, b"")]
    transport.close.assert_called_once()
