"""JSON responses."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from api.headers import header


def json_response(
    request: Request, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`body` is JSON. It ends in a newline for curl, which mostly prints to a terminal."""
    newline = b"\n" if (header(request.scope, b"user-agent") or "").startswith("curl/") else b""
    return Response(body + newline, status, headers, "application/json")
