"""Several pictures in one run, where a device computes them together faster than one by one.

| what happens | what follows |
|---|---|
| fewer than `runs` are running | the picture runs at once, with what has waited for it |
| `runs` are running | it waits; the first that ends takes the eldest and up to `limit` - 1 others of its shape |
| `wait_s` above 0 and the batch is not full | the run waits so long at most for others to join |
| a batched run fails | its pictures run again one by one, so that one does no harm to the others |
| nobody waits for a picture's answer any more | its thread goes on at once, it does not take part |
| nobody waits for any answer of a run | the run is stopped |

The thread of the eldest picture runs for all of its batch; there is no thread of the batcher's own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from threading import Condition
from time import monotonic

import numpy as np

from loaders.model_errors import ModelRunError, RunStoppedError
from loaders.runtimes.base import RunStop
from loaders.tensors import Tensor

Tensors = Mapping[str, Tensor]
Run = Callable[[Tensors, RunStop | None], dict[str, Tensor]]


class _Entry:
    """One picture's tensors, its answer or error, and whether its thread shall run for others."""

    def __init__(self, inputs: Tensors, stop: RunStop) -> None:
        self.inputs, self.stop = inputs, stop
        self.shape = tuple((name, tensor.shape[1:]) for name, tensor in inputs.items())
        self.outputs: dict[str, Tensor] | None = None
        self.error: Exception | None = None
        self.leads = False

    @property
    def settled(self) -> bool:
        return self.outputs is not None or self.error is not None


class Batcher:
    """`run` takes tensors whose first dimension is the number of pictures. May be used from many threads."""

    def __init__(self, run: Run, limit: int, runs: int = 1, wait_s: float = 0.0) -> None:
        self._run, self._limit, self._runs, self._wait_s = run, limit, runs, wait_s
        self._changed = Condition()
        self._waiting: list[_Entry] = []
        self._running = 0

    @property
    def waiting(self) -> int:
        """Pictures that no run has taken yet."""
        return len(self._waiting)

    def run(self, inputs: Tensors, stop: RunStop) -> dict[str, Tensor]:
        """The outputs for one picture, first dimension 1. Raises ModelRunError, RunStoppedError."""
        entry = _Entry(inputs, stop)
        with stop.calls(self._wake), self._changed:
            self._waiting.append(entry)
            self._changed.notify_all()
            self._promote()
            while not (entry.leads or entry.settled or stop.stopped):
                self._changed.wait()
            if not (entry.leads or entry.settled):
                entry.error = RunStoppedError()
                if entry in self._waiting:  # else a run has it, and its outputs go nowhere
                    self._waiting.remove(entry)
        if entry.leads:
            self._run_for_all(entry)
        if entry.error is not None:
            raise entry.error
        assert entry.outputs is not None  # noqa: S101 - the loop above ended
        return entry.outputs

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _promote(self) -> None:
        """The eldest that waits runs if one more may; the caller holds the lock."""
        followers = (entry for entry in self._waiting if not entry.leads)
        if self._running < self._runs and (eldest := next(followers, None)):
            self._running += 1
            eldest.leads = True
            self._changed.notify_all()

    def _run_for_all(self, eldest: _Entry) -> None:
        """In the thread of the eldest."""
        batch = self._take(eldest)
        try:
            self._answer(batch)
        finally:
            with self._changed:
                self._running -= 1
                for entry in batch:
                    if not entry.settled:
                        entry.error = ModelRunError("the run broke off")
                self._promote()
                self._changed.notify_all()

    def _take(self, eldest: _Entry) -> list[_Entry]:
        """The eldest and those of its shape; waits for more only as long as it may."""
        until = monotonic() + self._wait_s
        with self._changed:
            while len(batch := self._like(eldest)) < self._limit and (left := until - monotonic()) > 0:
                self._changed.wait(left)
            self._waiting = [entry for entry in self._waiting if entry not in batch]
        return batch

    def _like(self, eldest: _Entry) -> list[_Entry]:
        others = [e for e in self._waiting if e is not eldest and not e.leads and e.shape == eldest.shape]
        return [eldest, *others][: self._limit]

    def _answer(self, batch: list[_Entry]) -> None:
        for entry in batch:
            if entry.stop.stopped:
                entry.error = RunStoppedError()
        wanted = [entry for entry in batch if not entry.settled]
        if len(wanted) > 1 and self._answer_together(wanted):
            return
        for entry in wanted:
            self._answer_alone(entry)

    def _answer_together(self, batch: list[_Entry]) -> bool:
        joined = {name: np.concatenate([entry.inputs[name] for entry in batch]) for name in batch[0].inputs}
        try:
            with _when_all_are_stopped(batch) as stop:
                outputs = self._run(joined, stop)
        except RunStoppedError:
            for entry in batch:
                entry.error = RunStoppedError()
            return True
        except ModelRunError:
            return False
        if any(output.shape[:1] != (len(batch),) for output in outputs.values()):  # nobody knows which row is whose
            return False
        for number, entry in enumerate(batch):
            entry.outputs = {name: output[number : number + 1] for name, output in outputs.items()}
        return True

    def _answer_alone(self, entry: _Entry) -> None:
        try:
            entry.outputs = self._run(entry.inputs, entry.stop)
        except Exception as error:  # noqa: BLE001 - it is the picture's thread that raises it
            entry.error = error


@contextmanager
def _when_all_are_stopped(batch: Sequence[_Entry]) -> Iterator[RunStop]:
    """A stop for the run of all of them."""
    stop = RunStop()

    def end() -> None:
        if all(entry.stop.stopped for entry in batch):
            stop.stop()

    with ExitStack() as stops:
        for entry in batch:
            with suppress(RunStoppedError):  # this moment: `end` below sees it
                stops.enter_context(entry.stop.calls(end))
        end()
        yield stop
