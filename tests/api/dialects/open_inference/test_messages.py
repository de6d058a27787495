from typing import Any

import numpy as np
import orjson
import pytest

from api.dialects.open_inference.messages import InferRequest, header_length, parse_request, render_response
from api.problems import InvalidRequestError, RequestError
from loaders.tensors import Tensor

INPUT = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.5]}


def as_text(value: object, _: str) -> bytes:
    return str(value).encode()


def parse(message: object, rest: bytes = b"", *, binary: bool = False) -> InferRequest:
    header = orjson.dumps(message)
    return parse_request(memoryview(header + rest), len(header) if binary else None, as_text)


def with_input(**members: object) -> dict[str, Any]:
    entry = {**INPUT, **members}
    return {"inputs": [{name: value for name, value in entry.items() if value is not None}]}


def test_json_and_binary_inputs_may_be_mixed() -> None:
    raw = {"name": "y", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}}
    request = parse({"id": "42", "inputs": [raw, INPUT]}, b"\2\0\0\0hi", binary=True)
    assert request.id == "42"
    assert [tensor.array.tolist() for tensor in request.inputs] == [[b"hi"], [1, 2.5]]


def test_outputs_and_parameters_are_read() -> None:
    output = {"name": "y", "parameters": {"binary_data": True, "classification": 3}}
    request = parse({**with_input(), "outputs": [output], "parameters": {"binary_data_output": True, "top_k": 2}})
    assert (request.outputs[0].classes, request.outputs[0].binary, request.binary) == (3, True, True)
    assert request.parameters["top_k"] == 2


@pytest.mark.parametrize(
    "message",
    [
        [],
        {},
        {"inputs": []},
        {"inputs": [1]},
        {"inputs": [{}]},
        {**with_input(), "id": 1},
        {**with_input(), "parameters": []},
        {**with_input(), "outputs": {}},
        {**with_input(), "outputs": [{}]},
        {**with_input(), "outputs": [{"name": "y", "parameters": {"classification": -1}}]},
        {**with_input(), "outputs": [{"name": "y", "parameters": {"classification": "all"}}]},
        {"inputs": [INPUT, INPUT]},
        with_input(datatype="FP8"),
        with_input(datatype=[]),
        with_input(data=None),
        with_input(parameters={"binary_data_size": 8}),
        with_input(data=None, parameters={"binary_data_size": 8}),
        with_input(data=None, parameters={"binary_data_size": -1}),
        with_input(data=None, parameters={"binary_data_size": True}),
        with_input(data=None, parameters={"shared_memory_region": "r"}),
    ],
)
def test_invalid_messages_are_rejected(message: object) -> None:
    with pytest.raises(RequestError):
        parse(message)


def test_left_over_bytes_are_rejected() -> None:
    with pytest.raises(InvalidRequestError, match="additional input data: 3 bytes"):
        parse(with_input(), b"abc", binary=True)


def test_header_longer_than_the_body_is_rejected() -> None:
    with pytest.raises(InvalidRequestError, match=r"\(0, 2\), got: 99999"):
        parse_request(memoryview(b"{}"), 99999, as_text)


@pytest.mark.parametrize("value", ["-1", "1.5", "x", "", "²", "9" * 40])
def test_invalid_header_lengths_are_rejected(value: str) -> None:
    with pytest.raises(InvalidRequestError, match="whole number"):
        header_length(value)


def test_json_nested_without_end_is_rejected() -> None:
    with pytest.raises(InvalidRequestError, match="JSON"):
        parse_request(memoryview(b"[" * 100_000), None, as_text)


def test_response_has_json_and_binary_outputs_in_order() -> None:
    output = {"name": "b", "parameters": {"binary_data": True}}
    request = parse({**with_input(), "id": "7", "outputs": [{"name": "a"}, output]})
    outputs: dict[str, Tensor] = {"a": np.array([[1, 2]], np.int32), "b": np.array([1], np.uint8)}
    body, json_bytes = render_response(request, "m", 3, outputs)
    assert json_bytes
    assert orjson.loads(body[:json_bytes]) == {
        "model_name": "m",
        "model_version": "3",
        "id": "7",
        "outputs": [
            {"name": "a", "datatype": "INT32", "shape": [1, 2], "data": [1, 2]},
            {"name": "b", "datatype": "UINT8", "shape": [1], "parameters": {"binary_data_size": 1}},
        ],
    }
    assert body[json_bytes:] == b"\1"
