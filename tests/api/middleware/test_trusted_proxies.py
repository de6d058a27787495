"""X-Forwarded-* headers change the client, scheme and path prefix only if a trusted proxy sends them."""

import asyncio

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from api.middleware.trusted_proxies import TrustedProxies
from tests.conftest import Serve

PROXIES = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")


def scope_behind(peer: str, *headers: tuple[str, str], path: str = "/infer") -> Scope:
    """The scope that the application receives."""
    received: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        received.append(scope)

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError(message)

    scope = {
        "type": "http",
        "client": (peer, 1234),
        "scheme": "http",
        "path": path,
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    asyncio.run(TrustedProxies(app, PROXIES)(scope, receive, send))
    return received[0]


def forwarded(value: str) -> tuple[str, str]:
    return ("X-Forwarded-For", value)


@pytest.mark.parametrize(
    ("peer", "value", "client"),
    [
        ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("192.0.2.7", "198.51.100.9", "198.51.100.9"),
        ("2001:db8::1", "2001:DB9:0::9", "2001:db9::9"),
        ("::ffff:10.0.0.1", "198.51.100.9", "198.51.100.9"),
        # the client may have forged the entries to the left of its own address
        ("10.0.0.1", "1.1.1.1, 198.51.100.9, 10.2.3.4", "198.51.100.9"),
        ("10.0.0.1", "10.9.9.9, 198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "198.51.100.9:4711", "198.51.100.9"),
        ("10.0.0.1", "[2001:db9::9]:4711", "2001:db9::9"),
        ("10.0.0.1", "::ffff:198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
        # not an address: the peer's own
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.9, \x1b[31mred", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.9, " + "x" * 50_000, "10.0.0.1"),
        ("10.0.0.1", ",,,", "10.0.0.1"),
        ("10.0.0.1", "010.1.1.1", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4.5, 999.1.1.1", "10.0.0.1"),
        # the peer is not a trusted proxy
        ("198.51.100.66", "1.1.1.1", "198.51.100.66"),
        ("127.0.0.1", "1.1.1.1", "127.0.0.1"),
        ("192.0.2.8", "1.1.1.1", "192.0.2.8"),
    ],
)
def test_client_is_the_rightmost_untrusted_address(peer: str, value: str, client: str) -> None:
    assert scope_behind(peer, forwarded(value))["client"][0] == client


def test_several_forwarded_for_headers_are_one_list() -> None:
    scope = scope_behind("10.0.0.1", forwarded("1.1.1.1"), forwarded("198.51.100.9"))
    assert scope["client"][0] == "198.51.100.9"


@pytest.mark.parametrize(
    ("peer", "value", "scheme"),
    [("10.0.0.1", "https", "https"), ("198.51.100.66", "https", "http"), ("10.0.0.1", "javascript", "http")],
)
def test_scheme_comes_from_trusted_proxies(peer: str, value: str, scheme: str) -> None:
    assert scope_behind(peer, ("X-Forwarded-Proto", value))["scheme"] == scheme


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        ("/vision", "/vision"),
        ("/vision/", "/vision"),
        ("/a/b-1/c_2/~d.e", "/a/b-1/c_2/~d.e"),
        ("/infer", "/infer"),
        ("/", ""),
        ("", ""),
        ("vision", ""),
        ("//evil.example.com", ""),
        ("/a//b", ""),
        ("/a/../b", ""),
        ("/..", ""),
        ("/a/.", ""),
        ("/a b", ""),
        ("/a%2e", ""),
        ("/a\\b", ""),
        ("/a?b", ""),
        ("/a, /b", ""),
        ("/ä", ""),
        ("/" + "a" * 300, ""),
        ("https://evil.example.com/", ""),
    ],
)
def test_valid_prefix_becomes_the_root_path(value: str, prefix: str) -> None:
    scope = scope_behind("10.0.0.1", ("X-Forwarded-Prefix", value))
    assert (scope["root_path"], scope["path"]) == (prefix, f"{prefix}/infer")


def test_prefix_is_ignored_from_untrusted_peers_and_if_repeated() -> None:
    header = ("X-Forwarded-Prefix", "/vision")
    for scope in (scope_behind("198.51.100.66", header), scope_behind("10.0.0.1", header, header)):
        assert (scope["root_path"], scope["path"]) == ("", "/infer")


@pytest.mark.parametrize("prefix", ["/vision", "/models", "/infer"])
def test_routes_and_redirects_work_behind_a_prefix(serve: Serve, red_png: bytes, prefix: str) -> None:
    client = serve(trusted_proxies=("127.0.0.1",)).client
    client.headers["X-Forwarded-Prefix"] = prefix
    assert client.post("/infer", content=red_png).status_code == 200
    assert client.get("/models/colour").status_code == 200
    assert client.get("/docs/start.js").status_code == 200
    assert httpx.URL(client.get("/docs/").headers["location"]).path == f"{prefix}/docs"


def test_forged_address_does_not_evade_the_rate_limit(serve: Serve, red_png: bytes) -> None:
    """The test's own address is a trusted proxy of the second service only."""
    client = serve(rate_limit="1/day", trusted_proxies=("10.0.0.0/8",)).client
    statuses = [
        client.post("/infer", content=red_png, headers={"X-Forwarded-For": f"1.1.1.{n}"}).status_code for n in range(3)
    ]
    assert statuses == [200, 429, 429]
    client = serve(rate_limit="1/day", trusted_proxies=("127.0.0.1",)).client
    for address, status in (("1.1.1.1", 200), ("1.1.1.2", 200), ("9.9.9.9, 1.1.1.1", 429)):
        answer = client.post("/infer", content=red_png, headers={"X-Forwarded-For": address})
        assert answer.status_code == status
