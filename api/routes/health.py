"""GET /health, /health/live, /health/ready."""

from collections.abc import Callable, Sequence

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from api.health import Health, PartStatus, versions
from api.openapi import error_responses
from api.problems import NotReadyError
from api.schemas import Alive, HealthReport, PartReport, Ready


def health_router(
    health: Health, providers: Callable[[], Sequence[str]], shows_versions: Callable[[Request], bool]
) -> APIRouter:
    """`providers` gives the execution providers really in use by the default model; none before it is loaded.

    `shows_versions`: whether who asks may know what runs here.
    """
    router = APIRouter(prefix="/health", tags=["health"])
    known_versions: dict[str, str] = {}

    @router.get("", response_model=HealthReport, responses={503: {"model": HealthReport}})
    async def report(request: Request) -> JSONResponse:
        """Every part with its state, and whether the whole can infer: 200 when it can, 503 when not.

        Where keys are set, `versions` are for those who send one.
        """
        if not known_versions:
            known_versions.update(versions())
        reason = health.not_ready_reason()
        parts = {
            name: PartReport(status=part.status, reason=part.reason, since=part.since)
            for name, part in health.parts().items()
        }
        report = HealthReport(
            status=_overall(parts),
            reason=reason,
            parts=parts,
            providers=list(providers()),
            versions=known_versions if shows_versions(request) else {},
            uptime_s=round(health.uptime_s, 3),
        )
        return JSONResponse(report.model_dump(mode="json"), 200 if reason is None else 503)

    @router.get("/live")
    async def live() -> Alive:
        """The process runs and its event loop answers; nothing more."""
        return Alive()

    @router.get("/ready", responses=error_responses(503))
    async def ready() -> Ready:
        """It can infer now; 503 with the reason when not."""
        reason = health.not_ready_reason()
        if reason is not None:
            raise NotReadyError(reason)
        return Ready()

    return router


def _overall(parts: dict[str, PartReport]) -> PartStatus:
    """The worst of the parts."""
    states = {part.status for part in parts.values()}
    worst_first = (PartStatus.FAILED, PartStatus.STARTING, PartStatus.OK)
    return next((state for state in worst_first if state in states), PartStatus.STARTING)
