"""The short way in for the address that is asked all the time, past what a framework does for any address.

FastAPI documents the same routes, and answers whatever a door does not take: a bad parameter, another method.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from api.connection import CLIENT_LEFT, ENDS_WITH_CLIENT
from api.problems import KINDS, problem_of

# Gives what will answer the request, or None where it is FastAPI's.
Door = Callable[[Request], Awaitable[Response] | None]

_TOLD_ERRORS = tuple(KINDS)
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


class FrontDoor:
    """Pure ASGI, around the framework `app` and inside of RequestContext. `doors` by path, for POST.

    HEAD is answered as GET; the server leaves the body out.
    """

    def __init__(self, app: ASGIApp, doors: Mapping[str, Door]) -> None:
        self._app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method")  # of the lifespan there is none
        door = self._doors.get(scope["path"]) if method == "POST" else None
        if door and await _answered(door, scope, receive, send):
            return
        if method == "HEAD":
            await self._answer_as_get(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer_as_get(self, scope: Scope, receive: Receive, send: Send) -> None:
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send)
        finally:
            if "route" in as_get:  # by which requests are counted
                scope["route"] = as_get["route"]


async def _answered(door: Door, scope: Scope, receive: Receive, send: Send) -> bool:
    """False where the door did not take it."""
    request = Request(scope, receive, send)
    answer = door(request)
    if answer is None:
        return False
    state: dict[str, object] = scope["state"]
    state[ENDS_WITH_CLIENT] = True
    try:
        response = await answer
    except asyncio.CancelledError:
        if CLIENT_LEFT not in state:
            raise
        raise ClientDisconnect from None
    except _TOLD_ERRORS as error:
        response = await answer_with_problem(request, error)
    await response(scope, receive, send)
    return True


async def answer_with_problem(request: Request, error: Exception) -> Response:
    """The one way every error leaves."""
    problem = problem_of(error)
    state = request.scope["state"]
    response = problem.response(state["request_id"])
    state["log"]["code"] = problem.code
    if problem.status == 405:
        response.headers["Allow"] = ", ".join(_allowed(request))
    return response


def _allowed(request: Request) -> list[str]:
    """All methods of an address (RFC 9110); the framework tells those of the first route only."""
    routes: list[BaseRoute] = request.app.routes
    scopes = {method: {**request.scope, "method": method} for method in _METHODS}
    taken = [method for method in _METHODS if any(route.matches(scopes[method])[0] is Match.FULL for route in routes)]
    return sorted([*taken, "HEAD"]) if "GET" in taken else taken
