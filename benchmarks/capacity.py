"""How many cores a load takes: tables from the simulation, and the simulation beside the measured service.

.bench/harness/bin/python -m benchmarks.capacity               # tables for docs/scale.md
.bench/harness/bin/python -m benchmarks.capacity --validate    # idle machine, 4 minutes, 9 if .venv-ray is there
"""

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import uvloop

from benchmarks import contestants
from benchmarks.contestants import CACHE, FOVEA, FOVEA_ON_RAY, MODELS, Contestant
from benchmarks.http_requests import Request, multipart
from benchmarks.load import ClosedLoop, Load, OpenLoop
from benchmarks.machine import describe
from benchmarks.models import graph_of, prepare_float_models
from benchmarks.pictures import PictureSets
from benchmarks.processes import ServerProcess, end_on_sigterm, only_benchmark
from benchmarks.ready import serving
from benchmarks.report import DOCS, machine_line, replace_section
from benchmarks.simulation import Machine, Outcome, Routing, poisson, simulate
from benchmarks.tables import Table
from benchmarks.windows import Window, percentile

_PAGE = DOCS / "scale.md"
_CORES = (1, 2, 4, 8, 16, 32)
_TIMES = (2, 3, 5)
_ARRIVALS = 20_000
_SPREAD = 0.2
_NODES = (2, 8, 32)
_ROUTINGS: tuple[Routing, ...] = ("fewest", "two choices", "round robin", "random")

_SHARES = (0.3, 0.5, 0.7, 0.8, 0.9)
_SATURATED = 8  # connections
_ALONE = 0.1  # share of the limit
_WARM_UP_S, _FIT_S, _MEASURE_S = 1.0, 12.0, 40.0
_SEEDS = range(10)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.capacity", description="How many cores a load takes.")
    parser.add_argument("--validate", action="store_true", help="measure the service and compare; an idle machine")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/scale.md")
    options = parser.parse_args()
    if options.validate:
        with only_benchmark(CACHE):
            rows = uvloop.run(_validate())
        _show("validation", [_validation_table(rows)], write=options.write, before=f"{machine_line(describe())}\n\n")
    else:
        _show("capacity", [_busy_table(), _fleet_table()], write=options.write)


def _show(section: str, tables: Sequence[Table], *, write: bool, before: str = "") -> None:
    for table in tables:
        print(f"\n{table.aligned()}")
    if write:
        replace_section(section, before + "\n\n".join(table.markdown() for table in tables) + "\n", page=_PAGE)


def _busy_table() -> Table:
    rows = [(str(cores), *(f"{_busiest(cores, times):.2f}" for times in _TIMES)) for cores in _CORES]
    head = ("cores", *(f"p99 at most {times} x a request alone" for times in _TIMES))
    return Table("Share of the limit at which a machine still keeps p99 (simulated)", head, rows)


def _busiest(cores: int, times: float) -> float:
    low, high = 0.0, 1.0
    while high - low > 0.01:
        share = (low + high) / 2
        outcome = _at(share, cores)
        low, high = (share, high) if outcome.percentile_s(99) <= times else (low, share)
    return low


def _fleet_table() -> Table:
    rows = [
        (str(nodes), *(f"{_at(0.7, 4, nodes, routing).percentile_s(99):.1f}" for routing in _ROUTINGS))
        for nodes in _NODES
    ]
    return Table(
        "p99 of machines with 4 cores at 0.7 of their limit, as a multiple of a request alone (simulated)",
        ("machines", *_ROUTINGS),
        rows,
    )


def _at(share: float, cores: int, nodes: int = 1, routing: Routing = "fewest") -> Outcome:
    """A request takes 1 s on one core."""
    machine = Machine((1.0,) * cores, _SPREAD, queue_limit=10**6)
    return simulate(poisson(share * nodes * machine.limit, _ARRIVALS), machine, nodes, routing)


@dataclass(frozen=True, slots=True)
class _Row:
    service: str
    share: float
    measured: Window
    simulated: Outcome


async def _validate() -> list[_Row]:
    end_on_sigterm()
    prepare_float_models(MODELS)
    [photo] = PictureSets(graph_of(MODELS, "default"), CACHE).of("photo")
    [fovea] = [contestant for contestant in contestants.ALL if contestant.name == FOVEA]
    cores = int(describe()["cores"])
    services: list[tuple[Contestant, Machine, Routing]] = [(fovea, Machine((0.0,) * cores), "fewest")]
    if FOVEA_ON_RAY.installed:
        services.append((FOVEA_ON_RAY, Machine((0.0,) * cores, processes=cores), "two choices"))
    rows = []
    for contestant, unknown, routing in services:
        request = multipart(contestant.path, [photo])
        async with serving(contestant, "default", request) as (server, port):
            machine = await _fitted(unknown, server, port, request)
            for share in _SHARES:
                rate = share * machine.limit
                measured = await _measure(OpenLoop(port, [request], rate), server, 0.0, _MEASURE_S)
                rows.append(_Row(contestant.name, share, measured, _same_arrivals(rate, machine, routing)))
    return rows


def _same_arrivals(rate: float, machine: Machine, routing: Routing) -> Outcome:
    """The arrivals of the measurement, several times with other random work."""
    arrivals = [at for at in poisson(rate, round(2 * rate * _MEASURE_S)) if at < _MEASURE_S]
    outcomes = [simulate(arrivals, machine, routing=routing, seed=seed) for seed in _SEEDS]
    return Outcome(
        [latency for outcome in outcomes for latency in outcome.latencies],
        sum(outcome.rejected for outcome in outcomes),
        sum(outcome.seconds for outcome in outcomes),
    )


async def _fitted(machine: Machine, server: ServerProcess, port: int, request: Request) -> Machine:
    """Times of a request that arrives alone, of as many as can be in work, and of more."""
    slots = len(machine.seconds)
    busy, more = [await _measure(ClosedLoop(port, [request], n), server) for n in (slots, _SATURATED)]
    alone = await _measure(OpenLoop(port, [request], _ALONE * more.throughput), server)
    first, last = statistics.fmean(alone.latencies), slots / busy.throughput
    seconds = tuple(first + (last - first) * k / max(1, slots - 1) for k in range(slots))
    spread = statistics.stdev(alone.latencies) / first
    return replace(machine, seconds=seconds, spread=spread, waiting_seconds=slots / more.throughput)


async def _measure(load: Load, server: ServerProcess, warm_up_s: float = _WARM_UP_S, seconds: float = _FIT_S) -> Window:
    await load.start()
    await asyncio.sleep(warm_up_s)
    load.cut()
    await asyncio.sleep(seconds)
    window = load.cut()
    load.stop()
    server.check_alive()
    return window


def _validation_table(rows: Sequence[_Row]) -> Table:
    def cells(row: _Row) -> Sequence[str]:
        ours, theirs = row.simulated, row.measured
        pairs = (
            (theirs.throughput, ours.throughput, 1.0),
            *((percentile(theirs.latencies, p), ours.percentile_s(p), 1e3) for p in (50, 99)),
        )
        return [
            row.service,
            f"{row.share:.1f}",
            *(text for a, b, unit in pairs for text in (f"{a * unit:.0f}", f"{b * unit:.0f}", f"{b / a:.2f}")),
        ]

    names = ("pictures/s", "p50, ms", "p99, ms")
    head = (
        "service",
        "share of the limit",
        *(f"{name}{what}" for name in names for what in ("", ", simulated", ", ratio")),
    )
    return Table("Poisson arrivals, measured and simulated", head, [cells(row) for row in rows])


if __name__ == "__main__":
    main()
