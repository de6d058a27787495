"""Single headers of a request, without an object for all of them."""

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """The first value; None if the request has no such header. `name` is in lower case, as ASGI servers send names."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None
