"""Raw outputs of a graph, for models that no other task reads."""

from collections.abc import Mapping
from typing import cast

import numpy as np

from engine.preprocessing.geometry import Frame
from engine.tasks.outputs import to_base64
from engine.tasks.predictions import OutputTensor, Prediction
from engine.tasks.task import Encoding, InvalidOutputError, PredictOptions, Task
from loaders.model_errors import ModelSpecError
from loaders.repository.specs.model_spec import ModelSpec
from loaders.runtimes.base import Session
from loaders.tensors import Tensor

# Kinds of NumPy dtypes: boolean, signed, unsigned, floating point.
_NUMBERS = "biuf"


class TensorOutput(Task):
    """All outputs, or those named in the spec in their order.

    Base64 holds the exact bits; NaN and infinity in a list are an error.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._outputs = spec.outputs

    def check(self, session: Session) -> None:
        by_name = {output.name: output for output in session.outputs}
        for name in self._outputs or by_name:
            if name not in by_name:
                raise ModelSpecError(f"the graph has no output {name!r}; it has: {', '.join(by_name)}")
            if not _is_number(by_name[name].dtype):
                raise ModelSpecError(f"the output {name} is {by_name[name].dtype}, not a numeric tensor")

    def postprocess(
        self,
        outputs: Mapping[str, Tensor],
        frame: Frame,  # noqa: ARG002 - numbers have no position
        options: PredictOptions,
    ) -> list[Prediction]:
        return [_tensor(name, outputs[name], options.encoding) for name in self._outputs or outputs]


def _tensor(name: str, tensor: Tensor, encoding: Encoding) -> OutputTensor:
    data = to_base64(tensor) if encoding == "base64" else _numbers(name, tensor)
    return OutputTensor(name, tensor.dtype.name, list(tensor.shape), data, encoding)


def _numbers(name: str, tensor: Tensor) -> list[float]:
    """Floats as the shortest decimals that identify them. JSON has no NaN and no infinity."""
    if not np.isfinite(tensor).all():
        raise InvalidOutputError(
            f"the output {name} contains NaN or infinity, which JSON cannot represent; use encoding=base64"
        )
    flat = tensor.reshape(-1)
    if tensor.dtype.kind == "f":
        return [float(text) for text in flat.astype(str)]
    return cast("list[float]", flat.tolist())


def _is_number(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in _NUMBERS
    except TypeError:
        return False
