"""docs/curves.svg: a small panel for each curve."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from benchmarks.curves.points import CURVES, Curve, Point, line, series_of

_COLUMNS = 4


def draw(points: Sequence[Point], file: Path) -> None:
    """The same points give the same file; texts stay texts, so that it is small."""
    plt.rcParams |= {"svg.hashsalt": "fovea", "svg.fonttype": "none", "font.size": 8}
    panels = [(curve, value) for curve in CURVES for value in curve.drawn]
    rows = -(-len(panels) // _COLUMNS)
    figure, grid = plt.subplots(rows, _COLUMNS, figsize=(13, 3.3 * rows), layout="constrained")
    colours = {series: f"C{i}" for i, series in enumerate(series_of(points))}
    for axes, (curve, value) in zip(grid.flat, panels, strict=False):
        _panel(axes, points, curve, value, colours)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    handles = {
        label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="lower right", fontsize=8)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def _panel(axes: Axes, points: Sequence[Point], curve: Curve, value: str, colours: dict[str, str]) -> None:
    """Both scales are logarithmic, so that a cost in proportion is a line of slope one."""
    for series, colour in colours.items():
        if found := line(points, curve.name, series, value):
            places, values = zip(*found, strict=True)
            axes.plot(places, values, label=series, color=colour, marker="o", markersize=2.5, linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sorted({point.at for point in points if point.curve == curve.name}))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="minor", bottom=False)
    axes.set_title(f"{curve.title}: {value}", fontsize=8)
    axes.set_xlabel(curve.along)
    axes.spines[["top", "right"]].set_visible(False)
