"""The two faces of a model: NAME takes encoded pictures, NAME.tensor takes the tensors of its graph."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from api.dialects.open_inference.codec import BF16, BYTES, DATATYPES, NamedTensor
from api.dialects.open_inference.picture_outputs import output_infos
from api.problems import BodyTooLargeError, InvalidRequestError, TooManyPicturesError
from api.settings import ApiSettings
from engine.inference_engine import InferenceEngine, ModelChoice
from engine.models.loaded_model import LoadedModel
from loaders.repository.specs.model_spec import TaskName
from loaders.tensors import Tensor, TensorInfo

IMAGE = "image"
_SUFFIX = ".tensor"
_WIDENED = ("FP16", BF16)  # every value of these is a float32, too


@dataclass(frozen=True, slots=True)
class Face:
    """`name`: as the client gives it."""

    name: str
    choice: ModelChoice
    takes_tensors: bool

    def inputs(self, model: LoadedModel) -> list[TensorInfo]:
        if self.takes_tensors:
            return [TensorInfo(i.name, i.dtype, (None, *i.shape[1:])) for i in model.session.inputs]
        return [TensorInfo(IMAGE, "object", (None, 1))]

    def outputs(self, model: LoadedModel) -> list[TensorInfo]:
        """Leaves out outputs of other types than tensors, such as maps."""
        task = model.ref.task
        if not self.takes_tensors and task is not TaskName.TENSOR:
            return output_infos(task)
        names = () if self.takes_tensors else model.spec.outputs
        found = [o for o in model.session.outputs if o.dtype in DATATYPES and (not names or o.name in names)]
        return [TensorInfo(o.name, o.dtype, (None, *o.shape[1:]) if o.shape[:1] == (1,) else o.shape) for o in found]


def find_face(engine: InferenceEngine, name: str, version: str | None) -> Face:
    """`version`: a number or a label; empty for the active one. Raises UnknownModelError."""
    takes_tensors = name.endswith(_SUFFIX) and name not in engine.models.catalog
    choice = ModelChoice(name.removesuffix(_SUFFIX) if takes_tensors else name, version or None)
    engine.models.version(choice.name or "", choice.selector)
    return Face(name, choice, takes_tensors)


async def load(engine: InferenceEngine, face: Face) -> LoadedModel:
    """Raises UnknownModelError, ModelUnavailableError, DeadlineExceededError."""
    await engine.load([face.choice])
    return engine.request([face.choice])[0].result()


def read_pictures(face: Face, inputs: Sequence[NamedTensor], settings: ApiSettings) -> list[bytes]:
    """Raises InvalidRequestError, BodyTooLargeError, TooManyPicturesError."""
    _check_names(face, inputs, [IMAGE])
    [image] = inputs
    shape = image.array.shape
    if image.datatype != BYTES or len(shape) not in (1, 2) or shape[1:] not in ((), (1,)) or not shape[0]:
        raise InvalidRequestError(
            f"model '{face.name}' expects the pictures' files as BYTES of shape [N] or [N,1], got {image.datatype} of "
            f"shape {list(shape)}; '{face.name}{_SUFFIX}' takes the tensor of the graph"
        )
    if shape[0] > settings.max_batch_images:
        raise TooManyPicturesError(settings.max_batch_images)
    pictures: list[bytes] = image.array.reshape(-1).tolist()
    if any(len(picture) > settings.max_upload_bytes for picture in pictures):
        raise BodyTooLargeError(settings.max_upload_bytes)
    return pictures


def read_rows(
    face: Face, model: LoadedModel, inputs: Sequence[NamedTensor], settings: ApiSettings
) -> list[dict[str, Tensor]]:
    """The inputs of the graph for each picture. Raises InvalidRequestError, BodyTooLargeError, TooManyPicturesError."""
    infos = {info.name: info for info in face.inputs(model)}
    _check_names(face, inputs, list(infos))
    arrays = {tensor.name: _fitting(face, tensor, infos[tensor.name]) for tensor in inputs}
    counts = {len(array) for array in arrays.values()}
    if len(counts) > 1:
        raise InvalidRequestError(f"the first dimension must be the same for all inputs of model '{face.name}'")
    count = counts.pop()
    if count > settings.max_batch_images:
        raise TooManyPicturesError(settings.max_batch_images)
    if sum(array.nbytes for array in arrays.values()) > count * settings.max_upload_bytes:
        raise BodyTooLargeError(settings.max_upload_bytes)
    return [{name: array[row : row + 1] for name, array in arrays.items()} for row in range(count)]


def _check_names(face: Face, inputs: Sequence[NamedTensor], expected: Sequence[str]) -> None:
    for tensor in inputs:
        if tensor.name not in expected:
            names = ", ".join(f"'{name}'" for name in expected)
            raise InvalidRequestError(
                f"unexpected inference input '{tensor.name}' for model '{face.name}'; expected: {names}"
            )
    if len(inputs) != len(expected):
        raise InvalidRequestError(
            f"expected {len(expected)} inputs but got {len(inputs)} inputs for model '{face.name}'"
        )


def _fitting(face: Face, tensor: NamedTensor, info: TensorInfo) -> Tensor:
    expected, array = DATATYPES.get(info.dtype, info.dtype), tensor.array
    if tensor.datatype != expected and not (expected == "FP32" and tensor.datatype in _WIDENED):
        raise InvalidRequestError(
            f"inference input '{tensor.name}' data-type is '{tensor.datatype}', but model '{face.name}' expects "
            f"'{expected}'"
        )
    sides = zip(info.shape, array.shape, strict=False)
    if len(info.shape) != array.ndim or not all(have and want in (None, have) for want, have in sides):
        raise InvalidRequestError(
            f"unexpected shape for input '{tensor.name}' for model '{face.name}'. "
            f"Expected {wire_shape(info)}, got {list(array.shape)}"
        )
    return array.astype(np.float32, copy=False) if expected == "FP32" else array


def wire_shape(info: TensorInfo) -> list[int]:
    """The shape as the protocol writes it: -1 for an open side."""
    return [-1 if side is None else side for side in info.shape]
