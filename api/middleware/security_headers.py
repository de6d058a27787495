"""Security headers of every response: no content sniffing, no caching, no framing, no foreign resources, HSTS."""

from collections.abc import Iterable

from starlette.types import Scope

Header = tuple[bytes, bytes]

# Scripts and styles are files, so "unsafe-inline" is not needed. Pages preview pictures as data: and blob: URLs.
_CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_ALWAYS: tuple[Header, ...] = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
_PAGES: tuple[Header, ...] = (
    (b"content-security-policy", _CONTENT_SECURITY_POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_HSTS: tuple[Header, ...] = ((b"strict-transport-security", b"max-age=31536000"),)


def security_headers(scope: Scope, given: Iterable[Header]) -> list[Header]:
    """Headers to add to a response that has the headers `given`, which take precedence.

    Strict-Transport-Security is sent over HTTPS only: TLS of this server, or X-Forwarded-Proto of a trusted proxy.
    POST gets no page headers. A response with an ETag may be cached.
    """
    names = {name for name, _ in given}
    if b"etag" in names:
        names.add(b"cache-control")
    headers = _ALWAYS if scope["method"] == "POST" else _ALWAYS + _PAGES
    if scope.get("scheme") == "https":
        headers += _HSTS
    return [header for header in headers if header[0] not in names]
