"""What is counted and measured, for Prometheus.

Requests add to plain numbers of their own process (`api/counters.py`): some 3 us a request, where prometheus_client's
own metrics take 9 with several processes. Only when somebody asks are they made into prometheus_client's families.
"""

import asyncio
import os
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from api.counters import Counters, Key
from engine.inference_engine import InferenceEngine
from engine.models.load_attempt import ModelState
from engine.pipeline import Answer
from utils.time_utils import STAGES

# Upper bounds in seconds: of a request, and of a stage or a model's load.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STAGE_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0)
# A histogram's values: their sum, how many there are up to each bound, and how many above.
HISTOGRAM_VALUES = 1 + len(BOUNDS) + 1

REQUESTS, REQUEST_SECONDS = "requests", "request_seconds"
STAGE_SECONDS, PICTURES, ERRORS = "stage_seconds", "pictures", "errors"
LOADS, LOAD_SECONDS = "loads", "load_seconds"
WAITING, RUNNING, STATES = "waiting", "running", "states"
PID = "pid"
GAUGES = (WAITING, RUNNING, STATES, PID)

# What has no name of its own any more: labels must not grow without end.
OTHER = "other"
_MOST_MODELS = 256
_SHOW_EVERY_S = 1.0
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))

# By family and label values.
Gauges = Mapping[Key, float]


class Metrics:
    """Of one app. All but `loaded` belongs to the event loop's thread.

    `folder`: shared with other processes. `doors`: addresses that are answered before the framework finds a route.
    """

    def __init__(self, folder: Path | None = None, doors: Sequence[str] = ()) -> None:
        self.counters = Counters(folder)
        self._doors = frozenset(doors)
        self._values = self.counters.values
        self._requests: dict[tuple[str, str, int], tuple[int, int]] = {}
        self._models: dict[tuple[str, int], list[int]] = {}
        self._names: set[str] = set()
        self._errors: dict[str, int] = {}
        self._gauges = {key: at for key, at in self.counters.places().items() if key[0] in GAUGES and key[0] != PID}
        self._loading = Lock()
        self._values[self.counters.place((PID,))] = os.getpid()

    def request(self, scope: Mapping[str, Any], status: int, seconds: float, codes: Sequence[str] = ()) -> None:
        """One is answered, perhaps with problems of these codes. Its route is a template, never what was asked for."""
        route, path = scope.get("route"), scope["path"]
        if route is not None:
            path = route.path
        elif path not in self._doors:
            path = OTHER
        places = self._requests.get((path, scope["method"], status)) or self._places_of(path, scope["method"], status)
        values = self._values
        values[places[0]] += 1.0
        at = places[1]
        values[at] += seconds
        values[at + 1 + bisect_left(BOUNDS, seconds)] += 1.0
        for code in codes:
            self._error(code)

    def _error(self, code: str) -> None:
        place = self._errors.get(code)
        if place is None:
            place = self._errors[code] = self.counters.place((ERRORS, code))
        self._values[place] += 1.0

    def answered(self, answers: Sequence[Answer]) -> None:
        """What one or several models say about a picture, with the stages that led there."""
        values = self._values
        for answer in answers:
            ref = answer.model
            places = self._models.get((ref.name, ref.version)) or self._places_of_model(ref.name, ref.version)
            values[places[0]] += 1.0
            for at, seconds in zip(places[1:], answer.timer.stages.values(), strict=True):
                values[at] += seconds
                values[at + 1 + bisect_left(STAGE_BOUNDS, seconds)] += 1.0

    def loaded(self, name: str, seconds: float, *, ok: bool) -> None:
        """A model's load has ended; from any thread."""
        with self._loading:
            name = self._known(name)
            self._values[self.counters.place((LOADS, name, "ok" if ok else "failed"))] += 1.0
            at = self.counters.place((LOAD_SECONDS, name), HISTOGRAM_VALUES)
            self._values[at] += seconds
            self._values[at + 1 + bisect_left(BOUNDS, seconds)] += 1.0

    async def keep_shown(self, look: Callable[[], Gauges]) -> None:
        """For other processes; this one looks when it is asked."""
        while True:
            self.look(look())
            await asyncio.sleep(_SHOW_EVERY_S)

    def look(self, gauges: Gauges) -> None:
        """These are the gauges now; those that are not among them are 0."""
        for key in gauges:
            if key not in self._gauges:
                self._gauges[key] = self.counters.place(key)
        for key, place in self._gauges.items():
            self._values[place] = gauges.get(key, 0.0)

    def _places_of(self, path: str, method: str, status: int) -> tuple[int, int]:
        """Anybody may invent methods: what they ask by is not kept."""
        shown = method if method in _METHODS else OTHER
        places = (
            self.counters.place((REQUESTS, path, shown, str(status))),
            self.counters.place((REQUEST_SECONDS, path), HISTOGRAM_VALUES),
        )
        if shown == method:
            self._requests[path, method, status] = places
        return places

    def _places_of_model(self, name: str, version: int) -> list[int]:
        shown, number = self._known(name), str(version)
        if shown == OTHER or len(self._models) >= _MOST_MODELS:
            number = OTHER
        stages = [self.counters.place((STAGE_SECONDS, shown, stage), HISTOGRAM_VALUES) for stage in STAGES]
        places = [self.counters.place((PICTURES, shown, number)), *stages]
        if number != OTHER:
            self._models[name, version] = places
        return places

    def _known(self, name: str) -> str:
        if name not in self._names and len(self._names) < _MOST_MODELS:
            self._names.add(name)
        return name if name in self._names else OTHER


def gauges(engine: InferenceEngine) -> Gauges:
    """Of an engine as it is now."""
    found: dict[Key, float] = {}
    for model, (waiting, running) in engine.scheduler.queues().items():
        found[WAITING, model], found[RUNNING, model] = waiting, running
    for name, versions in engine.models.catalog.items():
        for number in versions:
            status = engine.models.status(name, number)
            never = status.state is ModelState.UNAVAILABLE and status.since is None
            state = "unloaded" if never else _STATES[status.state]
            found[STATES, name, str(number), state] = 1
    return found


_STATES = {
    ModelState.READY: "ready",
    ModelState.LOADING: "loading",
    ModelState.UNLOADING: "unloading",
    ModelState.UNAVAILABLE: "failed",
}
