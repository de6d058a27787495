"""GET /health, /health/live, /health/ready."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.health import Health, PartStatus, versions
from api.openapi import error_responses
from api.problems import NotReadyError
from api.responses import json_response
from api.schemas import Alive, HealthReport, PartReport, Ready

_UNHEALTHY: dict[int | str, dict[str, Any]] = {
    503: {"model": HealthReport, "description": "The service cannot run inference."}
}


def health_router(
    health: Health, providers: Callable[[], Sequence[str]], shows_versions: Callable[[Request], Awaitable[bool]]
) -> APIRouter:
    """`providers` gives the execution providers really in use by the default model; none before it is loaded.

    `shows_versions`: whether the client may see the versions of libraries.
    """
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("", summary="Report health", response_model=HealthReport, responses=_UNHEALTHY | error_responses(429))
    async def get_health(request: Request) -> Response:
        """Returns the state of each part: 200 if the service can run inference, 503 if not.

        If API_KEYS is set, `versions` is empty unless the request has a valid key. Wrong keys count towards the rate
        limit.
        """
        reason = health.not_ready_reason()
        parts = {name: PartReport.model_validate(part, from_attributes=True) for name, part in health.parts().items()}
        statuses = [part.status for part in parts.values()]
        report = HealthReport(
            status=max(statuses, key=list(PartStatus).index, default=PartStatus.STARTING),
            reason=reason,
            parts=parts,
            providers=list(providers()),
            versions=versions() if await shows_versions(request) else {},
            uptime_s=round(health.uptime_s, 3),
        )
        return json_response(request, report.model_dump_json().encode(), 200 if reason is None else 503)

    @router.get("/live", summary="Liveness probe")
    async def get_liveness() -> Alive:
        """Returns 200 while the event loop runs. It checks nothing else."""
        return Alive()

    @router.get("/ready", summary="Readiness probe", responses=error_responses(503))
    async def get_readiness() -> Ready:
        """Returns 200 if the service can run inference, or 503 with the reason."""
        reason = health.not_ready_reason()
        if reason is not None:
            raise NotReadyError(reason)
        return Ready()

    return router
