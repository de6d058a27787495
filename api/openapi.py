"""What /openapi.json says beyond what the routes' types say: bodies that are pictures, and errors."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from api.problems import KINDS, MEDIA_TYPE, Kind
from api.schemas import ProblemDetails

_PICTURE = {"type": "string", "format": "binary"}
PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One picture: as the form field `image`, or as the whole body.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {**_PICTURE, "description": "The picture."}},
                    "required": ["image"],
                }
            },
            "application/octet-stream": {"schema": _PICTURE},
            "image/*": {"schema": _PICTURE},
        },
    }
}
PICTURES_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "Pictures, each as a form field `images`.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"images": {"type": "array", "items": _PICTURE, "description": "The pictures."}},
                    "required": ["images"],
                }
            }
        },
    }
}


# A key is needed only where API_KEYS is set: the empty choice comes first.
WITH_KEY: dict[str, Any] = {"security": [{}, {"bearer": []}, {"api_key": []}]}
WITH_ADMIN_KEY: dict[str, Any] = {"security": [{"bearer": []}, {"api_key": []}]}
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


MODEL_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "An .onnx file as the whole body, or a form.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "model": {**_PICTURE, "description": "The .onnx file."},
                        "spec": {**_PICTURE, "description": "A model.toml, where the file does not tell enough."},
                        "labels": {**_PICTURE, "description": "A labels.txt, one label a line."},
                    },
                    "required": ["model"],
                }
            },
            "application/octet-stream": {"schema": _PICTURE},
        },
    }
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documentation of those statuses, with an example for each code that comes with one."""
    return {status: _error_response(status) for status in statuses}


def _error_response(status: int) -> dict[str, Any]:
    codes = [kind.code for kind in KINDS.values() if kind.status == status] or ["internal_error"]
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{code}`' for code in codes)}",
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"},
                "examples": {code: {"value": _example(Kind(status, code))} for code in codes},
            }
        },
    }


def _example(kind: Kind) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": HTTPStatus(kind.status).phrase,
        "status": kind.status,
        "detail": "What is wrong, and what to do about it.",
        "code": kind.code,
        "request_id": "b7c1f2a09c3d4f0e8a55d1d2b1a3c4e5",
    }


def describe(app: FastAPI, model_names: Callable[[], Sequence[str]]) -> None:
    """Adds what no route's type mentions to the document: the error's schema, the keys, the models there are now."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["components"]["schemas"].setdefault(ProblemDetails.__name__, ProblemDetails.model_json_schema())
        document["components"]["securitySchemes"] = _KEYS
        _offer_models(document, model_names())
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _offer_models(document: dict[str, Any], names: Sequence[str]) -> None:
    """A drop-down in Swagger; the document is the app's own, so it follows what is there at every call."""
    infer, batch = (document["paths"][path]["post"]["parameters"] for path in ("/infer", "/infer/batch"))
    for parameter in (*infer, *batch):
        if parameter["name"] == "model":
            items: dict[str, Any] = parameter["schema"]["items"]
            items.pop("enum", None)
            items |= {"enum": list(names)} if names else {}
