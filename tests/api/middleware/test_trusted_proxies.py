"""Who the client is: what proxies say counts only from those that are trusted."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.middleware.trusted_proxies import TrustedProxies
from tests.conftest import Serve

PROXIES = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")


def seen(peer: str, *headers: tuple[str, str], proxies: tuple[str, ...] = PROXIES) -> tuple[str, str]:
    """Client and scheme, as the app behind it sees them."""
    found: list[tuple[str, str]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        found.append((scope["client"][0], scope["scheme"]))

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError(message)

    scope = {
        "type": "http",
        "client": (peer, 1234),
        "scheme": "http",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    asyncio.run(TrustedProxies(app, proxies)(scope, receive, send))
    return found[0]


def forwarded(value: str) -> tuple[str, str]:
    return ("X-Forwarded-For", value)


@pytest.mark.parametrize(
    ("peer", "value", "client"),
    [
        ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("192.0.2.7", "198.51.100.9", "198.51.100.9"),
        ("2001:db8::1", "2001:DB9:0::9", "2001:db9::9"),
        ("::ffff:10.0.0.1", "198.51.100.9", "198.51.100.9"),
        # the rightmost that is no proxy: what stands left of it, the client may have written
        ("10.0.0.1", "1.1.1.1, 198.51.100.9, 10.2.3.4", "198.51.100.9"),
        ("10.0.0.1", "10.9.9.9, 198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "198.51.100.9:4711", "198.51.100.9"),
        ("10.0.0.1", "[2001:db9::9]:4711", "2001:db9::9"),
        ("10.0.0.1", "::ffff:198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
        # no address: the peer's own
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.9, \x1b[31mred", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.9, " + "x" * 50_000, "10.0.0.1"),
        ("10.0.0.1", ",,,", "10.0.0.1"),
        ("10.0.0.1", "010.1.1.1", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4.5, 999.1.1.1", "10.0.0.1"),
        # no proxy of ours: it may say what it likes
        ("198.51.100.66", "1.1.1.1", "198.51.100.66"),
        ("127.0.0.1", "1.1.1.1", "127.0.0.1"),
        ("192.0.2.8", "1.1.1.1", "192.0.2.8"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy(peer: str, value: str, client: str) -> None:
    assert seen(peer, forwarded(value))[0] == client


def test_several_headers_are_one_list() -> None:
    assert seen("10.0.0.1", forwarded("1.1.1.1"), forwarded("198.51.100.9"))[0] == "198.51.100.9"


def test_the_scheme_is_believed_from_proxies_alone() -> None:
    told = ("X-Forwarded-Proto", "https")
    assert seen("10.0.0.1", told)[1] == "https"
    assert seen("198.51.100.66", told)[1] == "http"
    assert seen("10.0.0.1", ("X-Forwarded-Proto", "javascript"))[1] == "http"


def test_a_spoofed_address_buys_no_fresh_count(serve: Serve, red_png: bytes) -> None:
    """The test's own address is no proxy of the first service, and one of the second."""
    client = serve(rate_limit="1/minute", trusted_proxies=("10.0.0.0/8",)).client
    statuses = [
        client.post("/infer", content=red_png, headers={"X-Forwarded-For": f"1.1.1.{n}"}).status_code for n in range(3)
    ]
    assert statuses == [200, 429, 429]
    client = serve(rate_limit="1/minute", trusted_proxies=("127.0.0.1",)).client
    for address, status in (("1.1.1.1", 200), ("1.1.1.2", 200), ("9.9.9.9, 1.1.1.1", 429)):
        answer = client.post("/infer", content=red_png, headers={"X-Forwarded-For": address})
        assert answer.status_code == status
