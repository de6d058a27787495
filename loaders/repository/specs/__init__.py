"""Spec resolvers in order, and the model spec that they give together.

The first resolver to decide a field wins. A new one is a file with a function `resolve`, and a line in `RESOLVERS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from loaders.model_errors import ModelSpecError
from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs import (
    graph_facts,
    hugging_face_config,
    hugging_face_preprocessor,
    image_metadata,
    label_assumptions,
    label_files,
    model_toml,
    opencv_families,
    paddle_ocr,
    preprocessing_assumptions,
    task_assumptions,
    timm,
    ultralytics,
)
from loaders.repository.specs.decision import Decision, Resolver
from loaders.repository.specs.model_files import MODEL_TOML, ModelFiles
from loaders.repository.specs.model_spec import ModelSpec, PreprocessSpec

__all__ = ["RESOLVERS", "ModelFiles", "ResolvedSpec", "resolve"]

DEFAULT = "default"
_TABLE = "preprocess"

RESOLVERS: tuple[Resolver, ...] = (
    model_toml.resolve, label_files.resolve_own, graph_facts.resolve,
    hugging_face_preprocessor.resolve, hugging_face_config.resolve, timm.resolve,
    ultralytics.resolve, paddle_ocr.resolve, image_metadata.resolve, label_files.resolve,
    task_assumptions.resolve, label_assumptions.resolve, opencv_families.resolve, preprocessing_assumptions.resolve,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ResolvedSpec:
    """`decided_by`: source of each field, by its path ("preprocess.mean"). `warnings`: sentences for the operator."""

    spec: ModelSpec
    decided_by: Mapping[str, str]
    warnings: tuple[str, ...]

    def fields(self) -> dict[str, object]:
        """Returns JSON values of all fields, by the paths of `decided_by`."""
        values = self.spec.model_dump(mode="json")
        flat = values | {f"{_TABLE}.{name}": value for name, value in values[_TABLE].items()}
        return {field: flat[field] for field in self.decided_by}


def resolve(files: ModelFiles, graph: OnnxGraph) -> ResolvedSpec:
    """Raises ModelSpecError, which names the file, the field and the allowed values."""
    decisions: dict[str, Decision] = {}
    for resolver in RESOLVERS:
        for field, decision in resolver(files, graph, decisions).items():
            decisions.setdefault(field, decision)
    return ResolvedSpec(
        spec=_spec(files, decisions),
        decided_by={field: decisions[field].source if field in decisions else DEFAULT for field in _fields()},
        warnings=tuple(d.warning.replace(MODEL_TOML, files.spec_file) for d in decisions.values() if d.warning),
    )


def _spec(files: ModelFiles, decisions: Mapping[str, Decision]) -> ModelSpec:
    prefix = f"{_TABLE}."
    fields = {field: decision.value for field, decision in decisions.items() if not field.startswith(prefix)}
    table = {f.removeprefix(prefix): decision.value for f, decision in decisions.items() if f.startswith(prefix)}
    try:
        return ModelSpec.model_validate(fields | {_TABLE: table})
    except ValidationError as error:
        raise ModelSpecError(f"{_source_of(files, error, decisions)}: {model_toml.first_problem(error)}") from error


def _source_of(files: ModelFiles, error: ValidationError, decisions: Mapping[str, Decision]) -> str:
    """Returns the source of the invalid field; the model's name if fields contradict each other."""
    path = [str(part) for part in error.errors(include_url=False)[0]["loc"]]
    field = ".".join(path[: 2 if path[:1] == [_TABLE] else 1])
    return files.where(decisions[field].source) if field in decisions else files.name


def _fields() -> list[str]:
    fields = [name for name in ModelSpec.model_fields if name != _TABLE]
    return fields + [f"{_TABLE}.{name}" for name in PreprocessSpec.model_fields]
