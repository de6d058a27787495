"""GET /metrics."""

import asyncio
from collections.abc import Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import VERSION
from api.telemetry.metrics import Gauges, Metrics


def metrics_router(metrics: Metrics, gauges: Callable[[], Gauges]) -> APIRouter:
    """`gauges` gives those of this process as they are now."""
    router = APIRouter(tags=["health"])

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def show(request: Request) -> Response:
        """For Prometheus: its text format, or OpenMetrics to who accepts that. All worker processes are in it."""
        metrics.look(gauges())
        accept = request.headers.get("accept", "")
        body, content_type = await asyncio.to_thread(_text, metrics, accept)
        return Response(body, headers={"Content-Type": content_type})

    return router


def _text(metrics: Metrics, accept: str) -> tuple[bytes, str]:
    """Not on the event loop: it takes milliseconds, and the first time as long as prometheus_client's import."""
    from api.metrics_text import metrics_text

    return metrics_text(metrics.counters.everybody(), VERSION, accept)
