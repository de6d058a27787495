"""The service: takes settings and loaders, wires routes, errors and lifespan, gives `.app`."""

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api import VERSION
from api.connection import HTTP_TIMEOUTS, HttpTimeouts
from api.front_door import FrontDoor, answer_with_problem
from api.health import Health, Part, PartStatus
from api.middleware.cors import cors_options
from api.middleware.request_context import RequestContext
from api.middleware.security_headers import SecurityHeaders
from api.middleware.trusted_proxies import TrustedProxies
from api.openapi import describe
from api.problems import KINDS, NotReadyError
from api.routes.admin import admin_router
from api.routes.batch import batch_router
from api.routes.docs import docs_router
from api.routes.health import health_router
from api.routes.infer import infer_door, infer_router
from api.routes.metrics import metrics_router
from api.routes.model_upload import upload_router
from api.routes.models import model_router
from api.run_dir import run_dir
from api.security.guards import Guard, admin_guard, key_check, protected_guard, user_guard
from api.server.start_notes import tell_start_notes
from api.settings import ApiSettings
from api.telemetry.logs import set_up_logs
from api.telemetry.metrics import Metrics
from api.workmates import Workmates
from engine.inference_engine import EngineOptions, InferenceEngine
from engine.models.admin import ModelAdmin
from engine.models.check import ModelCheck
from engine.models.model_manager import ModelManager, ModelManagerOptions
from engine.models.slot import ModelState, ModelUnavailableError
from engine.scheduling.run_plan import RunLimits
from engine.scheduling.scoreboard import Key, Place, no_neighbours
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageLoader, ImageLoaderOptions
from loaders.model_errors import UnknownModelError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import ModelLoader

T = TypeVar("T")

_log = logging.getLogger("fovea")


class Framework(FastAPI):
    """FastAPI, with `outside` in the way of every request before its own layers."""

    outside: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.outside(scope, receive, send)


class InferenceAPI:
    """`image_loader` and `model_loader` replace those that the settings name.

    `place`: that of this process, which is one of so many `workers`.
    """

    def __init__(
        self,
        settings: ApiSettings,
        image_loader: ImageLoader | None = None,
        model_loader: ModelLoader | None = None,
        *,
        place: Place | None = None,
        workers: int = 1,
    ) -> None:
        self.settings = settings
        self.health = Health()
        self.workmates = Workmates()
        if folder := run_dir():
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(folder / "metrics"))
        self.metrics = Metrics()
        self._supervised = place is not None
        self._place = place or no_neighbours()
        self._workers = workers
        self._quarantined: dict[Key, tuple[float, str]] = {}
        self._given_image_loader = image_loader
        self._given_model_loader = model_loader
        self._engine: InferenceEngine | None = None
        set_up_logs(settings.log_level, settings.log_format)
        guard = user_guard(settings)
        self.app = self._framework(guard)
        self.app.outside = self._around(partial(FastAPI.__call__, self.app), guard)

    @property
    def admin(self) -> ModelAdmin | None:
        """None before the engine runs, and where it cannot."""
        return self._engine.admin if self._engine else None

    def quarantine(self, key: Key, since: float, reason: str) -> None:
        """That version is not run any more; may be said before the start."""
        self._quarantined[key] = (since, reason)
        if self._engine:
            self._engine.quarantine(key, since, reason)

    def _around(self, framework: ASGIApp, guard: Guard) -> ASGIApp:
        """With all that the framework is not needed for, outside of it: it costs a tenth of a small answer."""
        settings = self.settings
        door = infer_door(settings, self._running_engine, guard)
        headers = SecurityHeaders(https=settings.tls_cert is not None)
        app: ASGIApp = RequestContext(FrontDoor(framework, {"/infer": door}), headers, self.metrics)
        # Outermost: who the client is comes first, and even a crash is told to other origins' pages.
        if settings.cors_origins:
            app = CORSMiddleware(app, **cors_options(settings.cors_origins))
        if settings.trusted_proxies:
            app = TrustedProxies(app, proxies=settings.trusted_proxies)
        return app

    def _framework(self, guard: Guard) -> "Framework":
        app = Framework(
            docs_url=None,
            redoc_url=None,
            openapi_url=None,  # docs_routes.py has both
            title="Fovea",
            version=VERSION,
            summary="From an .onnx file to an answer about a picture.",
            lifespan=self._lifespan,
        )
        for error in (*KINDS, HTTPException, RequestValidationError, Exception):
            app.add_exception_handler(error, answer_with_problem)
        users, admins = [Depends(guard)], [Depends(admin_guard(self.settings))]
        app.include_router(infer_router(self.settings, self._running_engine), dependencies=users)
        app.include_router(batch_router(self.settings, self._running_engine), dependencies=users)
        app.include_router(model_router(self._running_engine), dependencies=users)
        for router in (admin_router, upload_router):
            app.include_router(router(self.settings, self._running_engine), dependencies=admins)
        app.include_router(health_router(self.health, self._providers, key_check(self.settings)))
        watchers = [Depends(protected_guard(self.settings, "metrics"))]
        app.include_router(metrics_router(self.metrics), dependencies=watchers)
        app.add_api_route("/", _to_docs, include_in_schema=False)
        describe(app, self._model_names)
        app.include_router(
            docs_router(app.title, app.openapi), dependencies=[Depends(protected_guard(self.settings, "docs"))]
        )
        return app

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[dict[str, object]]:
        """Gives the state that the server hands to its connections, and copies for each request."""
        self._start()
        settings = self.settings
        timeouts = HttpTimeouts(settings.header_timeout_s, settings.send_timeout_s, settings.keep_alive_s)
        try:
            async with self.metrics.lifespan(self._engine):
                yield {HTTP_TIMEOUTS: timeouts}
        finally:
            if self._engine:
                self._engine.close()

    def _start(self) -> None:
        """A part that fails is reported by /health; it does not end the process."""
        if not self._supervised:
            tell_start_notes(self.settings)
        image_loader = self._start_part("image_loader", self._make_image_loader)
        model_loader = self._start_part("model_loader", self._make_model_loader)
        if image_loader is None or model_loader is None:
            self.health.set("model", Part(PartStatus.FAILED, "needs the image loader and the model loader"))
            return
        self._engine = InferenceEngine(
            ModelRepository(self.settings.models_dir), image_loader, model_loader, self._engine_options(model_loader)
        )
        self._engine.admin.followed_by = self.workmates.follow
        for key, (since, reason) in self._quarantined.items():
            self._engine.quarantine(key, since, reason)
        self._engine.start()
        self.health.watch("model", partial(_default_model_part, self._engine.models))
        self.health.watch("models_folder", partial(_folder_part, self._engine.models))

    def _engine_options(self, model_loader: ModelLoader) -> EngineOptions:
        settings = self.settings
        check = ModelCheck(
            settings.model_loader,
            model_loader.version,
            settings.providers,
            settings.cache_dir,
            timeout_s=settings.check_timeout_s,
            memory_mb=settings.check_memory_mb,
        )
        return EngineOptions(
            ModelManagerOptions(
                settings.default_model, settings.load, settings.max_loaded_models, settings.idle_unload_s
            ),
            providers=settings.providers,
            lanes=settings.lanes,
            workers=self._workers,
            place=self._place,
            tune=settings.tune,
            run_limits=RunLimits(settings.width, settings.max_batch, settings.batch_wait_ms / 1e3),
            queue_limit=settings.queue_limit,
            timeout_s=settings.request_timeout_ms / 1e3,
            exact_decode=settings.exact_decode,
            check=None if self._given_model_loader else check,  # a given one cannot be made again elsewhere
            cache=settings.cache_dir,
            observer=self.metrics,
        )

    def _make_image_loader(self) -> ImageLoader:
        limits = ImageLoaderOptions(self.settings.max_image_pixels, self.settings.accept_truncated)
        return self._given_image_loader or create_image_loader(self.settings.image_loader, limits)

    def _make_model_loader(self) -> ModelLoader:
        return self._given_model_loader or create_model_loader(self.settings.model_loader)

    def _start_part(self, name: str, make: Callable[[], T]) -> T | None:
        try:
            part = make()
        except Exception as error:  # noqa: BLE001 - a library that is missing or broken in any way is one failed part
            _log.exception("%s failed to start", name)
            self.health.set(name, Part(PartStatus.FAILED, f"{type(error).__name__}; the log has more"))
            return None
        self.health.set(name, Part(PartStatus.OK))
        return part

    def _running_engine(self) -> InferenceEngine:
        if self._engine is None:
            raise NotReadyError(self.health.not_ready_reason() or "the service is starting")
        return self._engine

    def _model_names(self) -> list[str]:
        return sorted(self._engine.models.catalog) if self._engine else []

    def _providers(self) -> tuple[str, ...]:
        """Those of the default model, once it is loaded."""
        model = self._engine.models.ready() if self._engine else None
        return model.session.providers if model else ()


_PART_OF_STATE = {
    ModelState.READY: PartStatus.OK,
    ModelState.LOADING: PartStatus.STARTING,
    ModelState.UNLOADING: PartStatus.STARTING,
    ModelState.UNAVAILABLE: PartStatus.FAILED,
}


def _default_model_part(models: ModelManager) -> Part:
    """With policy on-demand a default model that nobody has asked for yet is fine: it can answer."""
    try:
        status = models.model_status(models.default)
    except (UnknownModelError, ModelUnavailableError) as error:
        return Part(PartStatus.FAILED, str(error), None)
    on_demand = models.loads_on_demand and status.since is None
    return Part(PartStatus.OK if on_demand else _PART_OF_STATE[status.state], status.reason, status.since)


def _folder_part(models: ModelManager) -> Part:
    """Whatever is wrong with the folder, what is loaded goes on serving: ok, with a reason."""
    return Part(PartStatus.OK, models.trouble or None, None)


async def _to_docs() -> RedirectResponse:
    return RedirectResponse("docs")
