"""Infer requests and responses, and their form over HTTP: JSON, followed by the raw tensors that it announces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from api.dialects.open_inference import codec
from api.dialects.open_inference.codec import NamedTensor, ReadText
from api.problems import InvalidRequestError, NotSupportedError
from api.uploads.base64_pictures import parse_object
from loaders.tensors import Tensor

Json = Mapping[str, Any]

_MOST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """`classes`: of the classification extension, 0 without. `binary`: None if the request decides."""

    name: str
    classes: int = 0
    binary: bool | None = None


@dataclass(frozen=True, slots=True)
class InferRequest:
    """`outputs`: empty for all. `binary`: whether outputs are sent as bytes if they do not say otherwise."""

    inputs: Sequence[NamedTensor]
    outputs: Sequence[RequestedOutput] = ()
    parameters: Json = field(default_factory=dict)
    id: str | None = None
    binary: bool = False


def header_length(value: str | None) -> int | None:
    """`Inference-Header-Content-Length`: bytes of JSON, 0 for a raw body; None without. Raises InvalidRequestError."""
    if value is None:
        return None
    if not value.isascii() or not value.isdecimal() or len(value) > _MOST_DIGITS:
        raise InvalidRequestError(f"Inference-Header-Content-Length must be a whole number, not {value[:20]!r}")
    return int(value)


def parse_request(body: memoryview, json_bytes: int | None, read_text: ReadText) -> InferRequest:
    """`json_bytes`: see `header_length`. Raises InvalidRequestError, NotSupportedError, and what `read_text` raises."""
    if json_bytes is not None and json_bytes > len(body):
        raise InvalidRequestError(f"inference header size should be in range (0, {len(body)}), got: {json_bytes}")
    message = parse_json(body[:json_bytes])
    parameters = _parameters(message, "the request")
    entries = message.get("inputs")
    if not isinstance(entries, list) or not entries:
        raise InvalidRequestError("the request needs 'inputs': a list of at least one tensor")
    request_id = message.get("id")
    if not isinstance(request_id, str | None):
        raise InvalidRequestError("'id' must be a string")
    reader = _InputReader(memoryview(b"") if json_bytes is None else body[json_bytes:], read_text)
    inputs = [reader.read(entry) for entry in entries]
    reader.check_ended()
    names = [tensor.name for tensor in inputs]
    if len(set(names)) < len(names):
        raise InvalidRequestError("an input is given twice")
    binary = parameters.get("binary_data_output", False) is True
    return InferRequest(inputs, _outputs(message.get("outputs")), parameters, request_id, binary)


def parse_json(body: memoryview) -> Json:
    """Raises InvalidRequestError if it is not a JSON object."""
    return parse_object(body, InvalidRequestError)


def render_response(
    request: InferRequest, model: str, version: int, outputs: Mapping[str, Tensor]
) -> tuple[bytes, int | None]:
    """The body, and the bytes of its JSON if raw tensors follow. Raises InvalidRequestError."""
    requested = {output.name: output for output in request.outputs}
    entries, blobs = list[Json](), list[bytes]()
    for name, array in outputs.items():
        binary = requested[name].binary if name in requested else None
        entry: dict[str, Any] = {
            "name": name,
            "datatype": codec.DATATYPES[array.dtype.name],
            "shape": array.shape,
        }
        if request.binary if binary is None else binary:
            blobs.append(codec.to_bytes(array))
            entry["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            entry["data"], parameters = codec.to_json(name, array)
            if parameters:
                entry["parameters"] = parameters
        entries.append(entry)
    message: dict[str, Any] = {
        "model_name": model,
        "model_version": str(version),
        "outputs": entries,
    }
    if request.id:
        message["id"] = request.id
    body = orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join([body, *blobs]), len(body) if blobs else None


class _InputReader:
    """Reads inputs in their order; `rest` are the raw tensors that the next ones announce."""

    def __init__(self, rest: memoryview, read_text: ReadText) -> None:
        self._rest, self._read_text = rest, read_text

    def read(self, entry: object) -> NamedTensor:
        if not isinstance(entry, dict) or not isinstance(name := entry.get("name"), str):
            raise InvalidRequestError("each of 'inputs' must be an object with a 'name'")
        shape = codec.read_shape(name, entry.get("shape"))
        datatype = codec.check_datatype(name, entry.get("datatype"))
        parameters = _parameters(entry, f"input '{name}'")
        if "shared_memory_region" in parameters:
            raise NotSupportedError(f"input '{name}' is in shared memory, which is not enabled; send its data")
        size = parameters.get("binary_data_size")
        if (size is None) == ("data" not in entry):
            raise InvalidRequestError(f"input '{name}' needs either 'data' or the parameter 'binary_data_size'")
        if size is None:
            return codec.from_json(name, datatype, shape, entry["data"], self._read_text)
        if type(size) is not int or not 0 <= size <= len(self._rest):
            raise InvalidRequestError(
                f"binary_data_size of input '{name}' must be a number of bytes up to {len(self._rest)}, which are left"
            )
        data, self._rest = self._rest[:size], self._rest[size:]
        return codec.from_bytes(name, datatype, shape, data)

    def check_ended(self) -> None:
        if self._rest:
            raise InvalidRequestError(f"unexpected additional input data: {len(self._rest)} bytes")


def _outputs(entries: object) -> list[RequestedOutput]:
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise InvalidRequestError("'outputs' must be a list")
    return [_output(entry) for entry in entries]


def _output(entry: object) -> RequestedOutput:
    if not isinstance(entry, dict) or not isinstance(name := entry.get("name"), str):
        raise InvalidRequestError("each of 'outputs' must be an object with a 'name'")
    parameters = _parameters(entry, f"output '{name}'")
    if "shared_memory_region" in parameters:
        raise NotSupportedError(f"output '{name}' is requested in shared memory, which is not enabled")
    binary = parameters.get("binary_data")
    return RequestedOutput(name, class_count(name, parameters.get("classification", 0)), binary and binary is True)


def class_count(name: str, value: object) -> int:
    """The parameter `classification` of an output. Raises InvalidRequestError."""
    if type(value) is int and value >= 0:
        return value
    raise InvalidRequestError(f"the parameter 'classification' of output '{name}' must be a number of classes")


def _parameters(owner: Json, what: str) -> Json:
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"the parameters of {what} must be an object")
    return parameters
