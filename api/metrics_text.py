"""The numbers of all processes as Prometheus reads them: families with names, units and help."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from api.counters import Key, Numbers
from api.telemetry import metrics as m

_COUNTERS = {
    m.REQUESTS: ("fovea_http_requests", "Requests answered; 499: the client left.", ("route", "method", "status")),
    m.ERRORS: ("fovea_errors", "Requests, and pictures of batches, answered with a problem, by its code.", ("code",)),
    m.PICTURES: ("fovea_pictures", "Pictures that a model has answered about.", ("model", "version")),
    m.LOADS: ("fovea_model_loads", "Loads of a model that have ended: ok or failed.", ("model", "result")),
}
_HISTOGRAMS = {
    m.REQUEST_SECONDS: (
        "fovea_http_request_duration_seconds",
        "From a request's headers to the end of its answer.",
        ("route",),
        m.BOUNDS,
    ),
    m.STAGE_SECONDS: (
        "fovea_stage_duration_seconds",
        "Stages of a picture's trip: decode, preprocess, queue, inference, postprocess.",
        ("model", "stage"),
        m.STAGE_BOUNDS,
    ),
    m.LOAD_SECONDS: ("fovea_model_load_duration_seconds", "Loads of a model.", ("model",), m.BOUNDS),
}
_GAUGES = {
    m.WAITING: ("fovea_requests_waiting", "Pictures that wait for a lane.", ("model",)),
    m.RUNNING: ("fovea_requests_running", "Pictures on lanes.", ("model",)),
    m.STATES: (
        "fovea_model_workers",
        "Worker processes that have a version in this state: ready, loading, unloading, failed or unloaded.",
        ("model", "version", "state"),
    ),
}


def metrics_text(everybody: Iterable[Numbers], version: str, accept: str) -> tuple[bytes, str]:
    """The text and its content type, of those that `accept` names."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(everybody), version))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collected(Collector):
    def __init__(self, everybody: Sequence[Numbers], version: str) -> None:
        self._live = [numbers for numbers in everybody if numbers.live]
        self._version = version
        self._sums: dict[str, dict[Key, list[float]]] = defaultdict(dict)
        for numbers in everybody:
            for (family, *labels), values in numbers.values.items():
                if numbers.live or family not in m.GAUGES:
                    found = self._sums[family].get(key := tuple(labels))
                    self._sums[family][key] = [a + b for a, b in zip(found, values, strict=True)] if found else values

    def collect(self) -> Iterable[Metric]:
        for family, (name, text, labels) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for key, [value] in self._sums[family].items():
                counter.add_metric(key, value)
            yield counter
        for family, (name, text, labels, bounds) in _HISTOGRAMS.items():
            yield _histogram(HistogramMetricFamily(name, text, labels=labels), bounds, self._sums[family])
        for family, (name, text, labels) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=labels)
            for key, [value] in self._sums[family].items():
                gauge.add_metric(key, value)
            yield gauge
        yield GaugeMetricFamily("fovea_workers", "Processes that serve.", len(self._live))
        yield InfoMetricFamily("fovea_build", "What serves.", {"version": self._version})
        yield from _processes(self._live)


def _histogram(
    family: HistogramMetricFamily, bounds: Sequence[float], found: Mapping[Key, list[float]]
) -> HistogramMetricFamily:
    names = [*map(str, bounds), "+Inf"]
    for key, (total, *counts) in found.items():
        family.add_metric(key, list(zip(names, accumulate(counts), strict=True)), total)
    return family


def _processes(live: Sequence[Numbers]) -> Iterable[Metric]:
    """prometheus_client's own figures of each worker, told apart by its number."""
    families: dict[str, Metric] = {}
    for numbers in live:
        pid = int(numbers.values.get((m.PID,), [0.0])[0])
        for metric in ProcessCollector(pid=partial(_same, pid or "self"), registry=None).collect():
            family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            worker = {"worker": str(numbers.number)}
            family.samples += [Sample(s.name, worker, s.value) for s in metric.samples]
    return families.values()


def _same(pid: int | str) -> int | str:
    return pid
