"""GET /docs: Swagger, served from local files; GET /openapi.json: the OpenAPI document."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastapi_offline
import orjson
from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from api.responses import revalidated_file

_OUR_FILES = {"start.js"}
_SWAGGER_FILES = {"swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"}


def docs_router(document: Callable[[], dict[str, Any]]) -> APIRouter:
    """`document` returns the OpenAPI document."""
    router = APIRouter(include_in_schema=False)
    static = StaticFiles(directory=Path(__file__).parents[1] / "static")
    swagger = StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")

    @router.get("/openapi.json")
    def openapi() -> Response:
        """In a thread: building the document takes about 100 ms."""
        return Response(orjson.dumps(document()), media_type="application/json")

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        return await revalidated_file(static, "docs.html", request)

    @router.get("/docs/{name}")
    async def docs_file(name: str, request: Request) -> Response:
        if name in _OUR_FILES:
            return await revalidated_file(static, name, request)
        if name in _SWAGGER_FILES:
            return await revalidated_file(swagger, name, request)
        raise HTTPException(404)

    return router
