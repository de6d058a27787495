import struct
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dialects.open_inference import codec
from api.problems import InvalidRequestError

NUMBERS = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, -2.0],
    "FP32": [0.1, 3e38],
    "FP64": [0.1, 1e300],
}


def as_text(value: object, _: str) -> bytes:
    return str(value).encode()


def from_json(datatype: str, shape: tuple[int, ...], data: object) -> codec.NamedTensor:
    return codec.from_json("x", datatype, shape, data, as_text)


def from_bytes(datatype: str, shape: tuple[int, ...], data: bytes) -> codec.NamedTensor:
    return codec.from_bytes("x", datatype, shape, memoryview(data))


@pytest.mark.parametrize(("datatype", "values"), NUMBERS.items())
def test_numbers_are_the_same_in_json_and_as_bytes(datatype: str, values: list[Any]) -> None:
    array = from_json(datatype, (2, 1), [[values[0]], [values[1]]]).array
    assert from_bytes(datatype, (2, 1), codec.to_bytes(array)).array.tolist() == array.tolist()
    data, parameters = codec.to_json("x", array)
    assert (orjson.loads(orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)), parameters) == (values, {})


def test_float32_in_json_is_the_shortest_decimal() -> None:
    data, _ = codec.to_json("x", np.array([0.1], np.float32))
    assert orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY) == b"[0.1]"


def test_unaligned_bytes_become_an_aligned_array() -> None:
    array = codec.from_bytes("x", "FP32", (1,), memoryview(b"\0" + struct.pack("<f", 1.5))[1:]).array
    assert array.flags.aligned
    assert array.tolist() == [1.5]


def test_bf16_is_read_as_float32() -> None:
    upper_half = struct.pack("<f", 1.5)[2:]
    assert from_bytes("BF16", (1,), upper_half).array.tolist() == [1.5]


def test_bytes_survive_the_trip() -> None:
    elements = [b"", b"\xff\0", b"text"]
    tensor = from_bytes("BYTES", (3, 1), codec.to_bytes(codec.objects(elements, (3, 1))))
    assert tensor.array.tolist() == [[element] for element in elements]


def test_bytes_in_json_are_text_or_base64() -> None:
    assert codec.to_json("x", codec.objects([b"a", b"\xc3\xa4"], (2,))) == (["a", "ä"], {})
    assert codec.to_json("x", codec.objects([b"a", b"\xff"], (2,))) == (["YQ==", "/w=="], {"content_type": "base64"})


def test_nan_has_no_json_form() -> None:
    with pytest.raises(InvalidRequestError, match="binary_data"):
        codec.to_json("x", np.array([np.nan], np.float32))


@pytest.mark.parametrize(
    "shape", [None, 3, [-1], [1.0], [True], ["1"], [2**63], [2**32, 2**32], [0, 2**62, 2**62], [1] * 65]
)
def test_invalid_shapes_are_rejected(shape: object) -> None:
    with pytest.raises(InvalidRequestError, match="shape"):
        codec.read_shape("x", shape)


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("FP32", (2,), [1.0]),
        ("FP32", (1,), 1.0),
        ("FP32", (1,), ["1.0"]),
        ("FP32", (1,), [None]),
        ("FP32", (1,), [True]),
        ("FP32", (2,), [[1.0], 2.0]),
        ("FP32", (1,), [{}]),
        ("INT32", (1,), [1.0]),
        ("INT32", (1,), [2**31]),
        ("UINT8", (1,), [-1]),
        ("UINT64", (1,), [1.2e29]),
        ("BOOL", (1,), [1]),
        ("BF16", (1,), [1.0]),
        ("BYTES", (10_001,), []),
        ("BYTES", (2,), ["one"]),
    ],
)
def test_json_that_does_not_fit_is_rejected(datatype: str, shape: tuple[int, ...], data: object) -> None:
    with pytest.raises(InvalidRequestError, match="'x'"):
        from_json(datatype, shape, data)


def test_deeply_nested_data_are_rejected() -> None:
    data: object = [1.0]
    for _ in range(90):
        data = [data]
    with pytest.raises(InvalidRequestError, match="nested"):
        from_json("FP32", (1,), data)


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("FP32", (2,), bytes(7)),
        ("FP32", (0,), bytes(4)),
        ("BYTES", (1,), b"\1\0\0"),
        ("BYTES", (1,), b"\2\0\0\0a"),
        ("BYTES", (1,), b"\xff\xff\xff\xffa"),
        ("BYTES", (1,), b"\1\0\0\0a" * 2),
        ("BYTES", (3,), b"\1\0\0\0a" * 2),
        ("BYTES", (10_001,), bytes(4)),
    ],
)
def test_bytes_that_do_not_fit_are_rejected(datatype: str, shape: tuple[int, ...], data: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="'x'"):
        from_bytes(datatype, shape, data)


@given(st.sampled_from([*NUMBERS, "BF16", "BYTES"]), st.lists(st.integers(0, 5), max_size=3), st.binary(max_size=64))
def test_any_bytes_are_a_tensor_or_rejected(datatype: str, shape: list[int], data: bytes) -> None:
    try:
        tensor = from_bytes(datatype, tuple(shape), data)
    except InvalidRequestError:
        return
    assert tensor.array.shape == tuple(shape)
