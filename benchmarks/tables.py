"""The results as tables, aligned text or Markdown."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.results import LOOP, Measurement, Results
from benchmarks.scenarios import BIG, DEFAULT, EIGHT, INT8, NO_COST, ONE, Load, Workload
from benchmarks.targets import Target

Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns after the first `texts` hold numbers."""

    title: str
    head: Row
    rows: Sequence[Row]
    texts: int = 1

    def aligned(self) -> str:
        widths = [max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))]
        lines = ["  ".join(self._padded(row, widths)).rstrip() for row in (self.head, *self.rows)]
        return "\n".join([self.title, *lines])

    def markdown(self) -> str:
        rule = ["---" if i < self.texts else "---:" for i in range(len(self.head))]
        lines = ["| " + " | ".join(row) + " |" for row in (self.head, rule, *self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines])

    def _padded(self, row: Row, widths: Sequence[int]) -> Iterable[str]:
        for i, (text, width) in enumerate(zip(row, widths, strict=True)):
            yield text.ljust(width) if i < self.texts else text.rjust(width)


def summary_table(results: Results) -> Table:
    """Pictures a second at 8 connections, of the fastest bare loop and of every server; p50 at one, ms."""
    shown = (DEFAULT, INT8, BIG, NO_COST)
    servers = _in_order(m.contestant for m in results.measurements if not m.contestant.startswith(LOOP))

    def cell(name: str, workload: Workload, load: Load, value: str) -> str:
        found = [getattr(m, value) for m in results.of(name, workload.name, load.name)]
        return f"{statistics.median(found):,.{0 if value == 'throughput' else 1}f}" if found else "-"

    def fastest(workload: Workload) -> str:
        loops = results.loops(workload.loop_name)
        ways = _in_order(m.contestant for m in loops)
        best = [statistics.median(m.throughput for m in loops if m.contestant == way) for way in ways]
        return f"{max(best):,.0f}" if best else "-"

    rows = [("bare loop: decode, preprocess, run, no HTTP", *map(fastest, shown), "-")]
    rows += [
        (name, *(cell(name, w, EIGHT, "throughput") for w in shown), cell(name, DEFAULT, ONE, "p50_ms"))
        for name in servers
    ]
    head = ("", *(workload.name for workload in shown), "p50 at 1 connection, default model, ms")
    return Table("Pictures a second at 8 connections", head, rows)


def target_table(targets: Sequence[Target]) -> Table:
    rows = [
        (
            target.name,
            f"{'>=' if target.at_least else '<='} {target.bound:g}",
            "-" if target.value is None else f"{target.value:.2f}",
            {True: "yes", False: "no", None: "not measured"}[target.met],
        )
        for target in targets
    ]
    return Table("Targets", ("what", "target", "measured", "met"), rows)


def loop_table(results: Results) -> Table:
    """Pictures a second of each bare loop; the fastest of a column is the limit."""
    names = _in_order(m.workload for m in results.measurements if m.contestant.startswith(LOOP))
    ways = _in_order(m.contestant for m in results.measurements if m.contestant.startswith(LOOP))
    rows = [(way.removeprefix(f"{LOOP}: "), *(_loop_cell(results, way, name) for name in names)) for way in ways]
    return Table("Bare loops, pictures a second (p50 in ms)", ("way", *names), rows)


def start_table(results: Results) -> Table:
    """Start times of the default model."""
    rows = []
    for name in _in_order(start.contestant for start in results.starts):
        starts = [start for start in results.starts if start.contestant == name and start.model == "default"]
        if starts:
            seconds, rss = (statistics.median(getattr(s, what) for s in starts) for what in ("seconds", "rss_mib"))
            rows.append((name, f"{seconds:.2f}", f"{rss:.0f}"))
    return Table("From the command to the first right answer", ("", "seconds", "RSS, MiB"), rows)


def load_tables(results: Results) -> list[Table]:
    """A table for each workload, with every contestant and load."""
    servers = [m for m in results.measurements if not m.contestant.startswith(LOOP)]
    return [
        _load_table(workload, [m for m in servers if m.workload == workload])
        for workload in _in_order(m.workload for m in servers)
    ]


def _load_table(workload: str, found: Sequence[Measurement]) -> Table:
    contestants = sorted(_in_order(m.contestant for m in found), key=lambda name: name != "Fovea")
    rows = [
        _load_row(cell)
        for load in _in_order(m.load for m in found)
        for contestant in contestants
        if (cell := [m for m in found if (m.load, m.contestant) == (load, contestant)])
    ]
    head = ("load", "", "pictures/s", "p50 ms", "p95 ms", "p99 ms", "errors", "stable", "CPU ms", "client CPU ms")
    return Table(workload[0].upper() + workload[1:], (*head, "RSS MiB", "PSS MiB"), rows, texts=2)


def _load_row(cell: Sequence[Measurement]) -> Row:
    def middle(name: str, digits: int) -> str:
        return f"{statistics.median(getattr(m, name) for m in cell):.{digits}f}"

    return (
        cell[0].load,
        cell[0].contestant,
        middle("throughput", 1),
        *(middle(f"p{percent}_ms", 2) for percent in (50, 95, 99)),
        str(sum(m.errors for m in cell)),
        f"{sum(m.stable for m in cell)} of {len(cell)}",
        middle("server_cpu_ms", 2),
        middle("client_cpu_ms", 2),
        middle("rss_mib", 0),
        middle("pss_mib", 0),
    )


def _loop_cell(results: Results, way: str, name: str) -> str:
    found = [m for m in results.loops(name) if m.contestant == way]
    if not found:
        return "-"
    return f"{statistics.median(m.throughput for m in found):.1f} ({statistics.median(m.p50_ms for m in found):.2f})"


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
