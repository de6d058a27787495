"""Detects a softmax or sigmoid that is inside the graph, so that it is not applied a second time.

The graph's last operator decides first, without a run (loaders/repository/specs/graph_facts.py: `is_activated`). This
module is the fallback for graphs that hide the activation behind other operators: it looks at the outputs of two test
pictures. It applies where a softmax or sigmoid is left to be applied; what model.toml says stands.
"""

from collections.abc import Callable

import numpy as np

from engine.models.loaded_model import LoadedModel
from loaders.images.base import Picture
from loaders.repository.specs import ResolvedSpec
from loaders.repository.specs.model_spec import Activation, TaskName
from loaders.repository.specs.task_assumptions import ASSUMED_SOFTMAX
from loaders.tensors import Tensor

_SUM_TOLERANCE = 1e-3
# With fewer outputs, all logits may lie between 0 and 1 by chance.
_MIN_SIGMOID_OUTPUTS = 8
_OPERATOR_FILE = ".toml"


def without_hidden_activation(model: LoadedModel) -> ResolvedSpec | None:
    """Returns the spec with activation "none" if the outputs are scores already; None if the spec is right."""
    resolved = model.resolved
    are_scores = _CHECKS.get(resolved.spec.activation)
    by_operator = resolved.decided_by.get("activation", "").endswith(_OPERATOR_FILE)
    if resolved.spec.task is not TaskName.IMAGE_CLASSIFICATION or are_scores is None or by_operator:
        return None
    if not all(are_scores(_outputs(model, picture)) for picture in model.test_pictures()):
        return None
    decided_by = {**resolved.decided_by, "activation": "warm-up (the outputs are scores already)"}
    warnings = tuple(warning for warning in resolved.warnings if warning != ASSUMED_SOFTMAX)
    return ResolvedSpec(resolved.spec.model_copy(update={"activation": Activation.NONE}), decided_by, warnings)


def _outputs(model: LoadedModel, picture: Picture) -> Tensor:
    outputs = model.infer(model.preprocessor(picture), model.preprocessor.frame(picture.info.size))
    name = model.spec.outputs[0] if model.spec.outputs else next(iter(outputs))
    return outputs[name].reshape(-1).astype(np.float64)


def _are_softmax(outputs: Tensor) -> bool:
    return outputs.size > 1 and bool((outputs >= 0).all()) and abs(float(outputs.sum()) - 1) < _SUM_TOLERANCE


def _are_sigmoid(outputs: Tensor) -> bool:
    return outputs.size >= _MIN_SIGMOID_OUTPUTS and bool(((outputs >= 0) & (outputs <= 1)).all())


_CHECKS: dict[Activation, Callable[[Tensor], bool]] = {
    Activation.SOFTMAX: _are_softmax,
    Activation.SIGMOID: _are_sigmoid,
}
