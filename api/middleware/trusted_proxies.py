"""The client's address, the scheme and the path prefix, from X-Forwarded-* headers of trusted proxies."""

import re
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

# Segments without "." and "..", and no empty one: a prefix never leads to another host or out of its folder.
_PREFIX = re.compile(rb"((?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+)/?")
_MAX_PREFIX_BYTES = 256


class TrustedProxies:
    """Pure ASGI, outermost middleware. `proxies` are addresses and networks.

    From these, X-Forwarded-For and -Proto set `scope["client"]` and `scope["scheme"]` by uvicorn's rules: the
    client is the rightmost address that is not a trusted proxy. X-Forwarded-Prefix, the path that the proxy has
    stripped, is put back in front of `scope["path"]` and set as `scope["root_path"]`. Invalid values are ignored.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[str]) -> None:
        self._app = app
        self._uvicorn = ProxyHeadersMiddleware(_do_nothing, list(proxies))  # type: ignore[arg-type]  # uvicorn has types of its own for ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("client"):
            host, port = scope["client"]
            peer = scope["client"] = (plain_address(host) or host, port)
            await self._uvicorn(scope, receive, send)  # type: ignore[arg-type]  # uvicorn has types of its own for ASGI
            client = plain_address(scope["client"][0])
            scope["client"] = (client, scope["client"][1]) if client else peer
            if peer[0] in self._uvicorn.trusted_hosts:
                _restore_prefix(scope)
        await self._app(scope, receive, send)


async def _do_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """The app inside uvicorn's middleware, which has changed the scope by then."""


def _restore_prefix(scope: Scope) -> None:
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-prefix"]
    if len(values) == 1 and len(values[0]) <= _MAX_PREFIX_BYTES and (found := _PREFIX.fullmatch(values[0])):
        prefix = found[1].decode("ascii")
        scope["root_path"] = prefix + scope.get("root_path", "")
        scope["path"] = prefix + scope["path"]


def plain_address(text: str) -> str | None:
    """The canonical form of an IP address: IPv4-mapped IPv6 as IPv4, without a zone. None for any other text."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Address(int(address)))
    return str(address)
