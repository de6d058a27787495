"""JSON responses, and files of this package."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from api.headers import header


def json_response(
    request: Request, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`body` is JSON. It ends in a newline for curl, which mostly prints to a terminal."""
    newline = b"\n" if (header(request.scope, b"user-agent") or "").startswith("curl/") else b""
    return Response(body + newline, status, headers, "application/json")


async def revalidated_file(folder: StaticFiles, path: str, request: Request) -> Response:
    """Browsers revalidate the file by its ETag, because a new release changes it. Raises HTTPException 404."""
    response = await folder.get_response(path, request.scope)
    response.headers["cache-control"] = "no-cache"
    return response
