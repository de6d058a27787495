"""Depth estimation: one value for each pixel of the original picture."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.preprocessing.geometry import Frame
from engine.tasks.masks import computed_size, interpolate, on_picture, png, visible_region
from engine.tasks.outputs import Array, as_float32, check_finite, find_output, is_plane, shortest, to_base64
from engine.tasks.predictions import DepthMap, DepthMapWithValues, OutputTensor, Prediction
from engine.tasks.task import InvalidOutputError, PredictOptions, Task
from loaders.model_errors import ModelSpecError
from loaders.repository.specs.model_spec import ModelSpec
from loaders.runtimes.base import Session
from loaders.tensors import Tensor

# A map is computed with at most this many pixels, and enlarged to the picture's size by repeating pixels.
MAX_DEPTH_PIXELS = 2**24

_WHITE = 65535
_ROUNDING = 16 * np.finfo(np.float32).eps
_NAME = "predicted_depth"


class DepthEstimation(Task):
    """Reads (N, h, w) or (N, 1, h, w). Resized bicubically, and scaled to 0..65535, as in transformers' pipeline."""

    def __init__(self, spec: ModelSpec) -> None:
        self._outputs = spec.outputs

    def check(self, session: Session) -> None:
        output = find_output(session, self._outputs)
        if output.shape and not is_plane(output.shape):
            raise ModelSpecError(
                f"a depth map is (N, h, w) or (N, 1, h, w), the output {output.name} is {output.shape}"
            )

    def postprocess(self, outputs: Mapping[str, Tensor], frame: Frame, options: PredictOptions) -> list[Prediction]:
        output = outputs[self._outputs[0]] if self._outputs else next(iter(outputs.values()))
        if not is_plane(output.shape):
            raise InvalidOutputError(f"the model's output of the shape {output.shape} is not a depth map")
        plane = as_float32(output).reshape(output.shape[-2:])
        check_finite(plane)
        region = visible_region(frame)
        size = computed_size(region, MAX_DEPTH_PIXELS)
        with np.errstate(over="ignore", invalid="ignore"):  # the map is checked
            depth = interpolate(plane, frame, region, size, cv2.INTER_CUBIC)
            lowest, highest = depth.min(), depth.max()
            check_finite(highest - lowest)
        image = png(on_picture(_to_uint16(depth, lowest, highest), region, frame.picture))
        bounds = shortest(lowest), shortest(highest)
        if not options.predicted_depth:
            return [DepthMap(image, *bounds)]
        values = OutputTensor(_NAME, "float32", list(depth.shape), to_base64(depth), "base64")
        return [DepthMapWithValues(image, *bounds, values)]


def _to_uint16(depth: Array, lowest: np.float32, highest: np.float32) -> NDArray[np.uint16]:
    """A map that is constant but for the rounding of its interpolation is 0."""
    spread = highest - lowest
    if spread <= _ROUNDING * max(abs(lowest), abs(highest)):
        return np.zeros(depth.shape, np.uint16)
    return np.asarray((depth - lowest) / spread * _WHITE, np.uint16)
