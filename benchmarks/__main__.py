"""`make bench`: measures, prints the tables, and writes them and the plot into docs/.

python -m benchmarks [--quick] [--rounds N] [--only NAME,NAME] [--write | --no-write] [--render]
"""

import argparse
import shutil
import sys
import time

import uvloop

from benchmarks import contestants
from benchmarks.contestants import FOVEA, FOVEA_2, Contestant
from benchmarks.measure import Patience
from benchmarks.models import INT8_VARIABLE, prepare_models
from benchmarks.processes import end_on_sigterm, only_benchmark
from benchmarks.report import keep, print_tables, render, write
from benchmarks.results import Results
from benchmarks.rounds import Plan, Round
from benchmarks.scenarios import FULL, QUICK

_ROUNDS = 3
_QUICK = Patience(window_s=0.6, tolerance=0.15, most=5)
_FULL = Patience(window_s=1.0, tolerance=0.1, most=8)


def main() -> None:
    options = _options()
    if options.render:
        render()
        return
    results = Results()
    with only_benchmark(contestants.CACHE):
        uvloop.run(_measure(_plan(options), 1 if options.quick else options.rounds, results))
    print_tables(results)
    if options.write:
        write(results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Fovea, the bare loop and peers side by side.")
    parser.add_argument("--quick", action="store_true", help="Fovea and the bare loop only, one round, short windows")
    parser.add_argument(
        "--rounds", type=int, default=_ROUNDS, help="number of rounds; every contestant is measured once in each"
    )
    parser.add_argument("--only", default="", help="names of contestants, separated by commas")
    parser.add_argument(
        "--render", action="store_true", help="only write plot and tables again, from docs/performance.json"
    )
    parser.add_argument("--no-write", dest="write", action="store_false", help="print only, do not write docs/")
    options = parser.parse_args()
    options.write = options.write and not options.quick and not options.only
    return options


def _plan(options: argparse.Namespace) -> Plan:
    shutil.rmtree(contestants.SERVICE_CACHE, ignore_errors=True)  # so that the service measures its models again
    models = prepare_models(contestants.MODELS)
    if "int8" not in models:
        print(f"The int8 model could not be made, so it is not measured; {INT8_VARIABLE}=model.onnx gives one.")
    cells = [cell for cell in (QUICK if options.quick else FULL) if cell.workload.model in models]
    return Plan(cells, _chosen(options), models, _QUICK if options.quick else _FULL, memory=not options.quick)


def _chosen(options: argparse.Namespace) -> list[Contestant]:
    names = [FOVEA, FOVEA_2] if options.quick else [name.strip() for name in options.only.split(",") if name.strip()]
    known = [contestant.name for contestant in contestants.ALL]
    if unknown := set(names) - set(known):
        sys.exit(f"Unknown: {', '.join(sorted(unknown))}; there are: {', '.join(known)}.")
    chosen = [contestant for contestant in contestants.ALL if not names or contestant.name in names]
    if missing := [contestant.name for contestant in chosen if not contestant.installed]:
        sys.exit(f"Not installed: {', '.join(missing)}; `make bench` sets them up.")
    return chosen


async def _measure(plan: Plan, rounds: int, results: Results) -> None:
    end_on_sigterm()
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {line}", flush=True)

    for number in range(rounds):
        await Round(number, plan, results, say).run()
        keep(results, contestants.CACHE)  # in case a later round fails
    if plan.memory:
        await Round(rounds, plan, results, say).memory()


if __name__ == "__main__":
    main()
