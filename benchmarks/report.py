"""Prints the results and writes docs/performance.json, docs/performance.svg and a section of docs/performance.md."""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.models import ROOT
from benchmarks.plot import draw
from benchmarks.results import DISTURBED_CORES, Results, results_from
from benchmarks.tables import Table, load_tables, loop_table, start_table, summary_table, target_table
from benchmarks.targets import targets

DOCS = ROOT / "docs"
_JSON, _PLOT, _PAGE = "performance.json", "performance.svg", "performance.md"


def print_tables(results: Results) -> None:
    for table in (*load_tables(results), loop_table(results), start_table(results), target_table(targets(results))):
        print(f"\n{table.aligned()}")
    print(f"\n{_quiet(results)}")
    for failure in results.failures:
        print(f"\nround {failure.round + 1}: {failure.contestant}, {failure.model}: {failure.reason}")


def keep(results: Results, folder: Path) -> None:
    """Writes the results and a description of the machine as JSON."""
    kept = {"machine": describe(), **results.as_json()}
    (folder / _JSON).write_text(json.dumps(_rounded(kept), indent=1) + "\n")


def write(results: Results) -> None:
    """Writes JSON, plot and tables into docs/."""
    keep(results, DOCS)
    render()


def render(folder: Path = DOCS) -> None:
    """Writes plot and tables again from the JSON file."""
    kept = json.loads((folder / _JSON).read_text())
    results = results_from(kept)
    draw(results, folder / _PLOT)
    replace_section("bench", _section(results, kept["machine"]), folder / _PAGE)


def replace_section(name: str, section: str, page: Path = DOCS / _PAGE) -> None:
    """Replaces what is between the comments `<!-- name -->` and `<!-- /name -->` of a page."""
    between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    text = page.read_text(encoding="utf-8") if page.exists() else f"<!-- {name} -->\n<!-- /{name} -->\n"
    page.write_text(between.sub(lambda found: found[1] + section + found[2], text), encoding="utf-8")


def machine_line(machine: dict[str, str]) -> str:
    """Date, revision, machine and versions in one sentence."""
    where = f"{machine['cores']} cores of {machine['cpu']}, {machine['memory']}, {machine['system']}"
    fixed = {"date", "revision", "cpu", "cores", "memory", "system"}
    versions = ", ".join(f"{name} {value}" for name, value in machine.items() if name not in fixed)
    return f"{machine['date']}, revision {machine['revision']}, on {where}; {versions}."


def _section(results: Results, machine: dict[str, str]) -> str:
    rounds = len({m.round for m in results.measurements})
    parts = [
        machine_line(machine),
        f"Medians of {rounds} interleaved round{'s' * (rounds != 1)}. {_quiet(results)}",
        summary_table(results).markdown(),
        f"![Throughput and latency side by side]({_PLOT})",
        *(table.markdown() for table in (loop_table(results), start_table(results))),
        *(_folded(table) for table in (target_table(targets(results)), *load_tables(results))),
        *(f"Round {f.round + 1}, {f.contestant}, {f.model}: {f.reason.splitlines()[0]}" for f in results.failures),
    ]
    return "\n\n".join(parts) + "\n\n"


def _quiet(results: Results) -> str:
    share = f"{len(results.disturbed())} of {len(results.measurements)} measurements"
    return f"Other processes used more than {DISTURBED_CORES:g} cores during {share}."


def _folded(table: Table) -> str:
    return f"<details><summary>{table.title}</summary>\n\n{table.markdown()}\n\n</details>"


def _rounded(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Rounds floats to four decimals."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value
