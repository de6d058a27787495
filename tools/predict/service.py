"""Answers about pictures from a running service (`--url`)."""

import os
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Annotated, Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
from pydantic import Field, TypeAdapter

from engine.explain.target import TargetQuery
from engine.models.loaded_model import ModelRef
from engine.tasks.predictions import (
    Classification,
    DepthMap,
    Detection,
    Embedding,
    FaceDetection,
    GeneratedText,
    InstanceSegment,
    KeypointDetection,
    OrientedDetection,
    OutputTensor,
    Segment,
)
from engine.tasks.task import PredictOptions
from loaders.images.base import ImageInfo, ImageLoader
from tools.predict.predictor import Answered

KEY_VARIABLE = "FOVEA_KEY"

_CONNECTIONS = 8
_TIMEOUT_S = 120
# How often a request is repeated that the service rejects because of load, and how long it waits before.
_ATTEMPTS, _LONGEST_WAIT_S = 20, 30

# The first kind whose fields are all there, so the ones with more fields come first.
_Kinds = (
    FaceDetection | OrientedDetection | KeypointDetection | InstanceSegment | Segment | Detection
    | DepthMap | GeneratedText | Embedding | OutputTensor | Classification
)  # fmt: skip
_PREDICTIONS = TypeAdapter(list[Annotated[_Kinds, Field(union_mode="left_to_right")]])
_MODEL = TypeAdapter(ModelRef)


class ServiceError(OSError):
    """The service did not answer, or answered with an error; the message has its detail."""


class ServicePredictor:
    """A model of the service at `url`, which may have a path prefix. The key is in FOVEA_KEY."""

    def __init__(self, url: str, name: str | None, image_loader: ImageLoader) -> None:
        """Raises ServiceError."""
        self._parts = urlsplit(url if "//" in url else f"http://{url}")
        self._image_loader = image_loader
        self._idle: list[HTTPConnection] = []
        try:
            name = name or str(self._json("GET", "/models")["default"])
            details = self._json("GET", f"/models/{quote(name, safe='')}")
        finally:
            self.close()
        spec: Mapping[str, Any] = {field: report["value"] for field, report in details["spec"].items()}
        self.model = _MODEL.validate_python(
            {"name": name, "version": details["serving"] or details["active"], "task": spec["task"]}
        )
        self.labels: Sequence[str] = spec.get("labels") or ()
        self.concurrency = _CONNECTIONS

    def __call__(self, data: bytes, options: PredictOptions, *, with_picture: bool) -> Answered:
        query = {"model": self.model.name, "top_k": options.top_k, "threshold": options.threshold}
        given = {name: value for name, value in query.items() if value is not None}
        answer = self._json("POST", f"/infer?{urlencode(given)}", data)
        image = dict(answer["image"])
        del image["filename"]
        return Answered(
            _MODEL.validate_python(answer["model"]),
            ImageInfo(**image),
            _PREDICTIONS.validate_python(answer["predictions"]),
            answer["timings_ms"],
            self._image_loader.load(data) if with_picture else None,
        )

    def explain(self, data: bytes, query: TargetQuery, media_type: str) -> bytes:
        box = query.box
        sides = f"{box.xmin},{box.ymin},{box.xmax},{box.ymax}" if box else None
        query = {"model": self.model.name, "class_id": query.class_id, "box": sides}
        given = {name: value for name, value in query.items() if value is not None}
        return self._send("POST", f"/explain?{urlencode(given)}", data, media_type)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _json(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """Raises ServiceError."""
        answer: dict[str, Any] = _parsed(self._send(method, path, body))
        return answer

    def _send(self, method: str, path: str, body: bytes | None = None, accept: str = "application/json") -> bytes:
        """Waits as long as the service asks for if it is busy. Raises ServiceError."""
        for _ in range(_ATTEMPTS):
            try:
                status, wait_s, answer = self._exchange(method, path, body, accept)
            except (HTTPException, OSError) as error:
                raise ServiceError(f"no answer from {self._parts.geturl()}: {error or type(error).__name__}") from error
            if status not in (429, 503):
                break
            time.sleep(min(wait_s, _LONGEST_WAIT_S))
        if status != 200:
            raise ServiceError(str(_parsed(answer).get("detail", f"status {status}")))
        return answer

    def _exchange(self, method: str, path: str, body: bytes | None, accept: str) -> tuple[int, int, bytes]:
        """The status, seconds to wait, and the body. A connection that the service closed meanwhile is renewed."""
        headers = {"Accept": accept, "Content-Type": "application/octet-stream"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["X-API-Key"] = key
        while True:
            try:
                connection, is_new = self._idle.pop(), False
            except IndexError:
                connection, is_new = self._connect(), True
            try:
                connection.request(method, self._parts.path.rstrip("/") + path, body, headers)
                response = connection.getresponse()
                data = response.read()
            except (HTTPException, OSError):
                connection.close()
                if is_new:
                    raise
                continue
            self._idle.append(connection)
            wait = response.headers.get("Retry-After", "1")
            return response.status, int(wait) if wait.isdecimal() else 1, data

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=_TIMEOUT_S)


def _parsed(answer: bytes) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = orjson.loads(answer)
    except orjson.JSONDecodeError:
        raise ServiceError(f"the service did not answer in JSON: {answer[:80]!r}") from None
    return fields
