"""Who the client is, behind proxies: told by X-Forwarded-For and X-Forwarded-Proto, believed only from some."""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware


class TrustedProxies:
    """Pure ASGI, outside of all else. Sets `scope["client"]` to the rightmost address that is no trusted proxy, and
    `scope["scheme"]`, where the peer is in `proxies` (addresses and networks).

    uvicorn's own rule decides; what it takes that is no address leaves the peer's own.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[str]) -> None:
        self._app = app
        self._by_header = ProxyHeadersMiddleware(self._with_an_address, list(proxies))  # type: ignore[arg-type]  # uvicorn has types of its own for ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client:
            peer = scope["fovea.peer"] = (plain_address(client[0]) or client[0], client[1])
            scope["client"] = peer
        await self._by_header(scope, receive, send)  # type: ignore[arg-type]  # uvicorn has types of its own for ASGI

    async def _with_an_address(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope.pop("fovea.peer", None)
        if peer and scope["client"] is not peer:
            told = plain_address(scope["client"][0])
            scope["client"] = (told, scope["client"][1]) if told else peer
        await self._app(scope, receive, send)


def plain_address(text: str) -> str | None:
    """The one way to write this address, IPv4 in IPv6 as IPv4, without a zone; None for what is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Address(int(address)))
    return str(address)
