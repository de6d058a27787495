"""One round: every contestant once with every model. Several rounds interleave the contestants (A B A B)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

from benchmarks.contestants import CACHE, FOVEA, FOVEA_2, MODELS, Contestant, bare_loop_command
from benchmarks.http_requests import Request, multipart, raw
from benchmarks.load import ClosedLoop, Load, OpenLoop
from benchmarks.measure import NoAnswerError, Patience, Place, measure, measure_loop
from benchmarks.models import ROOT, graph_of
from benchmarks.pictures import PictureSets
from benchmarks.processes import ServerDiedError, ServerProcess, running
from benchmarks.ready import serving
from benchmarks.results import DISTURBED_CORES, LOOP, Failure, Measurement, Results, Start
from benchmarks.scenarios import BATCH_PICTURES, MIXED, Cell, Model, Workload

_LOOP_WAYS = ("threads", "processes", "threads, INTER_AREA", "processes, INTER_AREA", "all cores in one run")
LOOP_LOAD = "loop"

# Requests after which the memory of a long run is read.
MEMORY_AFTER = (1000, 20_000)
_MEMORY_CONNECTIONS = 8
_LOOK_EACH_S = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run measures. `patience` is that of each measurement."""

    cells: Sequence[Cell]
    contestants: Sequence[Contestant]
    models: Sequence[Model]
    patience: Patience
    memory: bool = True


class Round:
    """One pass over the plan. `say` is called with a line for each measurement."""

    def __init__(self, number: int, plan: Plan, results: Results, say: Callable[[str], None]) -> None:
        self._number, self._plan, self._results, self._say = number, plan, results, say
        self._pictures = {model: PictureSets(graph_of(MODELS, model), CACHE) for model in plan.models}

    async def run(self) -> None:
        """The bare loops come first: the rates of the open loops are shares of their limit."""
        for model in self._plan.models:
            cells = [cell for cell in self._plan.cells if cell.workload.model == model]
            for workload in {cell.workload.loop_name: cell.workload for cell in cells}.values():
                for way in _LOOP_WAYS:
                    await self._loop(way, workload)
            first = self._number % len(self._plan.contestants)
            for contestant in (*self._plan.contestants[first:], *self._plan.contestants[:first]):
                if model not in contestant.models:
                    continue
                await self._contestant(contestant, model, cells)

    async def memory(self) -> None:
        """RSS of a fresh Fovea after many requests of mixed photos."""
        for fovea in (contestant for contestant in self._plan.contestants if contestant.name == FOVEA):
            try:
                await self._memory(fovea)
            except ServerDiedError as error:
                self._fail(FOVEA, "default", error)

    async def _memory(self, fovea: Contestant) -> None:
        async with self._ready(fovea, "default") as (server, port):
            load = ClosedLoop(port, self._requests(MIXED, fovea), _MEMORY_CONNECTIONS)
            await load.start()
            answered = 0
            for requests in MEMORY_AFTER:
                while answered < requests:
                    await asyncio.sleep(_LOOK_EACH_S)
                    server.check_alive()
                    answered += len(load.cut().latencies)
                self._results.memory_mib[requests] = server.rss_mib()
                self._say(f"{fovea.name}: {server.rss_mib():.0f} MiB after {requests} requests of mixed photos")
            load.stop()

    async def _loop(self, way: str, workload: Workload) -> None:
        pictures = self._pictures[workload.model].of(workload.photos)
        arguments = [f"{picture.file}={','.join(map(str, picture.classes))}" for picture in pictures]
        command = bare_loop_command(way, workload.model, self._plan.patience.window_s, arguments)
        name = f"{LOOP}: {way}"
        try:
            with running(command, {}, ROOT, CACHE / "logs" / "bare-loop.log") as process:
                place = Place(self._number, name, workload.loop_name, LOOP_LOAD)
                self._keep(await measure_loop(process, self._plan.patience, place))
        except (ServerDiedError, NoAnswerError) as error:
            self._fail(name, workload.model, error)

    async def _contestant(self, contestant: Contestant, model: Model, cells: Sequence[Cell]) -> None:
        """Records the failure of a contestant; the others are measured all the same."""
        try:
            async with self._ready(contestant, model) as (server, port):
                for cell in cells:
                    if cell.workload.everyone or contestant.name in (FOVEA, FOVEA_2):
                        await self._cell(contestant, cell, server, port)
        except ServerDiedError as error:
            self._fail(contestant.name, model, error)

    @asynccontextmanager
    async def _ready(self, contestant: Contestant, model: Model) -> AsyncIterator[tuple[ServerProcess, int]]:
        """The server and its port, after its first right answer."""
        first, started = multipart(contestant.path, self._pictures[model].of("photo")), perf_counter()
        async with serving(contestant, model, first) as (server, port):
            start = Start(self._number, contestant.name, model, perf_counter() - started, server.rss_mib())
            self._results.starts.append(start)
            self._say(f"{start.contestant}, {model}: ready after {start.seconds:.2f} s with {start.rss_mib:.0f} MiB")
            yield server, port

    async def _cell(self, contestant: Contestant, cell: Cell, server: ServerProcess, port: int) -> None:
        workload = cell.workload
        requests = self._requests(workload, contestant)
        load: Load
        if cell.load.kind == "closed":
            load = ClosedLoop(port, requests, int(cell.load.value))
        else:
            limit = self._results.limit(workload.loop_name, self._number)
            load = OpenLoop(port, requests, cell.load.value * limit)
        place = Place(self._number, contestant.name, workload.name, cell.load.name, workload.pictures)
        try:
            self._keep(await measure(load, server, self._plan.patience, place))
        except NoAnswerError as error:
            self._fail(contestant.name, workload.model, error)
        finally:
            load.stop()

    def _requests(self, workload: Workload, contestant: Contestant) -> list[Request]:
        pictures = self._pictures[workload.model].of(workload.photos)
        if workload.body == "raw":
            return [raw(contestant.path, picture) for picture in pictures]
        if workload.body == "batch":
            return [multipart(f"{contestant.path}/batch", pictures * BATCH_PICTURES, "images")]
        return [multipart(contestant.path, [picture]) for picture in pictures]

    def _keep(self, m: Measurement) -> None:
        self._results.measurements.append(m)
        parts = [f"{m.throughput:.1f}/s", f"p50 {m.p50_ms:.2f} ms", f"p99 {m.p99_ms:.2f} ms"]
        parts += [f"{m.errors} errors ({m.note})"] if m.errors else []
        parts += [] if m.stable else ["not stable"]
        parts += [f"{m.other_cores:.1f} cores were used by others"] if m.other_cores > DISTURBED_CORES else []
        self._say(f"{m.contestant}, {m.workload}, {m.load}: {', '.join(parts)}")

    def _fail(self, name: str, model: Model, error: Exception) -> None:
        self._results.failures.append(Failure(self._number, name, model, str(error)))
        self._say(f"{name}, {model}: {error}")
