"""The OpenAPI document: what /openapi.json says beyond the routes' own types."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api.problems import KINDS, MEDIA_TYPE, Problem, title_of
from api.schemas import DefaultBody, ProblemDetails, VersionBody

TAGS = [
    {"name": "inference", "description": "Send pictures, get predictions."},
    {"name": "models", "description": "Models, their versions, specs and states."},
    {"name": "models: change", "description": "Upload, load, activate and delete models. Needs an admin key."},
    {"name": "health", "description": "Probes and metrics for orchestrators and monitoring."},
]
# Relative to the document, so that clients find the service behind any path prefix.
SERVERS = [{"url": ".", "description": "The service that serves this document."}]
# Shapes that routes read or send themselves: FastAPI does not see them.
_EXTRA_SCHEMAS: tuple[type[BaseModel], ...] = (ProblemDetails, DefaultBody, VersionBody)


def operation_id(route: APIRoute) -> str:
    """The name of the route's function: `infer`, `list_models`."""
    return route.name


# Binary parts: OpenAPI 3.1 needs no `format`, but Swagger's file picker and most generators do.
def _file(description: str) -> dict[str, Any]:
    return {"type": "string", "format": "binary", "description": description}


def _base64(description: str) -> dict[str, Any]:
    return {"type": "string", "description": f"{description} In base64, or as a data URI; not a URL."}


def _body(
    description: str,
    form: dict[str, Any],
    required: str,
    raw: str | None = None,
    json: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A multipart form with the properties `form`; with `raw`, also that file as the whole body.

    `json`: the properties of a JSON body.
    """
    content: dict[str, Any] = {
        media_type: {"schema": {"type": "object", "properties": properties, "required": [required]}}
        for media_type, properties in (("multipart/form-data", form), ("application/json", json))
        if properties
    }
    if raw:
        content["application/octet-stream"] = {"schema": _file(raw)}
    return {"requestBody": {"required": True, "description": description, "content": content}}


PICTURE_BODY = _body(
    "One picture: the form field `image`, the raw body, or base64 in a JSON object. A raw body may have any other "
    "Content-Type, such as `image/jpeg`; the format is detected from the bytes.",
    {"image": _file("The picture.")},
    required="image",
    raw="The picture.",
    json={"image": _base64("The picture.")},
)
PICTURE_AND_REFERENCE_BODY = _body(
    "One picture, sent as to `/infer`. Models for embeddings need a second one.",
    {"image": _file("The picture."), "reference": _file("The picture to compare with, for embeddings.")},
    required="image",
    raw="The picture.",
    json={"image": _base64("The picture."), "reference": _base64("The picture to compare with, for embeddings.")},
)
PICTURES_BODY = _body(
    "Pictures, each a form field `images`, or base64 in a JSON object.",
    {"images": {"type": "array", "items": _file("A picture."), "description": "The pictures."}},
    required="images",
    json={"images": {"type": "array", "items": _base64("A picture."), "description": "The pictures."}},
)
MODEL_BODY = _body(
    "An .onnx file: the form field `model`, or the raw body. Weights in other files: the form fields `data`.",
    {
        "model": _file("The .onnx file."),
        "spec": _file("A model.toml, for models whose file does not describe its own pre- and postprocessing."),
        "labels": _file("A labels.txt, one label a line."),
        "data": {
            "type": "array",
            "items": _file("A file of weights, with the name that the graph has for it (model.onnx.data)."),
        },
    },
    required="model",
    raw="The .onnx file.",
)

# A key is needed only where API_KEYS is set: the empty alternative comes first.
WITH_KEY: dict[str, Any] = {"security": [{}, {"bearer": []}, {"api_key": []}]}
WITH_ADMIN_KEY: dict[str, Any] = {"security": [{"bearer": []}, {"api_key": []}]}
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <key>`"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`X-API-Key: <key>`"},
}


def json_body(shape: type[BaseModel]) -> dict[str, Any]:
    """A JSON body that the route reads itself, after its guard."""
    schema = {"$ref": f"#/components/schemas/{shape.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def picture_responses(media_types: Sequence[str]) -> dict[int | str, dict[str, Any]]:
    """A response that is a picture if the client accepts one of these types."""
    schema = {"schema": _file("The picture with the answer drawn on it.")}
    return {200: {"content": dict.fromkeys(media_types, schema), "description": "The answer."}}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problem details for each status, with one example for each of its codes."""
    return {status: _error_response(status) for status in statuses}


def _error_response(status: int) -> dict[str, Any]:
    codes = list(dict.fromkeys(kind.code for kind in KINDS.values() if kind.status == status)) or ["internal_error"]
    return {
        "description": f"{title_of(status)}: {', '.join(f'`{code}`' for code in codes)}",
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"},
                "examples": {code: {"value": _example(status, code)} for code in codes},
            }
        },
    }


def _example(status: int, code: str) -> dict[str, Any]:
    problem = Problem(status, code, "What is wrong, what is allowed, and what to do.")
    return problem.details() | {"request_id": "b7c1f2a09c3d4f0e8a55d1d2b1a3c4e5"}


def extend_openapi(app: FastAPI) -> None:
    """Adds the server, tags, keys, and the schemas of errors and JSON bodies, which FastAPI does not see."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        routes=app.routes,
        tags=TAGS,
        servers=SERVERS,
    )
    components = document["components"]
    components["securitySchemes"] = _KEYS
    for shape in _EXTRA_SCHEMAS:
        components["schemas"][shape.__name__] = shape.model_json_schema()
    return document
