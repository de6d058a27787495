"""Prometheus metrics: requests, pictures, stages, errors, model loads, queues and model states.

With several worker processes, prometheus_client keeps the metrics of each in files of the folder that the environment
variable PROMETHEUS_MULTIPROC_DIR names, and a scrape of any worker adds them up. prometheus_client reads the variable
when it is imported.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    multiprocess,
)
from prometheus_client.exposition import choose_encoder

from api import VERSION
from api.telemetry.model_statistics import ModelStatistics
from api.telemetry.process_metrics import ProcessMetrics, live_processes
from engine.inference_engine import InferenceEngine
from engine.models.load_attempt import ModelState
from engine.pipeline import Answer, TensorAnswer

# Histogram buckets in seconds: of requests and model loads, and of a picture's stages.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0)

# Of unknown paths and methods, which clients choose.
_OTHER = "other"
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))

# Codes that have an alert, see deploy/prometheus/rules.yaml.
_ALERTED_CODES = ("internal_error", "invalid_model_output", "out_of_memory", "queue_full", "uploads_full")

_REFRESH_S = 1.0

_STATES = {
    ModelState.READY: "ready",
    ModelState.LOADING: "loading",
    ModelState.UNLOADING: "unloading",
    ModelState.UNAVAILABLE: "failed",
}


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What gauges read of this process. `certificate_expiry`: seconds since the epoch; None if it serves no HTTPS."""

    is_ready: Callable[[], bool]
    queue_limit: int
    certificate_expiry: Callable[[], float] | None = None


class Metrics:
    """The metrics of one application. Counts may come from any thread."""

    def __init__(self) -> None:
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._folder = Path(folder) if folder else None
        self.statistics = ModelStatistics()
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
        self._registry = registry = CollectorRegistry()
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        gauge = partial(Gauge, registry=registry, multiprocess_mode="livesum")

        # Finding the child of some labels costs more than counting, so the children are cached.
        text = "Requests answered; status 499: the client disconnected."
        self._requests = cache(counter("fovea_http_requests", text, ("route", "method", "status")).labels)
        text = "Time from a request's headers to the end of its response."
        seconds = histogram("fovea_http_request_duration_seconds", text, ("route",), buckets=_SECONDS)
        self._request_seconds = cache(seconds.labels)
        text = "Requests, and pictures of batches, answered with an error, by its code."
        self._errors = counter("fovea_errors", text, ("code",))
        for code in _ALERTED_CODES:
            self._errors.labels(code)  # 0, so that Prometheus sees the first one as an increase
        self._pictures = cache(counter("fovea_pictures", "Pictures answered.", ("model", "version")).labels)
        text = "Time in the stages of inference: decode, preprocess, queue, inference, postprocess."
        stages = ("model", "stage")
        seconds = histogram("fovea_stage_duration_seconds", text, stages, buckets=_STAGE_SECONDS)
        self._stage_seconds = cache(seconds.labels)
        text = "Pictures in one run of a model that runs several together."
        self._batch_size = histogram("fovea_batch_size", text, ("model",), buckets=_BATCH_SIZES)
        self._loads = counter("fovea_model_loads", "Finished model loads: ok or failed.", ("model", "result"))
        text = "Model load time."
        self._load_seconds = histogram("fovea_model_load_duration_seconds", text, ("model",), buckets=_SECONDS)
        self._waiting = gauge("fovea_requests_waiting", "Pictures queued.", ("model",))
        self._running = gauge("fovea_requests_running", "Pictures in flight on worker threads.", ("model",))
        text = "Worker processes that have a model version in a state: ready, loading, unloading, failed or unloaded."
        self._model_workers = gauge("fovea_model_workers", text, ("model", "version", "state"))
        self._workers = gauge("fovea_workers", "Worker processes.")
        self._ready_workers = gauge("fovea_workers_ready", "Worker processes that are ready, as /health/ready reports.")
        text = "Maximum number of queued pictures of a model, of all worker processes together."
        self._queue_limit = gauge("fovea_queue_limit", text)
        name, text = "fovea_tls_certificate_expiry_timestamp_seconds", "End of the validity of the TLS certificate."
        # With a label, because a gauge without labels shows 0 before it is set.
        self._certificate_expiry = gauge(name, text, ("setting",), multiprocess_mode="livemin")
        self._build = gauge("fovea_build_info", "Version of Fovea.", ("version",), multiprocess_mode="livemax")

        self._engine: InferenceEngine | None = None
        self._service: ServiceState | None = None
        self._shown: set[tuple[Gauge, tuple[str, ...]]] = set()

    def request(self, route: str | None, method: str, status: int, seconds: float, codes: Iterable[str] = ()) -> None:
        """Counts a request and the `codes` of its errors. `route` is a path template; None is an unknown path."""
        route = route or _OTHER
        self._requests(route, method if method in _METHODS else _OTHER, str(status)).inc()
        self._request_seconds(route).observe(seconds)
        for code in codes:
            self._errors.labels(code).inc()

    def answered(self, answers: Sequence[Answer | TensorAnswer]) -> None:
        """Counts a picture once for each model that answered, with the time of its stages."""
        self.statistics.answered(answers)
        for answer in answers:
            name, number = answer.model.name, answer.model.version
            self._pictures(name, str(number)).inc()
            for stage, seconds in answer.timer.stages.items():
                self._stage_seconds(name, stage).observe(seconds)

    def loaded(self, name: str, seconds: float, *, ok: bool) -> None:
        """Counts a finished model load."""
        self._loads.labels(name, "ok" if ok else "failed").inc()
        self._load_seconds.labels(name).observe(seconds)

    def ran(self, name: str, pictures: int) -> None:
        """Counts a run of a model on a batch of pictures."""
        self._batch_size.labels(name).observe(pictures)

    @asynccontextmanager
    async def lifespan(self, engine: InferenceEngine | None, service: ServiceState) -> AsyncIterator[None]:
        """Shows `engine` and this process in the gauges while the application runs."""
        self._engine, self._service = engine, service
        if not self._folder:
            yield
            return
        refreshing = asyncio.create_task(self._keep_refreshed())
        try:
            yield
        finally:
            refreshing.cancel()
            multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Returns the metrics of all workers in the format that the header `accept` names, and its content type."""
        self._refresh()
        return await asyncio.to_thread(self._render, accept)

    def _render(self, accept: str) -> tuple[bytes, str]:
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # it names a version that is not a number
            encode, content_type = choose_encoder("")
        return encode(self._all_processes()), content_type

    def _all_processes(self) -> CollectorRegistry:
        registry = CollectorRegistry()
        if self._folder:
            registry.register(ProcessMetrics(live_processes(self._folder)))
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
        else:
            registry.register(ProcessMetrics([os.getpid()]))
            registry.register(self._registry)
        return registry

    async def _keep_refreshed(self) -> None:
        """Other workers read this one's gauges from its file."""
        while True:
            self._refresh()
            await asyncio.sleep(_REFRESH_S)

    def _refresh(self) -> None:
        """Sets the gauges. Labels that are gone become 0: with several workers they cannot be removed."""
        self._workers.set(1)
        self._build.labels(VERSION).set(1)
        if service := self._service:
            self._ready_workers.set(service.is_ready())
            self._queue_limit.set(service.queue_limit)
            if service.certificate_expiry:
                self._certificate_expiry.labels("API_TLS_CERT").set(service.certificate_expiry())
        values: dict[tuple[Gauge, tuple[str, ...]], float] = {}
        if self._engine:
            for name, (waiting, running) in self._engine.scheduler.queues().items():
                values[self._waiting, (name,)] = waiting
                values[self._running, (name,)] = running
            for name, versions in self._engine.models.catalog.items():
                for number in versions:
                    values[self._model_workers, (name, str(number), _state(self._engine, name, number))] = 1
        for gauge, labels in self._shown - values.keys():
            gauge.labels(*labels).set(0)
        for (gauge, labels), value in values.items():
            gauge.labels(*labels).set(value)
        self._shown |= values.keys()


def _state(engine: InferenceEngine, name: str, number: int) -> str:
    status = engine.models.status(name, number)
    never_loaded = status.state is ModelState.UNAVAILABLE and status.since is None
    return "unloaded" if never_loaded else _STATES[status.state]
