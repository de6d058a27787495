"""Retry-After: the time for those that wait, and for those that were rejected before."""

import pytest

from engine.scheduling.service_rate import ServiceRate

GAP_S = 0.01
WAITING = 100
NOW = 1000.0


@pytest.fixture
def service_rate() -> ServiceRate:
    """Of a queue in which a request starts every 10 ms."""
    found = ServiceRate()
    found.started_alone(NOW - 10 * GAP_S)
    for ended in range(10):
        found.ended(NOW - (9 - ended) * GAP_S, run_s=4 * GAP_S, others_wait=True)
    return found


def rejected(service_rate: ServiceRate, count: int, now: float = NOW) -> list[int]:
    return [service_rate.rejected(now, WAITING, in_flight=4) for _ in range(count)]


def test_the_first_rejection_waits_for_the_queue(service_rate: ServiceRate) -> None:
    assert rejected(service_rate, 1) == [1]


def test_retries_of_a_burst_are_spread_by_the_service_rate(service_rate: ServiceRate) -> None:
    """A hundred a second, which is what is served; retries all at once would mostly be rejected again."""
    seconds = rejected(service_rate, 901)
    assert seconds == sorted(seconds)
    assert [seconds.count(second) for second in range(2, 10)] == pytest.approx([100] * 8, abs=1)


def test_old_rejections_do_not_count(service_rate: ServiceRate) -> None:
    assert rejected(service_rate, 900)[-1] == 10
    assert rejected(service_rate, 1, NOW + 60) == [1]


def test_ten_times_the_rate_waits_ten_seconds(service_rate: ServiceRate) -> None:
    """Of 1,000 requests a second 100 are served; a rejected one waits for those rejected a second before."""
    seconds = [rejected(service_rate, 1, NOW + arrival / 900)[0] for arrival in range(9000)]
    assert set(seconds[4500:]) == {10}


def test_a_clock_that_stands_still_or_goes_back_is_tolerated(service_rate: ServiceRate) -> None:
    rejected(service_rate, 5, NOW)
    assert rejected(service_rate, 1, NOW - 60) == [2]


def test_before_a_run_has_ended_its_time_so_far_counts() -> None:
    service_rate = ServiceRate()
    service_rate.started_alone(NOW - 20)
    assert service_rate.rejected(NOW, waiting=2, in_flight=1) == 40
