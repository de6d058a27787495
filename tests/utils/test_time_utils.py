"""Stage timers and the Server-Timing header."""

from time import perf_counter

import pytest

from utils.time_utils import DECODE, INFERENCE, POSTPROCESS, PREPROCESS, QUEUE, TOTAL, StageTimer, server_timing

WORK_S = 0.002


def work() -> None:
    end = perf_counter() + WORK_S + 0.0001
    while perf_counter() < end:
        pass


def test_new_timer_has_every_stage_in_order() -> None:
    timings = StageTimer().as_ms()
    assert list(timings) == [DECODE, PREPROCESS, QUEUE, INFERENCE, POSTPROCESS, TOTAL]
    assert [timings[stage] for stage in list(timings)[:-1]] == [0.0] * 5


def test_stage_measures_the_block() -> None:
    timer = StageTimer()
    with timer.stage(DECODE):
        work()
    timings = timer.as_ms()
    assert timings[DECODE] >= WORK_S * 1e3
    assert timings[TOTAL] >= timings[DECODE]
    assert timings[INFERENCE] == 0


def test_stage_is_measured_when_its_block_raises() -> None:
    timer = StageTimer()

    def fail() -> None:
        with timer.stage(INFERENCE):
            work()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert timer.as_ms()[INFERENCE] >= WORK_S * 1e3


def test_a_stage_entered_twice_adds_up() -> None:
    timer = StageTimer()
    timer.add(QUEUE, 0.25)
    timer.add(QUEUE, 0.5)
    assert timer.as_ms()[QUEUE] == 750.0


def test_milliseconds_have_three_decimals() -> None:
    timer = StageTimer()
    timer.add(QUEUE, 0.001_234_567)
    assert timer.as_ms()[QUEUE] == 1.235


def test_unknown_stage_raises_key_error() -> None:
    with pytest.raises(KeyError, match="lunch"):
        StageTimer().add("lunch", 1.0)


def test_total_is_fixed_by_stop() -> None:
    timer = StageTimer()
    first = timer.as_ms()[TOTAL]
    work()
    timer.stop()
    stopped = timer.as_ms()[TOTAL]
    work()
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
def test_server_timing_header(timings: dict[str, float], header: str) -> None:
    assert server_timing(timings) == header


def test_server_timing_keeps_microseconds_of_long_requests() -> None:
    assert server_timing({TOTAL: 30_123.456}) == "total;dur=30123.456"
