"""The short cut for ordinary forms must not be told from the parser."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from api.body import Body
from api.problems import BodyTooLargeError, RequestError
from api.upload import ENVELOPE_BYTES, Upload, _ImageForm, _read_form

BOUNDARY = b"b0undary"
LIMIT = 300

HEADS = [
    b'Content-Disposition: form-data; name="image"; filename="a cat.jpg"\r\nContent-Type: image/jpeg\r\n\r\n',
    b'Content-Disposition: form-data; name="image"; filename="x; y=\'z\'*.png"\r\n\r\n',
    b'Content-Disposition: form-data; name="image"; filename=" "\r\n\r\n',
    b'Content-Disposition: form-data; name="image"\r\n\r\n',
    b'Content-Disposition: form-data; name="image"; filename=""\r\n\r\n',
    b'Content-Disposition: form-data; name="image"; filename="C:\\cats\\a \\"b\\".jpg"\r\n\r\n',
    'Content-Disposition: form-data; name="image"; filename="Kätzchen.jpg"\r\n\r\n'.encode(),
    b"content-disposition: form-data; filename=a.jpg; name=image\r\nX-More: 1\r\n\r\n",
    b'Content-Disposition: form-data; name="other"\r\n\r\n',
    b"Content-Type: image/jpeg\r\n\r\n",
    b"no header\r\n\r\n",
    b"\r\n",
]
DELIMITER = b"\r\n--" + BOUNDARY
PIECES = st.sampled_from(
    [b"", b"\r", b"\n", b"\r\n", b"--", b"\r\n--", b"\r\n--b0un", DELIMITER + b"x", b"pixels" * 20]
)
DATA = st.lists(PIECES | st.binary(max_size=8), max_size=5).map(b"".join)
PART = st.tuples(st.sampled_from(HEADS), DATA).map(lambda part: part[0] + part[1])
ENDS = st.sampled_from([b"--\r\n", b"--", b"", b"-", b"\r\n", b"--\r\nepilogue", b" \r\n", b"--" + b"e" * 400])
FORMS = st.builds(
    lambda start, parts, end: start + (DELIMITER + b"\r\n").join(parts) + DELIMITER + end,
    st.sampled_from([b"--b0undary\r\n", b"\r\n--b0undary\r\n", b"--b0undary--\r\n", b"--other\r\n", b""]),
    st.lists(PART, min_size=1, max_size=2),
    ENDS,
)
ORDINARY = b"--b0undary\r\n" + HEADS[0] + b"pixels" + DELIMITER + b"--\r\n"


def in_chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)] or [b""]


def outcome(chunks: list[bytes], read: Callable[[Body], Awaitable[Upload]]) -> Upload | type[RequestError]:
    left = list(chunks)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    body = Body(Request({"type": "http", "headers": []}, receive), LIMIT + ENVELOPE_BYTES, LIMIT)
    try:
        return asyncio.run(read(body))  # type: ignore[arg-type]  # a stand-in for a request
    except RequestError as error:
        return type(error)


async def by_short_cut(body: Body) -> Upload:
    return await _read_form(body, BOUNDARY, LIMIT)


async def by_parser(body: Body) -> Upload:
    return await _ImageForm(LIMIT, BOUNDARY).read(body)


@given(FORMS, st.lists(st.integers(0, 500), max_size=4))
@example(ORDINARY, [])
@example(ORDINARY, list(range(0, 500, 2)))
def test_any_form_in_any_chunks_gives_what_the_parser_gives(form: bytes, cuts: list[int]) -> None:
    chunks = in_chunks(form, cuts)
    assert outcome(chunks, by_short_cut) == outcome(chunks, by_parser)


def test_an_ordinary_form_needs_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("api.upload._ImageForm")
    for cut in range(len(HEADS[0]) + 12, len(ORDINARY) - len(DELIMITER) - 4):
        assert outcome(in_chunks(ORDINARY, [cut]), by_short_cut) == Upload(b"pixels", "a cat.jpg")


@pytest.mark.parametrize("more", [0, 1])
def test_the_limit_is_the_pictures_not_the_forms(more: int) -> None:
    form = b"--b0undary\r\n" + HEADS[0] + bytes(LIMIT + more) + DELIMITER + b"--\r\n"
    for cuts in ([], [150, 390], [len(form) - 5]):
        found = outcome(in_chunks(form, cuts), by_short_cut)
        assert found == (BodyTooLargeError if more else Upload(bytes(LIMIT), "a cat.jpg"))
