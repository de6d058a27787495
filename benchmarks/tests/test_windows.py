import pytest

from benchmarks.windows import Window, merged, percentile, stable


def _window(answers: int, latency: float = 0.01, seconds: float = 1.0) -> Window:
    return Window(seconds, [latency] * answers)


def test_three_windows_that_agree_are_stable() -> None:
    assert stable([_window(10), _window(100), _window(104), _window(98)], 0.1)


def test_two_windows_are_not_enough() -> None:
    assert not stable([_window(100), _window(100)], 0.1)


def test_a_window_of_other_throughput_or_latency_is_not_stable() -> None:
    assert not stable([_window(100), _window(100), _window(130)], 0.1)
    assert not stable([_window(100), _window(100), _window(100, latency=0.02)], 0.1)


def test_windows_without_answers_are_never_stable() -> None:
    assert not stable([_window(0), _window(0), _window(0)], 0.1)


def test_the_last_three_count() -> None:
    last = merged([_window(1000), _window(100), _window(110), _window(90, seconds=2.0)])
    assert last.throughput == 300 / 4
    assert len(last.latencies) == 300


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (95, 95), (99, 99), (100, 100), (0.5, 1)])
def test_percentiles_are_by_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], percent) == expected


def test_a_percentile_of_nothing_is_infinite() -> None:
    assert percentile([], 50) == float("inf")
