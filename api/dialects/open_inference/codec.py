"""Tensors as the protocol encodes them: numbers in JSON, or little-endian bytes in row-major order.

| datatype | in JSON | as bytes |
|---|---|---|
| BOOL | true, false | one byte |
| INT8 to INT64, UINT8 to UINT64 | integers | 1 to 8 bytes |
| FP16, FP32, FP64 | numbers | 2 to 8 bytes |
| BF16 | not supported | the upper half of an FP32; read as FP32 |
| BYTES | text; pictures in base64 | each element after its length, a uint32 |
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from api.problems import InvalidRequestError
from engine.tasks.outputs import to_base64
from loaders.tensors import Tensor

BYTES, BF16 = "BYTES", "BF16"
DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": BYTES,
    "object": BYTES,
}
_DTYPES = {datatype: np.dtype(name) for name, datatype in DATATYPES.items() if datatype != BYTES}
_JSON_TYPES: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}
_LENGTH = struct.Struct("<I")
_MAX_DIMENSIONS = 32
_MAX_ELEMENTS = 1 << 40
_MAX_STRINGS = 10_000  # each becomes an object; more pictures are not allowed in a request either

# Reads one element of a BYTES tensor in JSON; takes its place for the error, too.
ReadText = Callable[[object, str], bytes]


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """`array`: of dtype object with elements of type bytes for BYTES, of float32 for BF16."""

    name: str
    datatype: str
    array: Tensor


def read_shape(name: str, shape: object) -> tuple[int, ...]:
    """Raises InvalidRequestError."""
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
        raise InvalidRequestError(f"the shape of input '{name}' must be a list of whole numbers, 0 or more")
    if math.prod(side or 1 for side in shape) > _MAX_ELEMENTS or len(shape) > _MAX_DIMENSIONS:
        raise InvalidRequestError(f"the shape of input '{name}' is too large")
    return tuple(shape)


def check_datatype(name: str, datatype: object) -> str:
    """Raises InvalidRequestError."""
    if isinstance(datatype, str) and datatype in {*_DTYPES, BF16, BYTES}:
        return datatype
    raise InvalidRequestError(f"the datatype of input '{name}' must be one of: {', '.join([*_DTYPES, BF16, BYTES])}")


def from_bytes(name: str, datatype: str, shape: tuple[int, ...], data: memoryview) -> NamedTensor:
    """A tensor that shares the memory of `data`, unless it is BYTES. Raises InvalidRequestError."""
    if datatype == BYTES:
        elements = _split(name, data, _string_count(name, shape))
        return NamedTensor(name, datatype, to_strings(name, elements, shape))
    dtype = np.dtype("<u2") if datatype == BF16 else _DTYPES[datatype].newbyteorder("<")
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise InvalidRequestError(f"input '{name}' has {len(data)} bytes; its shape and datatype need {expected}")
    array: Tensor = np.frombuffer(data, np.uint8 if dtype.kind == "b" else dtype)
    if dtype.kind == "b":
        array = array != 0
    if datatype == BF16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return NamedTensor(name, datatype, np.require(array, requirements="A").reshape(shape))


def from_json(name: str, datatype: str, shape: tuple[int, ...], data: object, read_text: ReadText) -> NamedTensor:
    """`data`: numbers or text, flat or nested. Raises InvalidRequestError, and what `read_text` raises."""
    values = _flat(name, data)
    _check_count(name, len(values), shape)
    if datatype == BYTES:
        _string_count(name, shape)
        elements = [read_text(text, f"element {index} of input '{name}'") for index, text in enumerate(values)]
        return NamedTensor(name, datatype, objects(elements, shape))
    if datatype == BF16:
        raise InvalidRequestError(f"input '{name}' is BF16, which JSON cannot represent; send it as binary data")
    dtype = _DTYPES[datatype]
    if not set(map(type, values)) <= _JSON_TYPES[dtype.kind]:
        raise InvalidRequestError(f"the data of input '{name}' must be values of the datatype {datatype}")
    return NamedTensor(name, datatype, to_array(name, datatype, values, shape))


def to_array(name: str, datatype: str, values: Any, shape: tuple[int, ...]) -> Tensor:  # noqa: ANN401 - numbers of any type
    """Raises InvalidRequestError for integers out of range, or too many values for the shape."""
    _check_count(name, len(values), shape)
    try:
        with np.errstate(over="ignore"):
            return np.array(values, _DTYPES[datatype]).reshape(shape)
    except OverflowError:
        raise InvalidRequestError(f"the data of input '{name}' are out of the range of {datatype}") from None


def to_strings(name: str, elements: list[bytes], shape: tuple[int, ...]) -> Tensor:
    """Raises InvalidRequestError for too many or too few elements for the shape."""
    _check_count(name, len(elements), shape)
    return objects(elements, shape)


def to_bytes(array: Tensor) -> bytes:
    if array.dtype == object:
        elements = [_encoded(element) for element in array.reshape(-1)]
        return b"".join(chain.from_iterable((_LENGTH.pack(len(element)), element) for element in elements))
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def to_json(name: str, array: Tensor) -> tuple[Any, dict[str, str]]:
    """Flat data for orjson, and the parameters of the output. BYTES that are not text are base64.

    Raises InvalidRequestError for NaN and infinity, which JSON cannot represent.
    """
    if array.dtype == object:
        elements = [_encoded(element) for element in array.reshape(-1)]
        try:
            return [element.decode() for element in elements], {}
        except UnicodeDecodeError:
            texts = [to_base64(np.frombuffer(element, np.uint8)) for element in elements]
            return texts, {"content_type": "base64"}
    if not np.isfinite(array).all():
        raise InvalidRequestError(
            f"the output '{name}' contains NaN or infinity, which JSON cannot represent; request it with binary_data"
        )
    return np.ascontiguousarray(array).reshape(-1), {}


def objects(elements: list[bytes], shape: tuple[int, ...]) -> Tensor:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)


def _encoded(element: object) -> bytes:
    return element if isinstance(element, bytes) else str(element).encode()


def _string_count(name: str, shape: tuple[int, ...]) -> int:
    count = math.prod(shape)
    if count > _MAX_STRINGS:
        raise InvalidRequestError(f"input '{name}' has more than {_MAX_STRINGS} elements")
    return count


def _split(name: str, data: memoryview, most: int) -> list[bytes]:
    elements: list[bytes] = []
    at = 0
    while at < len(data):
        if len(elements) == most:
            raise InvalidRequestError(f"input '{name}' has more than {most} elements, which its shape says")
        if at + _LENGTH.size > len(data):
            raise InvalidRequestError(f"element {len(elements)} of input '{name}' ends inside its length")
        [length] = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            left = len(data) - at
            raise InvalidRequestError(f"element {len(elements)} of input '{name}' has {left} of its {length} bytes")
        elements.append(bytes(data[at : at + length]))
        at += length
    return elements


def _flat(name: str, data: object) -> list[object]:
    if not isinstance(data, list):
        raise InvalidRequestError(f"the data of input '{name}' must be a list")
    values: list[Any] = data
    for _ in range(_MAX_DIMENSIONS):
        kinds = set(map(type, values))
        if list not in kinds:
            return values
        if kinds != {list}:
            break
        values = list(chain.from_iterable(values))
    raise InvalidRequestError(f"the data of input '{name}' are not evenly nested lists")


def _check_count(name: str, count: int, shape: tuple[int, ...]) -> None:
    if count != math.prod(shape):
        raise InvalidRequestError(f"input '{name}' has {count} elements; its shape needs {math.prod(shape)}")
