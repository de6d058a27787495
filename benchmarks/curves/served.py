"""Measures the curves, one after another. Every contestant is started anew for each curve."""

import asyncio
import json
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.contestants import CACHE, FOVEA, MODELS, Contestant
from benchmarks.curves.graphs import write_model
from benchmarks.curves.points import CPU, MEMORY, OTHERS, P50, P99, RATE, REJECTED, SECONDS, Point
from benchmarks.http_requests import Picture, Request, multipart
from benchmarks.load import ClosedLoop
from benchmarks.measure import NoAnswerError, Patience, Place, measure
from benchmarks.models import ROOT, graph_of
from benchmarks.pictures import PictureSets
from benchmarks.processes import ServerDiedError, ServerProcess
from benchmarks.ready import ask, serving
from benchmarks.scenarios import Model

BARE = "ONNX Runtime alone"
_MODEL_MB = 5
_ANY_CLASS = frozenset(range(1000))
_ANSWER_S = 120.0
_SETTLE_S = 2.0
_WORKER_CONNECTIONS = 16
_REPEAT_S = 2.0  # the median of the requests in this time counts

Work = Callable[[Contestant, ServerProcess, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The places of each curve, and the patience of each measurement."""

    connections: Sequence[int]
    models: Sequence[int]
    cold_mb: Sequence[int]
    batch: Sequence[int]
    megapixels: Sequence[float]
    patience: Patience


FULL = Sizes(
    connections=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    models=(1, 5, 20, 50),
    cold_mb=(5, 50, 500),
    batch=(1, 4, 16, 64, 256, 1000),
    megapixels=(0.1, 0.5, 2, 12, 24, 48),
    patience=Patience(window_s=1.0, tolerance=0.1, most=4),
)
QUICK = Sizes((1, 8, 256), (1, 5), (5, 50), (1, 64, 1000), (0.1, 12, 48), Patience(0.5, 0.15, 4))


class Curves:
    """`peers` are measured where they can do the same. `say` is called with a line for each point."""

    def __init__(
        self, fovea: Contestant, peers: Sequence[Contestant], sizes: Sizes, say: Callable[[str], None]
    ) -> None:
        self._fovea, self._peers, self._sizes, self._say = fovea, peers, sizes, say
        self._pictures = PictureSets(graph_of(MODELS, "default"), CACHE)
        self._any_photo = replace(self._photo, classes=_ANY_CLASS)
        self.points: list[Point] = []
        self.by_name = {
            "connections": self.connections,
            "models": self.models,
            "cold": self.cold,
            "batch": self.batch,
            "photos": self.photos,
            "workers": self.workers,
        }

    async def connections(self) -> None:
        """Closed loops. Peers have no limit of their queue, so the service is also measured with a longer one."""

        async def work(contestant: Contestant, server: ServerProcess, port: int) -> None:
            for number in self._sizes.connections:
                requests = [multipart(contestant.path, [self._photo])]
                at = Place(0, contestant.name, "connections", str(number))
                await self._load(at, number, ClosedLoop(port, requests, number), server)

        longer = self._with("API_QUEUE_LIMIT", "256")
        await self._each((self._fovea, longer, *self._peers), "default", work)

    async def photos(self) -> None:
        """One connection."""
        photos = {size: self._pictures.of_size(size) for size in self._sizes.megapixels}

        async def work(contestant: Contestant, server: ServerProcess, port: int) -> None:
            for size, photo in photos.items():
                at = Place(0, contestant.name, "photos", f"{size:g} megapixels")
                await self._load(at, size, ClosedLoop(port, [multipart(contestant.path, [photo])], 1), server)

        await self._each((self._fovea, *self._peers), "default", work)

    async def workers(self) -> None:
        """One, two and four processes of the service. The peers use both cores their own way."""

        async def work(contestant: Contestant, server: ServerProcess, port: int) -> None:
            workers = int(contestant.environment.get("API_WORKERS", 2))
            name = FOVEA if contestant.name.startswith(FOVEA) else contestant.name
            load = ClosedLoop(port, [multipart(contestant.path, [self._any_photo])], _WORKER_CONNECTIONS)
            await self._load(Place(0, name, "workers", str(workers)), workers, load, server)

        numbers = (self._with("API_WORKERS", number) for number in ("1", "2", "4"))
        await self._each((*numbers, *self._peers), "no-cost", work)

    async def batch(self) -> None:
        """One request at a time, each with many pictures."""

        async def work(contestant: Contestant, _: ServerProcess, port: int) -> None:
            for number in self._sizes.batch:
                request = multipart(f"{contestant.path}/batch", [self._photo] * number, "images")
                seconds = await _median_s(port, request)
                self._keep(Point("batch", FOVEA, number, {RATE: number / seconds, SECONDS: seconds}))

        limit = str(max(self._sizes.batch))
        await self._each([self._with("API_MAX_BATCH_IMAGES", limit)], "default", work)

    async def models(self) -> None:
        """One process; each model is loaded by its first request."""
        names = [f"many-{number:02}" for number in range(max(self._sizes.models))]

        async def work(_: Contestant, server: ServerProcess, port: int) -> None:
            for number, name in enumerate(names, 1):
                await self._first_answer(port, name)
                if number in self._sizes.models:
                    await asyncio.sleep(_SETTLE_S)
                    self._keep(Point("models", FOVEA, number, {MEMORY: server.pss_mib()}))

        with _models_folder() as folder:
            graphs = [write_model(folder, name, _MODEL_MB, seed) for seed, name in enumerate(names)]
            await self._each([self._on_demand(folder, names[0])], "default", work)
            for number, (_, pss_mib) in enumerate(_bare_sessions(graphs), 1):
                if number in self._sizes.models:
                    self._keep(Point("models", BARE, number, {MEMORY: pss_mib}))

    async def cold(self) -> None:
        """In a service that runs: the first load on the machine, and the load after a restart."""

        async def work(contestant: Contestant, _: ServerProcess, port: int) -> None:
            for size in self._sizes.cold_mb:
                seconds = await self._first_answer(port, f"cold-{size}")
                self._keep(Point("cold", contestant.name, size, {SECONDS: seconds}))

        with _models_folder() as folder:
            write_model(folder, "first", _MODEL_MB)
            graphs = [write_model(folder, f"cold-{size}", size) for size in self._sizes.cold_mb]
            for how in ("first time on the machine", "after a restart"):
                contestant = replace(self._on_demand(folder, "first"), name=f"{FOVEA}, {how}")
                await self._each([contestant], "default", work)
            for size, graph in zip(self._sizes.cold_mb, graphs, strict=True):
                [(seconds, _)] = _bare_sessions([graph])
                self._keep(Point("cold", BARE, size, {SECONDS: seconds}))

    @property
    def _photo(self) -> Picture:
        [photo] = self._pictures.of("photo")
        return photo

    def _with(self, setting: str, value: str) -> Contestant:
        environment = {**self._fovea.environment, setting: value}
        return replace(self._fovea, name=f"{FOVEA}, {setting}={value}", environment=environment)

    def _on_demand(self, folder: Path, first: str) -> Contestant:
        """Its models are in `folder`, and its cache is empty."""
        places = {"API_MODELS_DIR": str(folder), "API_CACHE_DIR": str(folder.parent / "cache")}
        return replace(self._fovea, environment={"API_LOAD": "on-demand", "API_DEFAULT_MODEL": first, **places})

    async def _each(self, contestants: Sequence[Contestant], model: Model, work: Work) -> None:
        """Starts one after another. One that fails is reported; the others are measured all the same."""
        for contestant in contestants:
            first = multipart(contestant.path, [self._any_photo])
            try:
                async with serving(contestant, model, first) as (server, port):
                    await work(contestant, server, port)
            except ServerDiedError as error:
                self._say(f"{contestant.name}: {error}")

    async def _load(self, at: Place, place: float, load: ClosedLoop, server: ServerProcess) -> None:
        patience = self._sizes.patience
        # The more connections, the longer a request waits: each is to be answered several times in a window.
        patience = replace(patience, window_s=patience.window_s * max(1.0, load.connections / 100))
        try:
            m = await measure(load, server, patience, at)
        except NoAnswerError as error:
            self._say(f"{at.contestant}: {error}")
            return
        finally:
            load.stop()
        rejected = 100 * m.errors / (m.errors + m.requests)
        values = {RATE: m.throughput, P50: m.p50_ms, P99: m.p99_ms, REJECTED: rejected}
        values |= {CPU: m.server_cpu_ms, OTHERS: m.other_cores}
        self._keep(Point(at.workload, at.contestant, place, values))
        if m.note:
            self._say(f"{at.contestant}, {at.workload} {at.load}: {m.note}")

    async def _first_answer(self, port: int, model: str) -> float:
        return await _seconds(port, multipart(f"{self._fovea.path}?model={model}", [self._any_photo]))

    def _keep(self, point: Point) -> None:
        self.points.append(point)
        values = ", ".join(f"{name} {value:.4g}" for name, value in point.values.items())
        self._say(f"{point.curve} {point.at:g}, {point.series}: {values}")


async def _median_s(port: int, request: Request) -> float:
    """Median seconds of one request after another, after the first."""
    await _seconds(port, request)
    taken: list[float] = []
    while sum(taken) < _REPEAT_S:
        taken.append(await _seconds(port, request))
    return statistics.median(taken)


async def _seconds(port: int, request: Request) -> float:
    """Raises ServerDiedError if the answer is not right."""
    started = perf_counter()
    answer = await ask(port, request, _ANSWER_S)
    if not request.is_right(answer):
        raise ServerDiedError(f"status {answer.status}: {answer.body[:300].decode(errors='replace')}")
    return perf_counter() - started


def _bare_sessions(graphs: Sequence[Path]) -> list[tuple[float, float]]:
    """Seconds of load and first run, and MiB after it, of each graph."""
    command = [sys.executable, "-m", "benchmarks.curves.bare_sessions", *map(str, graphs)]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    return [(one["seconds"], one["pss_mib"]) for one in found]


@contextmanager
def _models_folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="curves-", dir=CACHE) as temporary:
        yield Path(temporary, "models")
