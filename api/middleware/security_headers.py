"""What every answer tells browsers: no guessing of types, no caching, no frames, nothing from elsewhere."""

from collections.abc import Iterable

Header = tuple[bytes, bytes]

# No 'unsafe-inline': scripts and styles are files served from here. Pictures may be data: and blob:, which pages show
# before they are sent.
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
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_OF_PAGES: tuple[Header, ...] = (
    (b"content-security-policy", _CONTENT_SECURITY_POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_A_YEAR_BY_HTTPS = (b"strict-transport-security", b"max-age=31536000")


class SecurityHeaders:
    """`https`: this process itself serves HTTPS, and browsers shall remember it for this host."""

    def __init__(self, *, https: bool) -> None:
        always = (_NO_SNIFFING, _A_YEAR_BY_HTTPS) if https else (_NO_SNIFFING,)
        self._of_post = (*always, _NO_STORE)
        self._of_others = (*always, _NO_STORE, *_OF_PAGES)

    def of(self, method: str, given: Iterable[Header]) -> tuple[Header, ...]:
        """Those to add to an answer that has `given` already, whose own word counts; no page answers a POST."""
        if method == "POST":
            return self._of_post
        names = {name.lower() for name, _ in given}
        if b"etag" in names:  # it may be kept by the client that asks whether it still holds
            names.add(b"cache-control")
        return tuple([header for header in self._of_others if header[0] not in names])
