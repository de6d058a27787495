"""When to come again: after those that wait, and after those that were told so before."""

import pytest

from engine.scheduling.service_rate import ServiceRate

GAP_S = 0.01
WAITING = 100
NOW = 1000.0


@pytest.fixture
def service_rate() -> ServiceRate:
    """Of a queue that moves a place every 10 ms."""
    found = ServiceRate()
    found.began_alone(NOW - 10 * GAP_S)
    for ended in range(10):
        found.ended(NOW - (9 - ended) * GAP_S, run_s=4 * GAP_S, others_wait=True)
    return found


def refused(service_rate: ServiceRate, count: int, now: float = NOW) -> list[int]:
    return [service_rate.refused(now, WAITING, running=4) for _ in range(count)]


def test_the_first_waits_for_the_queue(service_rate: ServiceRate) -> None:
    assert refused(service_rate, 1) == [1]


def test_a_burst_is_told_to_come_back_as_places_get_free(service_rate: ServiceRate) -> None:
    """A hundred in each second, which is what can be served; all at once they would mostly be refused again."""
    told = refused(service_rate, 901)
    assert told == sorted(told)
    assert [told.count(second) for second in range(2, 10)] == pytest.approx([100] * 8, abs=1)


def test_a_crowd_that_has_gone_is_forgotten(service_rate: ServiceRate) -> None:
    assert refused(service_rate, 900)[-1] == 10
    assert refused(service_rate, 1, NOW + 60) == [1]


def test_ten_times_too_much_is_told_ten_seconds(service_rate: ServiceRate) -> None:
    """Of 1,000 a second 100 are served; who is refused waits for those that were refused in the second before."""
    told = [refused(service_rate, 1, NOW + arrival / 900)[0] for arrival in range(9000)]
    assert set(told[4500:]) == {10}


def test_a_clock_that_stands_still_or_goes_back_harms_nothing(service_rate: ServiceRate) -> None:
    refused(service_rate, 5, NOW)
    assert refused(service_rate, 1, NOW - 60) == [2]


def test_before_any_run_has_ended_the_first_ones_time_counts() -> None:
    service_rate = ServiceRate()
    service_rate.began_alone(NOW - 20)
    assert service_rate.refused(NOW, waiting=2, running=1) == 40
