"""`model.toml`, written by the operator: it wins over everything else, and may say as little as it likes."""

import tomllib
from typing import Any

from pydantic import ValidationError

from loaders.model_errors import ModelSpecError
from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.decision import Decisions, decide
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import ModelSpec, TaskName

_TABLE = "preprocess"
_WORDS = {"extra_forbidden": "there is no such field", "tuple_type": "must be a list", "dict_type": "must be a table"}


def resolve(files: ModelFiles, _: OnnxGraph, __: Decisions) -> Decisions:
    text = files.read_spec_file()
    if text is None:
        return {}
    fields = _parse(files, text)
    _check(files, fields)
    table = fields.pop(_TABLE, {})
    flat = {f"{_TABLE}.{name}": value for name, value in table.items()}
    return decide(files.spec_file, fields | flat)


def first_problem(error: ValidationError) -> str:
    """The field's path and what is wrong with it, in one sentence."""
    problem = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"])
    words = _WORDS.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    return f"{field}: {words}" if field else words


def _parse(files: ModelFiles, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ModelSpecError(f"{files.path_below_models(files.spec_file)} is not valid TOML: {error}") from error


def _check(files: ModelFiles, fields: dict[str, Any]) -> None:
    """Whether it could be a whole spec, so that an error is told of this file and not of what it is merged with."""
    try:
        ModelSpec.model_validate({"task": TaskName.TENSOR} | fields)
    except ValidationError as error:
        raise ModelSpecError(f"{files.path_below_models(files.spec_file)}: {first_problem(error)}") from error
