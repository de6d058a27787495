"""The service: takes settings and loaders, wires routes, middleware and lifespan, gives `.app`."""

import logging
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from api import VERSION
from api.dialects.dialect import DialectContext
from api.dialects.registry import create_dialect_router
from api.health import Health, Part, PartStatus
from api.middleware.cors import CORS_OPTIONS
from api.middleware.request_context import RequestContext
from api.middleware.trusted_proxies import TrustedProxies
from api.middleware.unread_body import UnreadBody
from api.openapi import extend_openapi, operation_id
from api.problems import KINDS, ErrorMembers, NotReadyError, problem_response
from api.routes.admin import admin_router
from api.routes.batch import batch_router
from api.routes.docs import docs_router
from api.routes.explain import explain_router
from api.routes.health import health_router
from api.routes.infer import add_infer_route
from api.routes.metrics import metrics_router
from api.routes.model_upload import upload_router
from api.routes.models import model_router
from api.routes.page import page_router
from api.security.guards import Guards
from api.server.draining import drain_on_sigterm
from api.server.start_log import log_start
from api.server.tls import CertificateExpiry
from api.settings import ApiSettings
from api.telemetry.logs import set_up_logs
from api.telemetry.metrics import Metrics, ServiceState
from api.telemetry.traces import TraceRequests, Traces, traces_requested
from engine.engine_options import EngineOptions
from engine.inference_engine import InferenceEngine
from engine.models.check import ModelCheck
from engine.models.load_attempt import ModelState, ModelUnavailableError
from engine.models.model_manager import ModelManager, ModelManagerOptions
from engine.models.runtime_choice import RuntimeChooser, candidates
from engine.scheduling.run_plan import RunLimits, TuneLevel
from engine.scheduling.scoreboard import Scoreboard, WorkerSlot
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageLoader, ImageLoaderOptions
from loaders.model_errors import UnknownModelError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import ModelLoader
from utils.cpu_budget import cpu_budget
from utils.descriptors import raise_descriptor_limit

T = TypeVar("T")

_MIB = 1024 * 1024
_LOW_DISK_BYTES = 100 * _MIB
# Maximum difference of an answer in bfloat16 or int8 (API_PRECISION=fast); the first label must be the same.
_FAST_TOLERANCE = 0.05

_log = logging.getLogger("fovea")


class InferenceAPI:
    """`image_loader` and `model_loader` replace the default loaders. `alone`: no other worker shares its cores."""

    def __init__(
        self,
        settings: ApiSettings,
        image_loader: ImageLoader | None = None,
        model_loader: ModelLoader | None = None,
        *,
        alone: bool = False,
    ) -> None:
        self.settings = settings
        self.health = Health()
        self.metrics = Metrics()
        self._traces = Traces() if traces_requested() else None
        self._given_image_loader = image_loader
        self._given_model_loader = model_loader
        self._alone = alone
        self._error_members: dict[str, ErrorMembers] = {}
        self._engine: InferenceEngine | None = None
        set_up_logs(settings.log_level, settings.log_format)
        self.app = self._create_app()
        self._add_middleware()
        self._add_routes()

    def _create_app(self) -> FastAPI:
        app = FastAPI(
            docs_url=None,
            redoc_url=None,
            openapi_url=None,  # api/routes/docs.py serves both
            title="Fovea",
            version=VERSION,
            summary="From an .onnx file to an answer about a picture.",
            telemetry={"tracing": False, "metrics": False, "logs": False},  # api/telemetry has them
            lifespan=self._lifespan,
            generate_unique_id_function=operation_id,
        )
        for error in (*KINDS, HTTPException, RequestValidationError):
            app.add_exception_handler(error, partial(problem_response, self._error_members))
        return app

    def _add_middleware(self) -> None:
        """The last one added is the outermost: the client's address first, then CORS headers, also on errors."""
        app, settings = self.app, self.settings
        app.add_middleware(UnreadBody)
        if self._traces:
            app.add_middleware(TraceRequests, tracer=self._traces.tracer)
        app.add_middleware(RequestContext, metrics=self.metrics, draining=lambda: self.health.is_draining)
        if settings.cors_origins:
            app.add_middleware(CORSMiddleware, allow_origins=settings.cors_origins, **CORS_OPTIONS)
        if settings.trusted_proxies:
            app.add_middleware(TrustedProxies, proxies=settings.trusted_proxies)

    def _add_routes(self) -> None:
        app, settings, engine = self.app, self.settings, self._running_engine
        guards = Guards(settings)
        tracer = self._traces.tracer if self._traces else None
        self._context = context = DialectContext(
            settings, engine, guards, self.health, self.metrics, self._error_members, tracer
        )
        users, admins = [Depends(guards.user)], [Depends(guards.admin)]
        add_infer_route(app.router, context)
        app.include_router(batch_router(context), dependencies=users)
        app.include_router(explain_router(context), dependencies=users)
        app.include_router(model_router(engine), dependencies=users)
        app.include_router(admin_router(settings, engine), dependencies=admins)
        app.include_router(upload_router(settings, engine), dependencies=admins)
        app.include_router(health_router(self.health, self._providers, guards.has_key))
        app.include_router(metrics_router(self.metrics), dependencies=[Depends(guards.protected("metrics"))])
        app.include_router(page_router())
        for name in settings.dialects:
            app.include_router(create_dialect_router(name, context))
        extend_openapi(app)
        app.include_router(docs_router(app.openapi), dependencies=[Depends(guards.protected("docs"))])

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            raise_descriptor_limit()
            log_start(self.settings)
            stack.enter_context(drain_on_sigterm(self.settings.drain_seconds, self.health.drain))
            slot = Scoreboard.open(None if self._alone else self.settings.cache_dir).claim()
            stack.callback(slot.release)
            self._start(slot)
            if self._engine:
                stack.callback(self._engine.close)
            await stack.enter_async_context(self.metrics.lifespan(self._engine, self._service_state()))
            if self._traces:
                await stack.enter_async_context(self._traces.lifespan())
            if self.settings.grpc_port:
                from api.dialects.open_inference.grpc_server import serve_grpc

                await stack.enter_async_context(serve_grpc(self._context))
            yield

    def _service_state(self) -> ServiceState:
        settings, expiry = self.settings, None
        if settings.tls_cert and settings.tls_key:
            expiry = CertificateExpiry(settings.tls_cert, settings.tls_key)
        return ServiceState(lambda: self.health.not_ready_reason() is None, settings.queue_limit, expiry)

    def _start(self, slot: WorkerSlot) -> None:
        """A part that fails is reported by /health; the process stays up."""
        settings, given_images, given_models = self.settings, self._given_image_loader, self._given_model_loader
        limits = ImageLoaderOptions(settings.max_image_pixels, settings.accept_truncated)
        image_loader = self._start_part("image_loader", lambda: given_images or create_image_loader(options=limits))
        model_loader = self._start_part(
            "model_loader", lambda: given_models or create_model_loader(settings.reference_loader)
        )
        if image_loader is None or model_loader is None:
            self.health.set("model", Part(PartStatus.FAILED, "needs the image loader and the model loader"))
            return
        options = self._engine_options(model_loader, slot)
        repository = ModelRepository(self.settings.models_dir, twins=self.settings.precision == "fast")
        self._engine = InferenceEngine(repository, image_loader, model_loader, options)
        self._engine.start()
        self.health.watch("model", partial(_default_model_part, self._engine.models))
        self.health.watch("models_folder", partial(_folder_part, self._engine.models))
        self.health.watch("disk", partial(_disk_part, self.settings.cache_dir))

    def _engine_options(self, model_loader: ModelLoader, slot: WorkerSlot) -> EngineOptions:
        settings = self.settings
        check = ModelCheck(
            settings.reference_loader,
            model_loader.version,
            settings.providers,
            settings.cache_dir,
            exact_decode=settings.exact_decode,
        )
        return EngineOptions(
            ModelManagerOptions(
                settings.default_model, settings.load, settings.max_loaded_models, settings.idle_unload_s
            ),
            providers=settings.providers,
            concurrency=settings.concurrency,
            worker_slot=slot,
            tune=TuneLevel.OFF if settings.run_is_fixed else TuneLevel.QUICK,
            run_limits=RunLimits(settings.intra_op_threads, settings.max_batch),
            queue_limit=settings.queue_limit,
            timeout_s=settings.request_timeout_ms / 1e3,
            exact_decode=settings.exact_decode,
            check=None if self._given_model_loader else check,  # another process cannot create a given loader
            choose_runtime=None if self._given_model_loader else self._runtime_chooser(check),
            cache=settings.cache_dir,
            font=settings.font,
            observers=(self.metrics, self._traces) if self._traces else (self.metrics,),
        )

    def _runtime_chooser(self, check: ModelCheck) -> RuntimeChooser:
        """Nothing is compared on accelerators, or where the operator has fixed all that is measured."""
        settings = self.settings
        measured = check.on_cores_alone and not settings.run_is_fixed
        others = candidates(settings.model_loader, fast=settings.precision == "fast") if measured else ()
        return RuntimeChooser(check, others, cpu_budget(), _FAST_TOLERANCE)

    def _start_part(self, name: str, make: Callable[[], T]) -> T | None:
        try:
            part = make()
        except Exception as error:  # noqa: BLE001 - a missing or broken library is one failed part
            _log.exception("%s failed to start", name)
            self.health.set(name, Part(PartStatus.FAILED, f"{type(error).__name__}; see the log"))
            return None
        self.health.set(name, Part(PartStatus.OK))
        return part

    def _running_engine(self) -> InferenceEngine:
        if self._engine is None:
            raise NotReadyError(self.health.not_ready_reason() or "the service is starting")
        return self._engine

    def _providers(self) -> tuple[str, ...]:
        """Execution providers of the default model; empty before it is loaded."""
        model = self._engine.models.ready() if self._engine else None
        return model.session.providers if model else ()


_PART_OF_STATE = {
    ModelState.READY: PartStatus.OK,
    ModelState.LOADING: PartStatus.STARTING,
    ModelState.UNLOADING: PartStatus.STARTING,
    ModelState.UNAVAILABLE: PartStatus.FAILED,
}


def _default_model_part(models: ModelManager) -> Part:
    """With policy on-demand, a default model that was not requested yet is ok."""
    try:
        status = models.model_status(models.default)
    except (UnknownModelError, ModelUnavailableError) as error:
        return Part(PartStatus.FAILED, str(error), None)
    on_demand = models.loads_on_demand and status.since is None
    return Part(PartStatus.OK if on_demand else _PART_OF_STATE[status.state], status.reason, status.since)


def _folder_part(models: ModelManager) -> Part:
    """Always ok, since loaded models keep serving; `reason` has the problem with the folder."""
    return Part(PartStatus.OK, models.folder_error or None, None)


def _disk_part(folder: Path) -> Part:
    """Always ok, since loaded models keep serving; `reason` says that the disk is full."""
    try:
        free = shutil.disk_usage(folder if folder.exists() else folder.parent).free
    except OSError as error:
        return Part(PartStatus.OK, f"cannot read the free space of the cache folder: {error.strerror}", None)
    full = free < _LOW_DISK_BYTES
    return Part(PartStatus.OK, f"the disk of the cache folder has {free // _MIB} MiB left" if full else None, None)
