"""`make bench-curves`: cost as work grows. Prints tables, and writes them and a plot into docs/.

python -m benchmarks.curves [--quick] [--only CURVE,CURVE] [--peers NAME,NAME] [--render]
"""

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict

import uvloop

from benchmarks import contestants
from benchmarks.contestants import FOVEA, Contestant
from benchmarks.curves.plot import draw
from benchmarks.curves.points import CURVES, Point, merged, tables
from benchmarks.curves.served import FULL, QUICK, Curves
from benchmarks.machine import describe
from benchmarks.models import prepare_float_models
from benchmarks.processes import end_on_sigterm, only_benchmark
from benchmarks.report import DOCS, machine_line, replace_section

_KEPT = contestants.CACHE / "curves.json"
_PLOT = "curves.svg"
_PEERS = "FastAPI thread pool,LitServe,Ray Serve"


def main() -> None:
    options = _options()
    if options.render:
        _write(*_kept())
        return
    with only_benchmark(contestants.CACHE):
        points = uvloop.run(_measure(options))
    for table in tables(points):
        print(f"\n{table.aligned()}")
    if not options.quick:
        _, before = _kept()
        _keep(merged(before, points))
        _write(*_kept())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.curves", description="How cost grows with work.")
    names = [curve.name for curve in CURVES]
    parser.add_argument("--quick", action="store_true", help="Fovea only, few places, short windows; prints only")
    parser.add_argument("--only", default=",".join(names), help=f"curves, separated by commas: {', '.join(names)}")
    parser.add_argument("--peers", default=_PEERS, help="those that are installed are measured")
    parser.add_argument("--render", action="store_true", help="only write tables and plot again")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    return options


async def _measure(options: argparse.Namespace) -> list[Point]:
    end_on_sigterm()
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {line}", flush=True)

    shutil.rmtree(contestants.SERVICE_CACHE, ignore_errors=True)  # so that the service measures its models again
    prepare_float_models(contestants.MODELS)
    [fovea] = [contestant for contestant in contestants.ALL if contestant.name == FOVEA]
    curves = Curves(fovea, [] if options.quick else _peers(options.peers), QUICK if options.quick else FULL, say)
    for name in options.only:
        await curves.by_name[name]()
    return curves.points


def _peers(names: str) -> list[Contestant]:
    wanted = names.split(",")
    peers = [contestant for contestant in contestants.ALL if contestant.name in wanted]
    missing = [peer.name for peer in peers if not peer.installed]
    if missing:
        print(f"Not installed, so not measured: {', '.join(missing)}", file=sys.stderr)
    return [peer for peer in peers if peer.installed]


def _keep(points: list[Point]) -> None:
    kept = {"machine": describe(), "points": [asdict(point) for point in points]}
    _KEPT.write_text(json.dumps(kept, indent=1) + "\n")


def _kept() -> tuple[dict[str, str], list[Point]]:
    if not _KEPT.exists():
        return {}, []
    kept = json.loads(_KEPT.read_text())
    return kept["machine"], [Point(**entry) for entry in kept["points"]]


def _write(machine: dict[str, str], points: list[Point]) -> None:
    draw(points, DOCS / _PLOT)
    parts = [machine_line(machine), f"![Cost as work grows]({_PLOT})", *(table.markdown() for table in tables(points))]
    replace_section("curves", "\n\n".join(parts) + "\n\n")


if __name__ == "__main__":
    main()
