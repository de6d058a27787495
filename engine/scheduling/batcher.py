"""Several pictures in one run, where a device computes them together faster than one by one.

| event | effect |
|---|---|
| A picture comes while fewer than `runs` runs are in flight. | It runs at once, together with the pictures that wait. |
| A picture comes while `runs` runs are in flight. | It waits; the run that ends first takes the oldest and up to `limit` - 1 others of its shape. |
| A batched run fails. | Its pictures run again one by one, so that one picture does not fail the others. |
| The caller of a waiting picture is gone. | Its thread returns at once, and the picture is left out. |
| The callers of all pictures of a run are gone. | The run is stopped. |

The thread of the oldest picture runs the batch; the batcher has no thread.
"""  # noqa: E501 - a row of a table

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Condition

import numpy as np

from loaders.model_errors import ModelRunError, RunStoppedError
from loaders.runtimes.base import RunStop
from loaders.tensors import Tensor

Tensors = Mapping[str, Tensor]
Run = Callable[[Tensors, RunStop | None], dict[str, Tensor]]


class _Batch:
    """The pictures of one run. `stop` is set when the callers of all of them are gone."""

    def __init__(self, entries: "Sequence[_Entry]") -> None:
        self.entries, self.stop = entries, RunStop()


class _Entry:
    """One picture's tensors, the batch that it is in, and its outputs or error."""

    def __init__(self, inputs: Tensors, stop: RunStop) -> None:
        self.inputs, self.stop = inputs, stop
        self.shape = tuple((name, tensor.shape[1:]) for name, tensor in inputs.items())
        self.batch: _Batch | None = None
        self.outcome: dict[str, Tensor] | Exception | None = None


class Batcher:
    """`run` takes tensors whose first dimension is the number of pictures. May be used from many threads."""

    def __init__(self, run: Run, limit: int, runs: int = 1) -> None:
        self._run, self._limit, self._runs = run, limit, runs
        self._changed = Condition()
        self._waiting: list[_Entry] = []
        self._in_flight = 0

    @property
    def waiting(self) -> int:
        """Pictures that are in no run yet."""
        return len(self._waiting)

    def run(self, inputs: Tensors, stop: RunStop) -> dict[str, Tensor]:
        """The outputs for one picture, first dimension 1. Raises ModelRunError, RunStoppedError."""
        entry = _Entry(inputs, stop)
        with stop.calls(partial(self._check_stopped, entry)):
            if batch := self._wait(entry):
                self._run_batch(batch)
        if isinstance(entry.outcome, Exception):
            raise entry.outcome
        assert entry.outcome is not None  # noqa: S101 - `_wait` or a run has set it
        return entry.outcome

    def _wait(self, entry: _Entry) -> _Batch | None:
        """Wait for the outcome, or until this thread has to run a batch, which is returned."""
        with self._changed:
            self._waiting.append(entry)
            self._changed.wait_for(lambda: entry.outcome is not None or entry.stop.stopped or self._leads(entry))
            if entry.outcome is not None:
                return None
            batch = None if entry.stop.stopped else self._take(entry)
            if batch is None:
                entry.outcome = RunStoppedError()  # a run that has the picture ignores that
            leave = batch.entries if batch else [entry]
            self._waiting = [other for other in self._waiting if other not in leave]
            self._changed.notify_all()  # the next one may lead
            return batch

    def _leads(self, entry: _Entry) -> bool:
        return self._in_flight < self._runs and self._waiting[:1] == [entry]

    def _take(self, oldest: _Entry) -> _Batch:
        others = [e for e in self._waiting if e is not oldest and e.shape == oldest.shape and not e.stop.stopped]
        batch = _Batch([oldest, *others][: self._limit])
        for entry in batch.entries:
            entry.batch = batch
        self._in_flight += 1
        return batch

    def _check_stopped(self, entry: _Entry) -> None:
        """Called when the caller of a picture is gone."""
        with self._changed:
            if entry.batch and all(other.stop.stopped for other in entry.batch.entries):
                entry.batch.stop.stop()
            self._changed.notify_all()

    def _run_batch(self, batch: _Batch) -> None:
        try:
            if len(batch.entries) == 1 or not self._run_together(batch):
                for entry in batch.entries:
                    self._run_one(entry)
        finally:
            with self._changed:
                self._in_flight -= 1
                for entry in batch.entries:
                    entry.outcome = entry.outcome or ModelRunError("the run was interrupted")
                self._changed.notify_all()

    def _run_together(self, batch: _Batch) -> bool:
        """Whether all pictures have their outcome; otherwise they have to run one by one."""
        entries = batch.entries
        joined = {name: np.concatenate([entry.inputs[name] for entry in entries]) for name in entries[0].inputs}
        try:
            outputs = self._run(joined, batch.stop)
        except RunStoppedError:
            for entry in entries:
                entry.outcome = RunStoppedError()
            return True
        except ModelRunError:
            return False
        if any(output.shape[:1] != (len(entries),) for output in outputs.values()):  # rows do not match pictures
            return False
        for number, entry in enumerate(entries):
            entry.outcome = {name: output[number : number + 1] for name, output in outputs.items()}
        return True

    def _run_one(self, entry: _Entry) -> None:
        try:
            entry.outcome = self._run(entry.inputs, entry.stop)
        except Exception as error:  # noqa: BLE001 - raised in the thread of the picture
            entry.outcome = error
