"""Stages add up, end with an exception too, and read the same everywhere."""

import time

import pytest

from utils.time_utils import DECODE, INFERENCE, POSTPROCESS, PREPROCESS, QUEUE, TOTAL, StageTimer, server_timing

PAUSE_S = 0.02
SLEEP_MAY_END_EARLY_MS = 1.0


def test_a_new_timer_knows_every_stage_in_order_with_total_last() -> None:
    timings = StageTimer().as_ms()
    assert list(timings) == [DECODE, PREPROCESS, QUEUE, INFERENCE, POSTPROCESS, TOTAL]
    assert [timings[stage] for stage in list(timings)[:-1]] == [0.0] * 5


def test_a_stage_holds_the_time_spent_inside_it() -> None:
    timer = StageTimer()
    with timer.stage(DECODE):
        time.sleep(PAUSE_S)
    timings = timer.as_ms()
    assert timings[DECODE] >= PAUSE_S * 1e3 - SLEEP_MAY_END_EARLY_MS
    assert timings[TOTAL] >= timings[DECODE]
    assert timings[INFERENCE] == 0


def test_a_stage_that_raises_is_counted_and_its_exception_passes() -> None:
    timer = StageTimer()

    def fail() -> None:
        with timer.stage(INFERENCE):
            time.sleep(PAUSE_S)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert timer.as_ms()[INFERENCE] >= PAUSE_S * 1e3 - SLEEP_MAY_END_EARLY_MS


def test_a_stage_entered_twice_adds_up() -> None:
    timer = StageTimer()
    timer.add(QUEUE, 0.25)
    timer.add(QUEUE, 0.5)
    assert timer.as_ms()[QUEUE] == 750.0


def test_milliseconds_have_three_decimals() -> None:
    timer = StageTimer()
    timer.add(QUEUE, 0.001_234_567)
    assert timer.as_ms()[QUEUE] == 1.235


def test_a_stage_nobody_knows_is_refused() -> None:
    with pytest.raises(KeyError, match="lunch"):
        StageTimer().add("lunch", 1.0)


def test_total_runs_until_it_is_stopped_and_stays_then() -> None:
    timer = StageTimer()
    first = timer.as_ms()[TOTAL]
    time.sleep(PAUSE_S)
    timer.stop()
    stopped = timer.as_ms()[TOTAL]
    time.sleep(PAUSE_S)
    timer.stop()
    assert first < stopped == timer.as_ms()[TOTAL]


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


def test_a_long_request_is_told_to_the_microsecond_too() -> None:
    assert server_timing({TOTAL: 30_123.456}) == "total;dur=30123.456"
