"""A small SVG of each curve: a panel for each drawn value."""

import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from benchmarks.curves.points import Curve, Point, line, series_of

_LONG_NUMBER = re.compile(r"(\d\.\d)\d+")  # a tenth of a point is enough


def draw(points: Sequence[Point], curve: Curve, file: Path) -> None:
    """The same points give the same file; texts stay texts, so that it is small."""
    plt.rcParams |= {"svg.hashsalt": "fovea", "svg.fonttype": "none", "font.size": 9}
    figure, grid = plt.subplots(1, len(curve.drawn), figsize=(5.5 * len(curve.drawn), 3.2), squeeze=False)
    for axes, value in zip(grid.flat, curve.drawn, strict=True):
        _panel(axes, [point for point in points if point.curve == curve.name], curve, value)
    grid[0, 0].legend(fontsize=8)
    figure.tight_layout()
    drawn = StringIO()
    figure.savefig(drawn, metadata={"Date": None})
    plt.close(figure)
    file.write_text(_LONG_NUMBER.sub(r"\1", drawn.getvalue()))


def _panel(axes: Axes, points: Sequence[Point], curve: Curve, value: str) -> None:
    """Both scales are logarithmic, so that a cost in proportion is a line of slope one."""
    for series in series_of(points):
        places, values = zip(*line(points, curve.name, series, value), strict=True)
        axes.plot(places, values, label=series, linewidth=1.2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sorted({point.at for point in points}))
    axes.minorticks_off()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_title(f"{curve.title}: {value}", fontsize=9)
    axes.set_xlabel(curve.along)
    axes.spines[["top", "right"]].set_visible(False)
