"""The decisions of spec resolvers: values of fields, with their sources."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.model_files import ModelFiles


@dataclass(frozen=True, slots=True)
class Decision:
    """`source`: "model.toml", "graph", "preprocessor_config.json (ViTImageProcessor)", ...

    `warning` is shown if this decision wins.
    """

    value: object
    source: str
    warning: str = ""


# By field path: "task", "preprocess.mean".
Decisions = Mapping[str, Decision]

# The last argument has the decisions of earlier resolvers, which win.
Resolver = Callable[[ModelFiles, OnnxGraph, Decisions], Decisions]


def decide(source: str, values: Mapping[str, object], warnings: Mapping[str, str] | None = None) -> dict[str, Decision]:
    """Makes decisions of one source. Values of None are left out."""
    texts = warnings or {}
    return {
        field: Decision(value, source, texts.get(field, "")) for field, value in values.items() if value is not None
    }


def decided(decisions: Decisions, field: str) -> object:
    """Returns None for a field that is undecided."""
    return decisions[field].value if field in decisions else None


def warn(files: ModelFiles, risk: str, line: str) -> str:
    """Returns a warning: what may be wrong, and what settles it in the table [preprocess]."""
    return f"{risk}; to settle it, write {line} under [preprocess] in {files.spec_file}"
