"""Sessions of graphs whose batch is fixed above one (YOLO and torchvision exports with batch=4), one picture a run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from loaders.model_errors import ModelFileError, ModelRunError
from loaders.runtimes.base import RunStop, Session
from loaders.tensors import Tensor, TensorInfo

_PICTURE_DIMENSIONS = 4


def single_pictures(session: Session) -> Session:
    """Returns the session itself unless its batch is fixed above one. Raises ModelFileError, see FixedBatchSession."""
    batches = {i.shape[0] for i in session.inputs if len(i.shape) == _PICTURE_DIMENSIONS}
    batch = batches.pop() if len(batches) == 1 else None
    return session if batch in (None, 1) else FixedBatchSession(session, batch)


class FixedBatchSession(Session):
    """Fills the batch with copies of the picture, and returns the first row of each output.

    Raises ModelFileError for an output that does not have one row a picture.
    """

    def __init__(self, session: Session, batch: int) -> None:
        self._session, self._batch = session, batch
        self._batched = frozenset(i.name for i in session.inputs if i.shape[:1] == (batch,))
        self.inputs = _of_one(session.inputs, batch)
        self.outputs = _of_one(session.outputs, batch)
        self.providers = session.providers
        self.private_bytes = session.private_bytes
        note = f"its batch is fixed at {batch}: each run computes {batch} pictures for one; export it with batch=1"
        self.notes = (*session.notes, note)
        for output in self.outputs:
            if output.shape[:1] not in ((), (None,), (1,)):
                raise ModelFileError(self._not_split(output.name))

    @property
    def on_cpu(self) -> bool:
        return self._session.on_cpu

    def run(self, inputs: Mapping[str, Tensor], stop: RunStop | None = None) -> dict[str, Tensor]:
        feeds = {n: np.repeat(t, self._batch, axis=0) if n in self._batched else t for n, t in inputs.items()}
        outputs = self._session.run(feeds, stop)
        for name, tensor in outputs.items():
            if tensor.shape[:1] != (self._batch,):
                raise ModelRunError(self._not_split(name))
        return {name: tensor[:1] for name, tensor in outputs.items()}

    def _not_split(self, output: str) -> str:
        return (
            f"its batch is fixed at {self._batch}, and its output {output} does not have one row a picture; "
            "export it with batch=1"
        )


def _of_one(tensors: Sequence[TensorInfo], batch: int) -> tuple[TensorInfo, ...]:
    return tuple(replace(t, shape=(1, *t.shape[1:])) if t.shape[:1] == (batch,) else t for t in tensors)
