import numpy as np
import onnxruntime as ort
import pytest

from benchmarks.curves.graphs import dense_graph
from benchmarks.curves.points import CURVES, P50, RATE, Point, line, merged, tables


def _point(curve: str, at: float, rate: float, series: str = "Fovea") -> Point:
    return Point(curve, series, at, {RATE: rate, P50: 1000 / rate})


def test_points_measured_again_replace_those_of_the_same_curve_and_contestant() -> None:
    kept = [_point("workers", 1, 900), _point("connections", 1, 90, "A")]
    before = [_point("connections", 1, 100), _point("connections", 512, 50), *kept]
    again = _point("connections", 1, 120)
    assert merged(before, [again]) == [kept[0], again, kept[1]]


def test_tables_have_a_row_for_each_series_and_a_column_for_each_place() -> None:
    points = [_point("connections", 8, 200.4), _point("connections", 1, 150), _point("connections", 8, 90, "A")]
    rate, p50 = tables(points)
    assert (rate.title, rate.head) == ("Connections, default model: pictures/s", ("connections", "1", "8"))
    assert rate.rows == [("Fovea", "150", "200"), ("A", "-", "90")]
    assert p50.rows == [("Fovea", "6.7", "5.0"), ("A", "-", "11.1")]


def test_a_line_is_sorted_by_place() -> None:
    points = [_point("batch", 64, 200), _point("batch", 1, 100), _point("batch", 8, 90, "A"), _point("workers", 2, 9)]
    assert line(points, "batch", "Fovea", RATE) == [(1, 100), (64, 200)]


def test_curves_draw_only_what_their_tables_show() -> None:
    assert all(set(curve.drawn) <= set(curve.shown) for curve in CURVES)
    assert len({curve.name for curve in CURVES}) == len(CURVES)


def test_a_generated_model_has_its_size_and_gives_scores() -> None:
    graph = dense_graph(4).SerializeToString()
    assert len(graph) / 1e6 == pytest.approx(4, rel=0.1)
    [scores] = ort.InferenceSession(graph).run(None, {"image": np.ones((1, 3, 224, 224), np.float32)})
    assert scores.shape == (1, 1000)
    assert np.isfinite(scores).all()
