"""GET /metrics."""

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import VERSION
from api.openapi import WITH_KEY, error_responses
from api.telemetry.metrics import Gauges, Metrics

_METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


def metrics_router(metrics: Metrics, gauges: Callable[[], Gauges]) -> APIRouter:
    """`gauges` gives those of this process as they are now."""
    router = APIRouter(tags=["health"])

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses=_METRICS | error_responses(401, 403),
        openapi_extra=WITH_KEY,
    )
    async def get_metrics(request: Request) -> Response:
        """Returns the metrics of all workers in Prometheus' text format, or OpenMetrics if the client accepts it.

        A key is needed only if API_PROTECT names `metrics`.
        """
        metrics.look(gauges())
        accept = request.headers.get("accept", "")
        body, content_type = await asyncio.to_thread(_text, metrics, accept)
        return Response(body, headers={"Content-Type": content_type})

    return router


def _text(metrics: Metrics, accept: str) -> tuple[bytes, str]:
    """Not on the event loop: it takes milliseconds, and the first time as long as prometheus_client's import."""
    from api.metrics_text import metrics_text

    return metrics_text(metrics.counters.everybody(), VERSION, accept)
