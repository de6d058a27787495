"""GET /metrics."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.telemetry.metrics import Metrics


def metrics_router(metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def show(request: Request) -> Response:
        """Metrics of all worker processes, in Prometheus' text format or, if the client accepts it, OpenMetrics."""
        body, content_type = await metrics.exposition(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return router
