"""Image feature extraction: one vector a picture, for search and comparison."""

from collections.abc import Mapping

import numpy as np

from engine.preprocessing.geometry import Frame
from engine.tasks.outputs import Array, as_float32, check_finite, to_base64
from engine.tasks.predictions import Embedding, Prediction
from engine.tasks.task import Encoding, InvalidOutputError, PredictOptions, Task
from loaders.model_errors import ModelSpecError
from loaders.repository.specs.model_spec import ModelSpec
from loaders.runtimes.base import Session
from loaders.tensors import Tensor, TensorInfo

# Names of the pooled vector in exports that also output every token.
_POOLED = ("image_embeds", "pooler_output")


class ImageFeatureExtraction(Task):
    """Reads the output named in the spec, otherwise a pooled one by its usual name, otherwise the first.

    (1, D) is the vector; (1, T, D) gives its first token, the class token of a ViT; (1, D, h, w) is averaged over h and
    w, as global average pooling does. NaN or infinity is an error in every encoding, as it has no distance.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._outputs, self._normalize = spec.outputs, spec.normalize

    def check(self, session: Session) -> None:
        by_name = {output.name: output for output in session.outputs}
        if self._outputs and self._outputs[0] not in by_name:
            raise ModelSpecError(f"the graph has no output {self._outputs[0]!r}; it has: {', '.join(by_name)}")
        output: TensorInfo = by_name[self._name(by_name)]
        if output.shape and len(output.shape) not in _VECTORS:
            raise ModelSpecError(f"the output {output.name} has {len(output.shape)} dimensions, a vector needs 2 to 4")

    def postprocess(
        self,
        outputs: Mapping[str, Tensor],
        frame: Frame,  # noqa: ARG002 - a vector has no position
        options: PredictOptions,
    ) -> list[Prediction]:
        output = as_float32(outputs[self._name(outputs)])
        if output.ndim not in _VECTORS:
            raise InvalidOutputError(f"the model's output has {output.ndim} dimensions, a vector needs 2 to 4")
        vector = _VECTORS[output.ndim](output[0])
        check_finite(vector)
        if self._normalize if options.normalize is None else options.normalize:
            vector = _unit(vector)
        return [Embedding(_encode(vector, options.encoding), len(vector), options.encoding)]

    def _name(self, names: Mapping[str, object]) -> str:
        chosen = [*self._outputs[:1], *(name for name in _POOLED if name in names), *names]
        return chosen[0]


def _unit(vector: Array) -> Array:
    """Scaled to length 1; a vector of zeros is returned unchanged."""
    length = np.linalg.norm(vector.astype(np.float64))
    return vector if length == 0 else np.asarray(vector / length, np.float32)


def _encode(vector: Array, encoding: Encoding) -> list[float] | str:
    """A list has the shortest decimals that identify each float32."""
    return to_base64(vector) if encoding == "base64" else [float(text) for text in vector.astype(str)]


def _identity(vector: Array) -> Array:
    return vector


def _first_token(tokens: Array) -> Array:
    return np.asarray(tokens[0], np.float32)


def _average(planes: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):  # the vector is checked
        return np.asarray(planes.mean(axis=(1, 2)), np.float32)


_VECTORS = {2: _identity, 3: _first_token, 4: _average}
