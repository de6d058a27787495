"""GET /: the page for people; its files are below /page/."""

from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from api.responses import revalidated_file

_FOLDER = Path(__file__).parents[1] / "static" / "page"


def page_router() -> APIRouter:
    """The files are public: they hold nothing of this service. What the page requests needs keys as usual."""
    router = APIRouter(include_in_schema=False)
    files = StaticFiles(directory=_FOLDER)

    @router.get("/")
    async def page(request: Request) -> Response:
        return await revalidated_file(files, "index.html", request)

    @router.get("/page/{path:path}")
    async def page_file(path: str, request: Request) -> Response:
        return await revalidated_file(files, path, request)

    return router
