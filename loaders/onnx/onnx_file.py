"""Reads inputs, outputs and metadata of an .onnx file, without a runtime and without its weights.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from loaders.model_errors import ModelFileError
from loaders.onnx.onnx_ops import Node, op_behind
from loaders.onnx.protobuf import EndOfDataError, Field, WireError, WireReader, signed
from loaders.tensors import TensorInfo
from utils.files import open_regular

_MAX_SUBGRAPH_DEPTH = 32
_MAX_DIMENSIONS = 64

_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """`inputs` leaves out those with a weight as default; sequences and maps have "sequence" and "map" as dtype.

    `last_ops`: by output, the operator that computes its values ("Softmax"), see `op_behind`. `weight_bytes`: by
    operator ("Conv"), the bytes of the weights that it reads, outside loops and branches.
    `external_files`: unchecked, as the file names them.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    metadata: Mapping[str, str]
    last_ops: Mapping[str, str]
    external_files: tuple[str, ...]
    weight_bytes: Mapping[str, int]


def read_onnx(path: Path) -> OnnxGraph:
    """Raises ModelFileError, whatever the file contains."""
    try:
        size = path.stat().st_size
        if size == 0:
            raise ModelFileError(f"{path.name} is empty (0 bytes)")
        with open_regular(path) as file:
            return _Model(WireReader(file, size), path.name).read()
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror}") from error


def check_external_files(path: Path, graph: OnnxGraph) -> None:
    """Raises ModelFileError for external weights that are missing or outside the graph's folder."""
    folder = path.parent.resolve()
    for name in graph.external_files:
        location = PurePosixPath(name.replace("\\", "/"))
        outside = not name or "\0" in name or ":" in name or location.is_absolute() or ".." in location.parts
        if outside or not _resolved(folder / location).is_relative_to(folder):
            raise ModelFileError(f"{path.name}: the external weights {name!r} are outside its folder")
        if not os.path.isfile(folder / location):  # noqa: PTH113 - Path.is_file raises for names that are too long
            raise ModelFileError(f"{path.name}: the external weights {name!r} are missing; put that file beside it")


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a symlink loop, a name that is too long
        return Path("/")


_WEB_PAGE = "a web page, not a model; download the model again"
_NOT_MODELS = {
    b"version https://git-lfs": "a Git LFS pointer, not the model; fetch the model with `git lfs pull`",
    b"<!doctype": _WEB_PAGE,
    b"<html": _WEB_PAGE,
}


class _Model:
    """Collects the fields of a ModelProto. Repeated messages are merged, as protocol buffers do."""

    def __init__(self, reader: WireReader, name: str) -> None:
        self._reader, self._name = reader, name
        self._inputs: list[TensorInfo] = []
        self._outputs: list[TensorInfo] = []
        self._weights: dict[str, int] = {}
        self._nodes: dict[str, Node] = {}
        self._metadata: dict[str, str] = {}
        self._external: dict[str, None] = {}
        self._ir_version = 0

    def read(self) -> OnnxGraph:
        try:
            for field in self._reader.fields(0, self._reader.size):
                self._model_field(field)
        except EndOfDataError as error:
            kind = "truncated" if 0 < self._ir_version < 1000 else "not an ONNX model"
            raise self._error(f"{kind}: it ends in the middle of a field") from error
        except (WireError, RecursionError) as error:
            raise self._error(f"not an ONNX model, or a damaged one: it has {error}") from error
        if not self._ir_version or not self._outputs:
            raise ModelFileError(f"{self._name} is not an ONNX model: it has no graph with an output")
        return self._graph()

    def _error(self, problem: str) -> ModelFileError:
        head = self._reader.head().lstrip().lower()
        known = next((kind for start, kind in _NOT_MODELS.items() if head.startswith(start)), None)
        return ModelFileError(f"{self._name} is {known or problem}")

    def _graph(self) -> OnnxGraph:
        return OnnxGraph(
            inputs=tuple(tensor for tensor in self._inputs if tensor.name not in self._weights),
            outputs=tuple(self._outputs),
            metadata=self._metadata,
            last_ops={o.name: op for o in self._outputs if (op := op_behind(o.name, self._nodes))},
            external_files=tuple(self._external),
            weight_bytes=self._weight_bytes(),
        )

    def _weight_bytes(self) -> dict[str, int]:
        found = defaultdict[str, int](int)
        for node in {id(node): node for node in self._nodes.values()}.values():
            found[node.op] += sum(self._weights.get(name, 0) for name in node.inputs)
        return found

    def _model_field(self, field: Field) -> None:
        match field.number:
            case 1:
                self._ir_version = field.value
            case 7:
                self._read_graph(field, 0)
            case 14:
                key, value = self._entry(field)
                self._metadata[key] = value
            case 25:
                for part in self._reader.messages(field):
                    if part.number == 7:
                        self._read_node(part, 1)

    def _entry(self, field: Field) -> tuple[str, str]:
        """Returns key and value of a StringStringEntryProto."""
        parts = {part.number: self._reader.text(part) for part in self._reader.messages(field)}
        return parts.get(1, ""), parts.get(2, "")

    def _read_graph(self, field: Field, depth: int) -> None:
        if depth > _MAX_SUBGRAPH_DEPTH:
            raise WireError("graphs nested too deeply")
        for part in self._reader.messages(field):
            match part.number:
                case 1:
                    self._read_node(part, depth)
                case 5:
                    name, size = self._read_tensor(part)
                    if depth == 0:
                        self._weights[name] = size
                case 11 | 12 if depth == 0:
                    (self._inputs if part.number == 11 else self._outputs).append(self._value_info(part))
                case 15:
                    name = self._read_sparse(part)
                    if depth == 0:
                        self._weights[name] = 0

    def _read_node(self, field: Field, depth: int) -> None:
        names = defaultdict[int, list[str]](list)
        for part in self._reader.messages(field):
            if part.number in (1, 2, 4):
                names[part.number].append(self._reader.text(part))
            elif part.number == 5:
                self._read_attribute(part, depth)
        if depth == 0:
            node = Node(names[4][-1] if names[4] else "", tuple(names[1]))
            self._nodes.update(dict.fromkeys(names[2], node))

    def _read_attribute(self, field: Field, depth: int) -> None:
        for part in self._reader.messages(field):
            if part.number in (5, 10) and part.stop:
                self._read_tensor(part)
            elif part.number in (6, 11) and part.stop:
                self._read_graph(part, depth + 1)
            elif part.number in (22, 23) and part.stop:
                self._read_sparse(part)

    def _read_sparse(self, field: Field) -> str:
        """Returns the name of a SparseTensorProto, which is that of its values."""
        names = [self._read_tensor(part)[0] for part in self._reader.messages(field) if part.number in (1, 2)]
        return names[0] if names else ""

    def _read_tensor(self, field: Field) -> tuple[str, int]:
        """Returns the name and the size in bytes; the values are skipped."""
        name, size = "", field.stop - field.start
        for part in self._reader.messages(field):
            if part.number == 8:
                name = self._reader.text(part)
            elif part.number == 13:
                key, value = self._entry(part)
                if key == "location":
                    self._external[value] = None
                elif key == "length" and value.isdecimal():
                    size = int(value)
        return name, size

    def _value_info(self, field: Field) -> TensorInfo:
        name, dtype = "", ""
        shape: tuple[int | None, ...] = ()
        for part in self._reader.messages(field):
            if part.number == 1:
                name = self._reader.text(part)
            elif part.number == 2:
                for kind in self._reader.messages(part):
                    dtype, shape = self._type(kind)
        return TensorInfo(name, dtype, shape)

    def _type(self, kind: Field) -> tuple[str, tuple[int | None, ...]]:
        if kind.number != 1:
            return {4: "sequence", 5: "map", 8: "sparse", 9: "optional"}.get(kind.number, ""), ()
        dtype = ""
        dims: list[int | None] = []
        for part in self._reader.messages(kind):
            if part.number == 1:
                dtype = _DTYPES.get(part.value, "")
            elif part.number == 2:
                dims += [self._dimension(dim) for dim in islice(self._reader.messages(part), _MAX_DIMENSIONS)]
        return dtype, tuple(dims)

    def _dimension(self, field: Field) -> int | None:
        """Returns None for an open dimension: one with a name, without any value, or -1 (Paddle)."""
        values = [signed(part.value) for part in self._reader.messages(field) if part.number == 1]
        return values[-1] if values and values[-1] > 0 else None
