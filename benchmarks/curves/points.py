"""The curves, their points, and the tables of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.contestants import FOVEA
from benchmarks.tables import Table

RATE, P50, P99, REJECTED = "pictures/s", "p50, ms", "p99, ms", "rejected, %"
MEMORY, SECONDS, CPU = "PSS, MiB", "s", "CPU of the server, ms a picture"


@dataclass(frozen=True, slots=True)
class Curve:
    """`along`: what grows. `shown`: the values that get a table; `drawn`: those that get a panel."""

    name: str
    title: str
    along: str
    shown: Sequence[str]
    drawn: Sequence[str]


@dataclass(frozen=True, slots=True)
class Point:
    """The values of one contestant, `series`, at one place of a curve."""

    curve: str
    series: str
    at: float
    values: dict[str, float]


CURVES = (
    Curve("connections", "Connections, default model", "connections", (RATE, P50, P99, REJECTED), (RATE, P50)),
    Curve("models", "Memory with loaded models of 5 MB", "models", (MEMORY,), (MEMORY,)),
    Curve("cold", "First answer of a model that is not loaded", "MB", (SECONDS,), (SECONDS,)),
    Curve("batch", "Pictures in one request, default model", "pictures", (RATE, SECONDS), (RATE,)),
    Curve("photos", "JPEGs at one connection, default model", "megapixels", (P50, CPU), (P50,)),
    Curve("workers", "Workers, no-cost model, 16 connections", "workers", (RATE, P50, CPU), (RATE,)),
)


def merged(before: Iterable[Point], measured: Sequence[Point]) -> list[Point]:
    """All points; a contestant that was measured again has only its new points in a curve."""
    again = {(point.curve, point.series) for point in measured}
    kept = [point for point in before if (point.curve, point.series) not in again]
    return sorted([*kept, *measured], key=lambda point: not point.series.startswith(FOVEA))


def tables(points: Sequence[Point]) -> list[Table]:
    """A table for each shown value of each curve that has points: a row for each series."""
    return [
        _table(curve, value, found)
        for curve in CURVES
        for value in curve.shown
        if (found := [p for p in points if p.curve == curve.name and value in p.values])
    ]


def line(points: Iterable[Point], curve: str, series: str, value: str) -> list[tuple[float, float]]:
    """(place, value) along the curve."""
    found = [p for p in points if (p.curve, p.series) == (curve, series) and value in p.values]
    return sorted((point.at, point.values[value]) for point in found)


def series_of(points: Iterable[Point]) -> list[str]:
    return list(dict.fromkeys(point.series for point in points))


def _table(curve: Curve, value: str, found: Sequence[Point]) -> Table:
    places = sorted({point.at for point in found})
    show = _digits([point.values[value] for point in found])
    rows = []
    for series in series_of(found):
        values = dict(line(found, curve.name, series, value))
        rows.append((series, *(show(values[at]) if at in values else "-" for at in places)))
    return Table(f"{curve.title}: {value}", (curve.along, *(f"{at:g}" for at in places)), rows)


def _digits(values: Sequence[float]) -> Callable[[float], str]:
    """Two decimals where a value is below 1, one below 10, otherwise none."""
    smallest = min((value for value in values if value), default=0.0)
    digits = 2 if smallest < 1 else int(smallest < 10)
    return lambda value: f"{value:,.{digits}f}"
