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

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from threading import Condition

import numpy as np

from loaders.model_errors import ModelRunError, RunStoppedError
from loaders.runtimes.base import RunStop
from loaders.tensors import Tensor

Tensors = Mapping[str, Tensor]
Run = Callable[[Tensors, RunStop | None], dict[str, Tensor]]


class _Entry:
    """One picture's tensors, its outputs or error, and whether its thread runs the batch."""

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
        with stop.calls(self._wake), self._changed:
            self._waiting.append(entry)
            self._promote()
            while not (entry.leads or entry.settled or stop.stopped):
                self._changed.wait()
            if not (entry.leads or entry.settled):
                entry.error = RunStoppedError()
                if entry in self._waiting:  # otherwise it is in a run, which ignores it
                    self._waiting.remove(entry)
        if entry.leads:
            self._run_batch(entry)
        if entry.error is not None:
            raise entry.error
        assert entry.outputs is not None  # noqa: S101 - the loop above ended
        return entry.outputs

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _promote(self) -> None:
        """Let the oldest waiting picture start a run if one more is allowed; the caller holds the lock."""
        followers = (entry for entry in self._waiting if not entry.leads)
        if self._in_flight < self._runs and (oldest := next(followers, None)):
            self._in_flight += 1
            oldest.leads = True
            self._changed.notify_all()

    def _run_batch(self, oldest: _Entry) -> None:
        with self._changed:
            batch = self._batch(oldest)
            self._waiting = [entry for entry in self._waiting if entry not in batch]
        try:
            self._settle(batch)
        finally:
            with self._changed:
                self._in_flight -= 1
                for entry in batch:
                    if not entry.settled:
                        entry.error = ModelRunError("the run was interrupted")
                self._promote()
                self._changed.notify_all()

    def _batch(self, oldest: _Entry) -> list[_Entry]:
        others = [e for e in self._waiting if e is not oldest and not e.leads and e.shape == oldest.shape]
        return [oldest, *others][: self._limit]

    def _settle(self, batch: list[_Entry]) -> None:
        for entry in batch:
            if entry.stop.stopped:
                entry.error = RunStoppedError()
        wanted = [entry for entry in batch if not entry.settled]
        if len(wanted) > 1 and self._run_together(wanted):
            return
        for entry in wanted:
            self._run_one(entry)

    def _run_together(self, batch: list[_Entry]) -> bool:
        """Whether all entries are settled; otherwise they have to run one by one."""
        joined = {name: np.concatenate([entry.inputs[name] for entry in batch]) for name in batch[0].inputs}
        try:
            with _stopped_with_all(batch) as stop:
                outputs = self._run(joined, stop)
        except RunStoppedError:
            for entry in batch:
                entry.error = RunStoppedError()
            return True
        except ModelRunError:
            return False
        if any(output.shape[:1] != (len(batch),) for output in outputs.values()):  # rows do not match pictures
            return False
        for number, entry in enumerate(batch):
            entry.outputs = {name: output[number : number + 1] for name, output in outputs.items()}
        return True

    def _run_one(self, entry: _Entry) -> None:
        try:
            entry.outputs = self._run(entry.inputs, entry.stop)
        except Exception as error:  # noqa: BLE001 - raised in the thread of the picture
            entry.error = error


@contextmanager
def _stopped_with_all(batch: Sequence[_Entry]) -> Iterator[RunStop]:
    """A stop that is set when those of all entries are."""
    stop = RunStop()

    def check() -> None:
        if all(entry.stop.stopped for entry in batch):
            stop.stop()

    with ExitStack() as stops:
        for entry in batch:
            with suppress(RunStoppedError):  # stopped just now, which `check` below sees
                stops.enter_context(entry.stop.calls(check))
        check()
        yield stop
