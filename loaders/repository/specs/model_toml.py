"""Resolves `model.toml`, which the operator writes; it wins over all other resolvers."""

import tomllib
from typing import Any

from pydantic import ValidationError

from loaders.model_errors import ModelSpecError
from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.decision import Decisions, decide
from loaders.repository.specs.json_object import short
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import ModelSpec, TaskName

_TABLE = "preprocess"
_WORDS = {"extra_forbidden": "unknown field", "tuple_type": "expected a list", "dict_type": "expected a table"}


def resolve(files: ModelFiles, _: OnnxGraph, __: Decisions) -> Decisions:
    text = files.read_own(files.spec_file, "valid TOML")
    if text is None:
        return {}
    fields = _parse(files, text)
    _check(files, fields)
    table = fields.pop(_TABLE, {})
    flat = {f"{_TABLE}.{name}": value for name, value in table.items()}
    return decide(files.spec_file, fields | flat)


def first_problem(error: ValidationError) -> str:
    """Returns the field's path, what is wrong with it, and its value."""
    problem = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"])
    words = _WORDS.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    got = "" if problem["type"] in ("extra_forbidden", "value_error") else f", got {short(problem['input'])}"
    return f"{field}: {words}{got}" if field else words


def _parse(files: ModelFiles, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ModelSpecError(f"{files.where(files.spec_file)} is not valid TOML: {error}") from error


def _check(files: ModelFiles, fields: dict[str, Any]) -> None:
    """Validates the file alone, so that its errors are not attributed to other sources."""
    try:
        ModelSpec.model_validate({"task": TaskName.TENSOR} | fields)
    except ValidationError as error:
        raise ModelSpecError(f"{files.where(files.spec_file)}: {first_problem(error)}") from error
