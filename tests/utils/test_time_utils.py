"""The stage timer and its header."""

import pytest

from utils import time_utils
from utils.time_utils import DECODE, INFERENCE, POSTPROCESS, PREPROCESS, QUEUE, TOTAL, StageTimer, server_timing


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time_utils, "perf_counter", clock)
    return clock


def test_a_new_timer_has_every_stage_in_order_and_total_last() -> None:
    timings = StageTimer().as_ms()
    assert list(timings) == [DECODE, PREPROCESS, QUEUE, INFERENCE, POSTPROCESS, TOTAL]
    assert [timings[stage] for stage in list(timings)[:-1]] == [0.0] * 5


def test_a_stage_holds_the_time_spent_inside_it(clock: Clock) -> None:
    timer = StageTimer()
    with timer.stage(DECODE):
        clock.now += 0.02
    clock.now += 0.01
    timings = timer.as_ms()
    assert (timings[DECODE], timings[INFERENCE], timings[TOTAL]) == (20.0, 0.0, 30.0)


def test_a_stage_that_raises_is_counted(clock: Clock) -> None:
    timer = StageTimer()

    def fail() -> None:
        with timer.stage(INFERENCE):
            clock.now += 0.02
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert timer.as_ms()[INFERENCE] == 20.0


def test_a_stage_entered_twice_adds_up() -> None:
    timer = StageTimer()
    timer.add(QUEUE, 1.0, 1.25)
    timer.add(QUEUE, 2.0, 2.5)
    assert timer.as_ms()[QUEUE] == 750.0


def test_milliseconds_have_three_decimals() -> None:
    timer = StageTimer()
    timer.add(QUEUE, 0.0, 0.001_234_567)
    assert timer.as_ms()[QUEUE] == 1.235


def test_an_unknown_stage_is_an_error() -> None:
    with pytest.raises(KeyError, match="lunch"):
        StageTimer().add("lunch", 0.0, 1.0)


def test_total_runs_until_the_timer_is_stopped(clock: Clock) -> None:
    timer = StageTimer()
    clock.now = 1.0
    timer.stop()
    clock.now = 2.0
    timer.stop()
    assert timer.as_ms()[TOTAL] == 1000.0


def test_a_resumed_timer_continues_with_the_stages_so_far(clock: Clock) -> None:
    timer = StageTimer()
    timer.add(DECODE, 0.0, 0.25)
    clock.now = 5.0
    resumed = timer.resumed_at(0.5)
    clock.now = 6.0
    assert (resumed.as_ms()[DECODE], resumed.as_ms()[TOTAL]) == (250.0, 1500.0)


@pytest.mark.parametrize(
    ("timings", "header"),
    [
        ({DECODE: 1.2, TOTAL: 10.0}, "decode;dur=1.2, total;dur=10"),
        ({QUEUE: 0.0}, "queue;dur=0"),
        ({}, ""),
    ],
)
def test_the_header_is_a_server_timing_header(timings: dict[str, float], header: str) -> None:
    assert server_timing(timings) == header


def test_a_long_request_has_microseconds_in_the_header() -> None:
    assert server_timing({TOTAL: 30_123.456}) == "total;dur=30123.456"
