"""Pictures of several threads in one run: which ones run together, and which output each gets."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Semaphore
from time import monotonic

import numpy as np
import pytest

from engine.scheduling.batcher import Batcher
from loaders.model_errors import ModelRunError, RunStoppedError
from loaders.runtimes.base import RunStop
from loaders.tensors import Tensor
from tests.engine.models.loading import WAIT_S, eventually


class Device:
    """Doubles numbers. `gate` holds up its runs, `one` lets a single one end, `bad` numbers fail."""

    def __init__(self) -> None:
        self.gate = Event()
        self.gate.set()
        self.one = Semaphore(0)
        self.batches: list[list[float]] = []
        self.stops: list[RunStop | None] = []
        self.bad: set[float] = set()

    def __call__(self, inputs: Mapping[str, Tensor], stop: RunStop | None) -> dict[str, Tensor]:
        self.stops.append(stop)
        numbers = inputs["x"][:, 0].tolist()
        self.batches.append(numbers)
        until = monotonic() + WAIT_S
        while not (self.gate.wait(0.001) or self.one.acquire(blocking=False)):
            assert monotonic() < until
        if stop and stop.stopped:
            raise RunStoppedError
        if self.bad & set(numbers):
            raise ModelRunError("bad number")
        return {"y": inputs["x"] * 2}


Ask = Callable[..., Future[float]]


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as threads:
        yield threads


def asking(threads: ThreadPoolExecutor, batcher: Batcher) -> Ask:
    """Returns a function that runs a number through `batcher` in another thread."""

    def ask(number: float, length: int = 1, stop: RunStop | None = None) -> Future[float]:
        tensor = np.full((1, length), number, np.float32)
        return threads.submit(lambda: float(batcher.run({"x": tensor}, stop or RunStop())["y"][0, 0]))

    return ask


def wait_for(batcher: Batcher, count: int) -> bool:
    return eventually(lambda: batcher.waiting == count)


def held_up(device: Device, batcher: Batcher, ask: Ask, numbers: list[float]) -> list[Future[float]]:
    """A run of 0 in flight, and the numbers that wait for it."""
    device.gate.clear()
    first = ask(0)
    assert eventually(lambda: device.batches)
    others = []
    for count, number in enumerate(numbers, 1):
        others.append(ask(number))
        assert wait_for(batcher, count)
    return [first, *others]


def test_a_single_picture_runs_at_once(device: Device, threads: ThreadPoolExecutor) -> None:
    ask = asking(threads, Batcher(device, limit=8))
    assert [ask(number).result(WAIT_S) for number in (1, 2)] == [2, 4]
    assert device.batches == [[1], [2]]


def test_waiting_pictures_run_together_and_each_gets_its_output(device: Device, threads: ThreadPoolExecutor) -> None:
    batcher = Batcher(device, limit=4)
    futures = held_up(device, batcher, asking(threads, batcher), [1, 2, 3, 4, 5, 6])
    device.gate.set()
    assert [future.result(WAIT_S) for future in futures] == [0, 2, 4, 6, 8, 10, 12]
    assert device.batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_other_shapes_run_in_other_batches(device: Device, threads: ThreadPoolExecutor) -> None:
    batcher = Batcher(device, limit=8)
    ask = asking(threads, batcher)
    futures = held_up(device, batcher, ask, [1])
    for length, count in ((2, 2), (1, 3), (2, 4)):
        futures.append(ask(count, length))
        assert wait_for(batcher, count)
    device.gate.set()
    assert [future.result(WAIT_S) for future in futures] == [0, 2, 4, 6, 8]
    assert device.batches == [[0], [1, 3], [2, 4]]


def test_several_runs_at_once(device: Device, threads: ThreadPoolExecutor) -> None:
    batcher = Batcher(device, limit=8, runs=2)
    ask = asking(threads, batcher)
    device.gate.clear()
    futures = [ask(number) for number in (1, 2)]
    assert eventually(lambda: len(device.batches) == 2)
    futures.append(ask(3))
    assert eventually(lambda: batcher.waiting == 1)
    device.gate.set()
    assert [future.result(WAIT_S) for future in futures] == [2, 4, 6]


def test_a_bad_picture_does_not_fail_the_others_of_its_batch(device: Device, threads: ThreadPoolExecutor) -> None:
    batcher = Batcher(device, limit=8)
    futures = held_up(device, batcher, asking(threads, batcher), [1, 2, 3])
    device.bad = {2}
    device.gate.set()
    assert [futures[number].result(WAIT_S) for number in (0, 1, 3)] == [0, 2, 6]
    with pytest.raises(ModelRunError, match="bad number"):
        futures[2].result(WAIT_S)


def test_a_cancelled_waiting_picture_is_left_out(device: Device, threads: ThreadPoolExecutor) -> None:
    batcher, stop = Batcher(device, limit=8), RunStop()
    ask = asking(threads, batcher)
    futures = held_up(device, batcher, ask, [1])
    futures.append(ask(2, 1, stop))
    assert eventually(lambda: batcher.waiting == 2)
    stop.stop()
    with pytest.raises(RunStoppedError):  # while the run before it continues
        futures[2].result(WAIT_S)
    assert batcher.waiting == 1
    device.gate.set()
    assert [futures[number].result(WAIT_S) for number in (0, 1)] == [0, 2]
    assert device.batches == [[0], [1]]


def test_a_picture_cancelled_in_a_run_of_several_returns_at_once(device: Device, threads: ThreadPoolExecutor) -> None:
    batcher, stop = Batcher(device, limit=8), RunStop()
    ask = asking(threads, batcher)
    futures = held_up(device, batcher, ask, [1])
    cancelled = ask(2, 1, stop)
    assert eventually(lambda: batcher.waiting == 2)
    device.one.release()
    assert eventually(lambda: len(device.batches) == 2)
    stop.stop()
    with pytest.raises(RunStoppedError):
        cancelled.result(WAIT_S)
    together = device.stops[1]
    assert together
    assert not together.stopped
    device.gate.set()
    assert [future.result(WAIT_S) for future in futures] == [0, 2]


def test_a_run_with_all_pictures_cancelled_is_stopped(device: Device, threads: ThreadPoolExecutor) -> None:
    batcher, stops = Batcher(device, limit=8), [RunStop(), RunStop()]
    ask = asking(threads, batcher)
    held_up(device, batcher, ask, [])
    futures = [ask(number, 1, stop) for number, stop in enumerate(stops, 1)]
    assert eventually(lambda: batcher.waiting == 2)
    device.one.release()
    assert eventually(lambda: len(device.batches) == 2)
    together = device.stops[1]
    assert together
    for stop in stops:
        assert not together.stopped
        stop.stop()
    assert together.stopped
    device.gate.set()
    for future in futures:
        assert isinstance(future.exception(WAIT_S), RunStoppedError)


def test_many_pictures_each_get_their_output(device: Device, threads: ThreadPoolExecutor) -> None:
    ask = asking(threads, Batcher(device, limit=5, runs=2))
    numbers = [float(number) for number in range(500)]
    device.bad = {number for number in numbers if number % 50 == 7}
    for number, future in [(number, ask(number)) for number in numbers]:
        if number in device.bad:
            assert isinstance(future.exception(WAIT_S), ModelRunError)
        else:
            assert future.result(WAIT_S) == number * 2


def test_outputs_with_rows_missing_are_run_one_by_one(threads: ThreadPoolExecutor, device: Device) -> None:
    """A graph that leaves rows out, such as boxes below a threshold."""

    def some_rows(inputs: Mapping[str, Tensor], stop: RunStop | None) -> dict[str, Tensor]:
        outputs = device(inputs, stop)["y"]
        return {"y": outputs[1:] if len(outputs) > 1 else outputs}

    batcher = Batcher(some_rows, limit=4)
    futures = held_up(device, batcher, asking(threads, batcher), [1, 2])
    device.gate.set()
    assert [future.result(WAIT_S) for future in futures] == [0, 2, 4]
