"""docs/performance.svg: throughput and latency of all contestants side by side."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.contestants import ALL
from benchmarks.results import Results
from benchmarks.scenarios import BIG, DEFAULT, EIGHT, INT8, MIXED, NO_COST, ONE, Load, Workload

_LEFT = (DEFAULT, MIXED, INT8, NO_COST, BIG)
_RIGHT = (DEFAULT, INT8, NO_COST, BIG)
_COLOURS = ("#d1495b", "#2e4057", "#66a182", "#edae49", "#00798c", "#8d96a3", "#b388eb")


def draw(results: Results, file: Path) -> None:
    """Bars: pictures a second relative to the best bare loop, and p50 at one connection relative to Fovea."""
    plt.rcParams |= {"svg.hashsalt": "fovea", "font.size": 9}  # the same results give the same file
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.3), layout="constrained")
    _bars(left, results, _LEFT, EIGHT, "pictures a second at 8 connections, the best bare loop = 1")
    _bars(right, results, _RIGHT, ONE, "p50 at 1 connection, ms")
    right.set_yscale("log")
    left.axhline(1, color="black", linewidth=0.8)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(_COLOURS), fontsize=8)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def _bars(axes: Axes, results: Results, workloads: Sequence[Workload], load: Load, title: str) -> None:
    shown = [
        contestant.name for contestant in ALL if any(m.contestant == contestant.name for m in results.measurements)
    ]
    width = 0.8 / max(1, len(shown))
    for i, name in enumerate(shown):
        heights = [_height(results, name, workload, load) for workload in workloads]
        axes.bar([x + i * width for x in range(len(workloads))], heights, width, label=name, color=_COLOURS[i])
    axes.set_xticks([x + 0.4 - width / 2 for x in range(len(workloads))], [_short(w) for w in workloads])
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _height(results: Results, name: str, workload: Workload, load: Load) -> float:
    found = results.of(name, workload.name, load.name)
    if load == ONE:
        return statistics.median(m.p50_ms for m in found) if found else 0.0
    shares = [m.throughput / limit for m in found if (limit := results.limit(workload.loop_name, m.round))]
    return statistics.median(shares) if shares else 0.0


def _short(workload: Workload) -> str:
    return workload.name.replace(", ", "\n").replace("default model\n", "").replace(" model", "\nmodel")
