"""The door and FastAPI must understand a query alike."""

import asyncio

import httpx
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from api import infer_routes
from api.infer_routes import Question, _question, infer_router
from api.problems import ParameterError
from api.settings import ApiSettings

NAMES = st.sampled_from(["model", "version", "top_k", "threshold", "normalize", "encoding", "topk", "", "Model"])
VALUES = st.sampled_from(
    ["", "a", "a%20b", "1", "0", "3", "0.5", "nan", "true", "list", "base64", "%00", "1e3", "+", "x&", " 3"]
)
QUERIES = st.lists(st.tuples(NAMES, VALUES).map("=".join) | NAMES, max_size=4).map("&".join)


async def _told(_: infer_routes.Infer, request: Request, question: Question) -> Response:  # noqa: ARG001 - as the method it replaces
    return Response(repr(question))


def by_fastapi(query: str) -> str:
    """What it understands; nothing where it refuses."""
    app = FastAPI()
    app.include_router(infer_router(ApiSettings(_env_file=None), lambda: None))  # type: ignore[arg-type,return-value]  # no engine is asked

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return await client.post(f"/infer?{query}")

    try:
        response = asyncio.run(ask())
    except (ParameterError, RequestValidationError):
        return ""
    return response.text if response.status_code == 200 else ""


@given(QUERIES)
@example("model=a&model=b&version=1&version=2")
@example("top_k=1&top_k=2")
def test_a_query_means_the_same_on_both_ways(query: str) -> None:
    before, infer_routes.Infer.__call__ = infer_routes.Infer.__call__, _told  # type: ignore[assignment, method-assign]  # a stand-in
    try:
        understood = _question(query.encode())
        assert (repr(understood) if understood else "") == by_fastapi(query)
    finally:
        infer_routes.Infer.__call__ = before  # type: ignore[method-assign]  # and back
