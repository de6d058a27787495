"""One field's value and who decided it: what resolvers give."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.model_files import ModelFiles


@dataclass(frozen=True, slots=True)
class Decision:
    """`source`: "model.toml", "graph", "preprocessor_config.json (ViTImageProcessor)", ...

    `warning` is shown only where this decision is the one that counts.
    """

    value: object
    source: str
    warning: str = ""


# By the field's path: "task", "preprocess.mean".
Decisions = Mapping[str, Decision]

# The last argument is what those before have decided: a resolver may fit its own to it, and cannot change it.
Resolver = Callable[[ModelFiles, OnnxGraph, Decisions], Decisions]


def decide(source: str, values: Mapping[str, object], warnings: Mapping[str, str] | None = None) -> dict[str, Decision]:
    """One source for several fields. A value of None decides nothing."""
    texts = warnings or {}
    return {
        field: Decision(value, source, texts.get(field, "")) for field, value in values.items() if value is not None
    }


def decided(decisions: Decisions, field: str) -> object:
    """None where nobody decided it yet."""
    return decisions[field].value if field in decisions else None
