"""Which media type a client prefers."""

import pytest

from api.accept import accepted_type

OFFERED = ("application/json", "image/png", "image/jpeg", "image/webp")
FORM_IN_CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


def accepted(*values: str) -> str:
    return accepted_type({"headers": [(b"accept", value.encode()) for value in values]}, OFFERED)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("image/jpeg", "image/jpeg"),
        ("IMAGE/WebP", "image/webp"),
        ("image/*", "image/png"),
        ("application/json, image/png", "application/json"),
        ("application/json;q=0.5, image/png", "image/png"),
        ("image/png;q=0.2,image/jpeg;q=0.3, */*;q=0.1", "image/jpeg"),
        ("image/*;q=0.5, image/png;q=0", "image/jpeg"),
        ("image/jpeg;charset=x;q=0.1, image/webp ; q = 0.2", "image/webp"),
        ("*/*, application/json;q=0", "image/png"),
        (FORM_IN_CHROMIUM, "image/webp"),
        ("text/html", "application/json"),
        ("image/png;q=nan, image/jpeg;q=7, image/webp;q=", "application/json"),
        (";;,,=;q", "application/json"),
    ],
)
def test_the_type_with_the_highest_weight_is_chosen(accept: str, expected: str) -> None:
    assert accepted(accept) == expected


def test_several_headers_are_one_list() -> None:
    assert accepted("text/html", "image/webp") == "image/webp"


def test_no_header_gives_the_first_type() -> None:
    assert accepted() == "application/json"
