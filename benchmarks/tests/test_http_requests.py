from pathlib import Path

import pytest

from benchmarks.connection import LOST, Answer
from benchmarks.http_requests import Picture, multipart, raw

CAT = Picture(Path("cat.jpg"), "image/jpeg", b"\xff\xd8 cat", frozenset({281, 282}))


def _answer(*classes: int) -> bytes:
    predictions = ",".join(f'{{"label":"a, b","class_id":{class_id},"score":0.5}}' for class_id in classes)
    return f'{{"model":{{"name":"x"}},"predictions":[{predictions}]}}'.encode()


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (Answer(200, _answer(282, 7)), True),
        (Answer(200, _answer(7, 282)), False),
        (Answer(200, b'{"predictions": [{"label": "x", "class_id": 281}]}'), True),
        (Answer(200, b""), False),
        (Answer(503, _answer(282)), False),
        (Answer(LOST, b""), False),
    ],
)
def test_an_answer_is_right_when_its_best_class_is(answer: Answer, right: bool) -> None:
    assert raw("/infer", CAT).is_right(answer) is right


def test_a_batch_is_right_when_every_picture_is() -> None:
    request = multipart("/infer/batch", [CAT, CAT], "images")
    assert request.is_right(Answer(200, _answer(282) + _answer(281)))
    assert not request.is_right(Answer(200, _answer(282) + _answer(7)))
    assert not request.is_right(Answer(200, _answer(282)))


def test_the_length_is_that_of_the_body() -> None:
    for request in (raw("/infer", CAT), multipart("/infer", [CAT])):
        head, _, body = request.payload.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
