"""Assertions about problem responses (RFC 9457)."""

import re

import httpx

_MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}
LEAKS = re.compile(
    r"Traceback|File \"|\.py\b|(?<![\w:/])/(?:[\w.-]+/)+|site-packages|0x[0-9a-f]{6,}|(?<![\d.])\d+\.\d+\.\d+(?!\.\d)|"
    r"onnxruntime|opencv|cv2|PIL|libpng|libjpeg|uvicorn|starlette|fastapi|pydantic|asyncio|KeyError"
)


def assert_problem(response: httpx.Response, status: int, code: str) -> str:
    """Asserts status, code and members of the problem, and that it shows no internals; returns the detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == _MEMBERS
    assert problem["status"] == status
    assert problem["code"] == code, problem
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["title"]
    detail = problem["detail"]
    assert isinstance(detail, str)
    assert detail
    assert not LEAKS.search(detail), detail
    return detail
