"""Outputs that are scores already: softmax or sigmoid must not be applied to them again.

The graph's last operator usually tells (see loaders/resolvers/graph_facts.py); where it hides, in a function or behind
other operators, what the graph answers to two pictures does.
"""

from collections.abc import Callable

import numpy as np

from engine.models.loaded_model import LoadedModel
from loaders.images.base import ImageInfo, Picture
from loaders.repository.specs import ResolvedSpec
from loaders.repository.specs.model_spec import Activation, TaskName
from loaders.repository.specs.task_assumptions import ASSUMED_SOFTMAX
from loaders.tensors import Tensor

_SUM_ERROR = 1e-3
# Of fewer outputs, logits may all lie between 0 and 1 by chance.
_LEAST_OUTPUTS = 8
_OPERATOR = ".toml"


def without_second_activation(model: LoadedModel) -> ResolvedSpec | None:
    """The spec with activation "none", or None where the spec is right as it is. What an operator wrote stands."""
    resolved = model.resolved
    check = _CHECKS.get(resolved.spec.activation)
    said = resolved.decided_by.get("activation", "").endswith(_OPERATOR)
    if resolved.spec.task is not TaskName.IMAGE_CLASSIFICATION or check is None or said:
        return None
    if not all(check(_outputs(model, picture)) for picture in _pictures(model)):
        return None
    decided_by = {**resolved.decided_by, "activation": "warm-up (the outputs are scores already)"}
    warnings = tuple(warning for warning in resolved.warnings if warning != ASSUMED_SOFTMAX)
    return ResolvedSpec(resolved.spec.model_copy(update={"activation": Activation.NONE}), decided_by, warnings)


def _pictures(model: LoadedModel) -> list[Picture]:
    """A black one and one of noise, of the input's size."""
    size = model.preprocessor.target
    black = np.zeros((size.height, size.width, 3), np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, black.shape, np.uint8)
    return [Picture(pixels, ImageInfo("PNG", size.width, size.height)) for pixels in (black, noise)]


def _outputs(model: LoadedModel, picture: Picture) -> Tensor:
    outputs = model.infer(model.preprocessor(picture), model.preprocessor.frame(picture.info.size))
    name = model.spec.outputs[0] if model.spec.outputs else next(iter(outputs))
    return outputs[name].reshape(-1).astype(np.float64)


def _is_softmax(scores: Tensor) -> bool:
    return scores.size > 1 and bool((scores >= 0).all()) and abs(float(scores.sum()) - 1) < _SUM_ERROR


def _is_sigmoid(scores: Tensor) -> bool:
    return scores.size >= _LEAST_OUTPUTS and bool(((scores >= 0) & (scores <= 1)).all())


_CHECKS: dict[Activation, Callable[[Tensor], bool]] = {
    Activation.SOFTMAX: _is_softmax,
    Activation.SIGMOID: _is_sigmoid,
}
