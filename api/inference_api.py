"""The service: takes settings and loaders, wires routes, errors and lifespan, gives `.app`."""

import logging
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api import VERSION
from api.auth import KeyRing
from api.health import Health, Part, PartStatus
from api.health_routes import health_router
from api.infer_routes import infer_router
from api.log_setup import set_up_logs
from api.openapi import describe
from api.problems import KINDS, NotReadyError, problem_of
from api.rate_limit import RateLimit
from api.request_context import RequestContext
from api.settings import ApiSettings, unknown_variables
from api.upload import discard_body
from engine.inference_engine import EngineOptions, InferenceEngine
from engine.live_model import LiveModel
from engine.live_models import LiveModels, ModelState, ModelStatus
from loaders.image_loader import ImageLoader, ImageLoaderOptions, create_image_loader
from loaders.model_errors import UnknownModelError
from loaders.model_loader import ModelLoader, create_model_loader
from loaders.model_repository import ModelRepository

T = TypeVar("T")

_log = logging.getLogger("fovea")


class InferenceAPI:
    """`image_loader` and `model_loader` replace those that the settings name."""

    def __init__(
        self,
        settings: ApiSettings,
        image_loader: ImageLoader | None = None,
        model_loader: ModelLoader | None = None,
    ) -> None:
        self.settings = settings
        self.health = Health()
        self._given_image_loader = image_loader
        self._given_model_loader = model_loader
        self._engine: InferenceEngine | None = None
        set_up_logs(settings.log_level, settings.log_format)
        self.app = self._build_app()

    def _build_app(self) -> FastAPI:
        app = FastAPIOffline(
            redoc_url=None,
            title="Fovea",
            version=VERSION,
            summary="From an .onnx file to an answer about a picture.",
            lifespan=self._lifespan,
        )
        app.add_middleware(RequestContext)
        for error in (*KINDS, HTTPException, RequestValidationError):
            app.add_exception_handler(error, _answer_with_problem)
        app.include_router(
            infer_router(self.settings, self._running_engine), dependencies=[Depends(self._make_guard())]
        )
        app.include_router(health_router(self.health, self._providers))
        app.add_api_route("/", _to_docs, include_in_schema=False)
        describe(app)
        return app

    def _make_guard(self) -> Callable[[Request], object]:
        """Runs before a request is read: its key, then its rate."""
        keys = KeyRing(self.settings.keys)
        rate = RateLimit(self.settings.rate_limit) if self.settings.rate_limit else None

        async def guard(request: Request) -> None:
            key = keys.check(request)
            if rate:
                rate.check(request, key)

        return guard

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        self._start()
        try:
            yield
        finally:
            if self._engine:
                self._engine.close()

    def _start(self) -> None:
        """A part that fails is reported by /health; it does not end the process."""
        settings = self.settings
        for name in unknown_variables(os.environ):
            _log.warning("%s is no setting of this service", name)
        if not settings.keys:
            _log.info("API_KEYS is empty: whoever reaches this address may infer")
        image_loader = self._start_part("image_loader", self._make_image_loader)
        model_loader = self._start_part("model_loader", self._make_model_loader)
        if image_loader is None or model_loader is None:
            self.health.set("model", Part(PartStatus.FAILED, "needs the image loader and the model loader"))
            return
        self._engine = InferenceEngine(
            ModelRepository(settings.models_dir),
            image_loader,
            model_loader,
            EngineOptions(
                default_model=settings.default_model,
                providers=settings.providers,
                lanes=settings.lanes,
                queue_limit=settings.queue_limit,
                timeout_s=settings.request_timeout_ms / 1e3,
                exact_decode=settings.exact_decode,
            ),
        )
        self._start_default_model(self._engine.models)

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

    def _start_default_model(self, models: LiveModels) -> None:
        """Loads in the background: the process is live at once, and ready when the model is."""
        try:
            load = models.request()
        except UnknownModelError as error:
            _log.error("the default model cannot be loaded: %s", error)
            self.health.set("model", Part(PartStatus.FAILED, str(error)))
            return
        self.health.watch("model", lambda: _model_part(models.status(models.default)))
        load.add_done_callback(_log_loaded)

    def _running_engine(self) -> InferenceEngine:
        if self._engine is None:
            raise NotReadyError(self.health.not_ready_reason() or "the service is starting")
        return self._engine

    def _providers(self) -> tuple[str, ...]:
        """Those of the default model, once it is loaded."""
        model = self._engine.models.ready() if self._engine else None
        return model.session.providers if model else ()


_PART_OF_STATE = {
    ModelState.READY: PartStatus.OK,
    ModelState.LOADING: PartStatus.STARTING,
    ModelState.UNAVAILABLE: PartStatus.FAILED,
}


def _model_part(status: ModelStatus | None) -> Part:
    if status is None:
        return Part(PartStatus.STARTING, "not asked for yet")
    return Part(_PART_OF_STATE[status.state], status.reason, status.since)


def _log_loaded(load: Future[LiveModel]) -> None:
    """A failure is logged where it happens."""
    if load.cancelled() or load.exception():
        return
    model = load.result()
    _log.info("ready: %s version %s on %s", model.ref.name, model.ref.version, ", ".join(model.session.providers))


async def _answer_with_problem(request: Request, error: Exception) -> Response:
    """The one way every error leaves; what is left of the request's body is dropped first."""
    problem = problem_of(error)
    response = problem.response(request.state.request_id)
    request.state.log.update(code=problem.code)
    if not await discard_body(request):
        response.headers["Connection"] = "close"
    return response


async def _to_docs() -> RedirectResponse:
    return RedirectResponse("docs")
