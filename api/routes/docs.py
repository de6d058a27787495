"""GET /docs: Swagger, its files served from here, without a script or style in the page itself; and /openapi.json."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import fastapi_offline
import orjson
from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

_OURS = {"start.js"}
_SWAGGERS = {"swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"}
_CHECK_EACH_TIME = {"cache-control": "no-cache"}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{root}/docs/swagger-ui.css">
<link rel="icon" href="{root}/docs/favicon.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{root}/docs/swagger-ui-bundle.js"></script>
<script src="{root}/docs/start.js"></script>
</body>
</html>
"""


def docs_router(title: str, document: Callable[[], dict[str, Any]]) -> APIRouter:
    """`document` gives the OpenAPI document as it is now."""
    router = APIRouter(include_in_schema=False)
    ours = StaticFiles(directory=Path(__file__).parents[1] / "static")
    swaggers = StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")

    @router.get("/openapi.json")
    def openapi(request: Request) -> Response:
        """On a thread: the first one takes a tenth of a second to make."""
        root = request.scope.get("root_path", "")
        shown = document() | ({"servers": [{"url": root}]} if root else {})
        return Response(orjson.dumps(shown), media_type="application/json")

    @router.get("/docs")
    async def docs(request: Request) -> HTMLResponse:
        root = escape(request.scope.get("root_path", ""))
        return HTMLResponse(_PAGE.format(title=escape(title), root=root))

    @router.get("/docs/{name}")
    async def docs_file(name: str, request: Request) -> Response:
        if name not in _OURS | _SWAGGERS:
            raise HTTPException(404)
        answer = await (ours if name in _OURS else swaggers).get_response(name, request.scope)
        answer.headers.update(_CHECK_EACH_TIME)
        return answer

    return router
