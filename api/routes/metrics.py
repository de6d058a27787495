"""GET /metrics."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.openapi import WITH_KEY, error_responses
from api.telemetry.metrics import Metrics

_METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


def metrics_router(metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses=_METRICS | error_responses(401, 403, 429),
        openapi_extra=WITH_KEY,
    )
    async def get_metrics(request: Request) -> Response:
        """Returns the metrics of all workers in Prometheus' text format, or OpenMetrics if the client accepts it.

        A key is needed only if API_PROTECT names `metrics`.
        """
        body, content_type = await metrics.exposition(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return router
