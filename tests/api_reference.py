"""docs/reference.md, made from the OpenAPI document: `python -m tests.api_reference` writes it."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from api.inference_api import InferenceAPI
from tests.paths import ROOT
from tests.server import service_settings

PAGE = ROOT / "docs" / "reference.md"
# They are described once, at the top of the page.
_COMMON = {"401", "403", "429"}
_PROBLEM = "application/problem+json"
_TOP = """\
# API reference

[Operations](#operations) · [Schemas](#schemas)

Made from the OpenAPI document (`/openapi.json`) by `python -m tests.api_reference`. What the operations do together:
[api.md](api.md); programs that call them: [calling.md](calling.md).
"""
_OPERATIONS = """\
## Operations

Errors are [ProblemDetails](#problemdetails). Where a key is required, 401 `no_key` and 403 `wrong_key` are possible;
with a rate limit, 429 `rate_limited`. They are left out below. Parameters are of the query unless another place is
named. A field in brackets may be missing.
"""

Json = dict[str, Any]


def render(document: Json) -> str:
    """The page for an OpenAPI document."""
    lines = [_TOP, _OPERATIONS]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines += _operation(method, path, operation)
    lines += ["## Schemas", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += _schema(name, schema)
    return "\n".join(lines)


def openapi() -> Json:
    """The document of the application without any model."""
    document: Json = InferenceAPI(service_settings(models_dir=ROOT / "tests" / "no-models")).app.openapi()
    return document


def _operation(method: str, path: str, operation: Json) -> Iterator[str]:
    yield from (f"### {method.upper()} {path}", "", f"{operation['summary']}. {_text(operation)}".strip(), "")
    rows = [
        (f"`{parameter['name']}`", _parameter_type(parameter), _text(parameter))
        for parameter in operation.get("parameters", [])
    ]
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        rows.append(("body", f"`{media}`", _body(content["schema"])))
    if rows:
        yield from _table(("parameter", "type", "meaning"), rows)
    answers = {status: answer for status, answer in operation["responses"].items() if status not in _COMMON}
    for status in sorted(answers):
        if _PROBLEM not in answers[status].get("content", {}):
            yield from (f"**{status}**: {_media(answers[status]) or _text(answers[status])}", "")
    if errors := [f"{status} {_codes(answer)}" for status, answer in sorted(answers.items()) if _codes(answer)]:
        yield from (f"Errors: {'; '.join(errors)}.", "")


def _parameter_type(parameter: Json) -> str:
    default = parameter["schema"].get("default")
    kind = _type(parameter["schema"])
    where = "" if parameter["in"] == "query" else f"{parameter['in']}: "
    return f"{where}{kind}" + (
        f"; default `{default if isinstance(default, str) else json.dumps(default)}`"
        if default not in (None, [])
        else ""
    )


def _schema(name: str, schema: Json) -> Iterator[str]:
    yield from (f"### {name}", "")
    if text := _text(schema):
        yield from (text, "")
    if "properties" not in schema:
        yield from (f"{_type(schema)}.", "")
        return
    required = schema.get("required", [])
    rows = [
        (f"`{field}`" if field in required else f"(`{field}`)", _type(value), _text(value))
        for field, value in schema["properties"].items()
    ]
    yield from _table(("field", "type", "meaning"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield from (f"| {' | '.join(cells)} |" for cells in [head, ("---",) * len(head), *rows])
    yield ""


def _media(answer: Json) -> str:
    content = {media: value for media, value in answer.get("content", {}).items() if media != _PROBLEM}
    return "; ".join(f"{_type(value['schema'])} (`{media}`)" for media, value in content.items())


def _codes(answer: Json) -> str:
    return ", ".join(f"`{code}`" for code in answer.get("content", {}).get(_PROBLEM, {}).get("examples", {}))


def _body(schema: Json) -> str:
    """The fields of a form, or the type of another body."""
    if "properties" not in schema:
        return _text(schema) or _type(schema)
    return "; ".join(
        f"`{name}`: {(_text(field) or _type(field)).rstrip('.')}" for name, field in schema["properties"].items()
    )


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(choice) for choice in choices))
    if values := schema.get("enum") or ("const" in schema and [schema["const"]]):
        return ", ".join(f"`{value}`" for value in values)
    return _plain_type(schema)


def _plain_type(schema: Json) -> str:
    match schema:
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}"
        case {"type": "object", "additionalProperties": dict() as values}:
            return f"object of {_type(values)}"
        case {"type": "string", "format": "date-time"}:
            return "date and time"
        case {"type": "string", "format": _} | {"type": "string", "contentMediaType": _}:
            return "bytes"
    return f"{schema.get('type', 'any')}{_bounds(schema)}"


def _bounds(schema: Json) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and high is None:
        return ""
    return f" from {low:g}" if high is None else f" {low:g} to {high:.10g}"


def _text(of: Json) -> str:
    """The description in one line, for a cell of a table."""
    return " ".join(str(of.get("description", "")).split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(openapi()), encoding="utf-8")
