"""How clients name a form's fields and files."""

import contextlib
import time

import pytest

from api.disposition import field_of
from api.problems import MalformedMultipartError


@pytest.mark.parametrize(
    ("rest", "filename"),
    [
        ("", None),
        ('; filename=""', None),
        ('; filename="cat.jpg"', "cat.jpg"),
        ("; filename=cat.jpg", "cat.jpg"),
        ('; FileName = "cat.jpg" ; size=3', "cat.jpg"),
        ('; filename="a;b=c.jpg";', "a;b=c.jpg"),
        (r'; filename="say \"cat\".jpg"', 'say "cat".jpg'),
        ('; filename="say %22cat%22.jpg"', "say %22cat%22.jpg"),
        ('; filename="say "cat".jpg"', 'say "cat".jpg'),
        (r'; filename="a\\b.jpg"', r"a\b.jpg"),
        ('; filename="ends with \\"', "ends with \\"),
        (r'; filename="C:\pictures\cat.jpg"', "cat.jpg"),
        (r'; filename="C:\\pictures\\cat.jpg"', "cat.jpg"),
        (r'; filename="\\server\pictures\cat.jpg"', "cat.jpg"),
        (r'; filename="a:\"cat\".jpg"', 'a:"cat".jpg'),
        ('; filename="Kätzchen.jpg"'.encode().decode("latin-1"), "Kätzchen.jpg"),
        ('; filename="K\xe4tzchen.jpg"', "K\N{REPLACEMENT CHARACTER}tzchen.jpg"),
        ("; filename*=utf-8''K%C3%A4tzchen.jpg", "Kätzchen.jpg"),
        ("; filename*=UTF-8'de'K%C3%A4tzchen.jpg", "Kätzchen.jpg"),
        ("; filename*=iso-8859-1''K%E4tzchen.jpg", "Kätzchen.jpg"),
        ("; filename=\"=?utf-8?B?S8OkdA==?=\"; filename*=utf-8''K%C3%A4t.jpg", "Kät.jpg"),
        ("; filename*=koi8-r''%D0; filename=cat.jpg", "cat.jpg"),
        ('; filename="' + "x" * 300 + '"', "x" * 255),
    ],
)
def test_the_filename_is_the_one_that_was_meant(rest: str, filename: str | None) -> None:
    assert field_of(f'form-data; name="image"{rest}') == ("image", filename)
    assert field_of(f"Form-Data{rest}; name=image") == ("image", filename)


@pytest.mark.parametrize(
    "disposition",
    [
        "",
        "form-data",
        "attachment; name=image",
        "form-data; filename=cat.jpg",
        "form-data; name=image; name=image",
        "form-data; name=image; filename=a; filename=b",
        "form-data; name=image; filename=a; FILENAME=b",
        "form-data; name=image; filename*=utf-8''a; filename*=utf-8''b",
        'form-data; name="image',
        "form-data; name",
        "form-data; name=image; =x",
        "form-data; name=image filename=b",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(disposition: str) -> None:
    with pytest.raises(MalformedMultipartError):
        field_of(disposition)


@pytest.mark.parametrize("filler", ['"', '";', "\\", '\\"', "; a=", ";", '" ', 'x"; '])
def test_no_header_of_4_kib_takes_long(filler: str) -> None:
    started = time.monotonic()
    for head in ('form-data; name="', "form-data; name=image", 'form-data; name=image; filename="'):
        with contextlib.suppress(MalformedMultipartError):
            field_of(head + filler * (4096 // len(filler)))
    assert time.monotonic() - started < 1
