"""A float graph -> the same graph with 8-bit weights and activations, by ONNX Runtime's tools (static, QDQ).

Measurements on the repository's models and photos decided the settings:

- Unsigned activations, signed weights per channel: 4.3 -> 2.2 ms for efficientnet-lite0. Unsigned weights
  are a little closer to the float graph and ten times slower; signed activations are slower than float.
- All operators, as convolutions alone would each read and write floats, which is slower and less accurate.
- Ranges from minimum to maximum: percentiles worsen u2netp's masks more than they improve other models.
- Models with maps and boxes keep their last two layers in float: u2netp's cosine to the
  float graph is 0.999 with them and 0.92 without.
- If predictions still differ too often, the first quarter or half of the layers stay float, too: picodet-s-416 finds
  most of its objects with that, and none without.
- Processors without VNNI add 8-bit products in 16 bits, which may overflow, so weights get 7 bits there.
"""

import logging
import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loaders.tensors import Tensor
from utils.processor import processor

if TYPE_CHECKING:
    import onnx

Feeds = Mapping[str, Tensor]

_LEAST_OPSET, _OPSET = 13, 17  # scales by channel came with 13
_WEIGHTED = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
_QUANTISED = {"QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
_X86 = {"x86_64", "AMD64"}


class QuantizationError(Exception):
    """The model cannot be quantised. The message has the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`float_first`: share of the first layers, 0 to 1, and `float_last`: number of the last layers, that stay float.

    `reduce_range`: 7-bit weights.
    """

    float_first: float = 0.0
    float_last: int = 0
    reduce_range: bool = False


def may_overflow(flags: str | None = None) -> bool:
    """Whether this processor needs 7-bit weights; True for an x86 processor with unknown instruction sets."""
    flags = processor() if flags is None else flags
    return platform.machine() in _X86 and "vnni" not in (flags or "")


def write_int8(source: Path, target: Path, pictures: Iterable[Feeds], settings: Settings) -> None:
    """Writes the 8-bit graph. `pictures`: the graph's inputs for each calibration picture.

    Raises QuantizationError for a graph that cannot be quantised or does not profit.
    """
    try:
        import onnx
    except ImportError:
        raise QuantizationError(
            "the package onnx is missing; `make quantize` installs it, or pip install -r requirements/quantize.txt"
        ) from None
    with tempfile.TemporaryDirectory(prefix="fovea-") as folder, _quiet():
        original = onnx.load(str(source))
        _check(original)
        try:
            prepared = _prepare(source, original, Path(folder))
            _quantize(prepared, target, pictures, settings)
        except QuantizationError:
            raise
        except Exception as error:  # the tools raise any exception on unknown graphs
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise QuantizationError(f"the graph cannot be quantised: {line[:300]}") from error
    _finish(target, original)


def _check(graph: "onnx.ModelProto") -> None:
    operators = {node.op_type for node in graph.graph.node}
    if operators & _QUANTISED:
        raise QuantizationError("the graph is quantised already; start from the float one")
    if not operators & _WEIGHTED:
        raise QuantizationError("the graph has no convolution and no matrix product: 8 bits would not be faster")


def _prepare(source: Path, graph: "onnx.ModelProto", folder: Path) -> Path:
    """Infers shapes, converts float16 weights to float32, folds normalisation into convolutions."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    opset = next((entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx")), _OPSET)
    if opset < _LEAST_OPSET:
        source = folder / "newer.onnx"
        onnx.save(onnx.version_converter.convert_version(graph, _OPSET), str(source))
    prepared = folder / "prepared.onnx"
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    return prepared


def _quantize(prepared: Path, target: Path, pictures: Iterable[Feeds], settings: Settings) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    graph = onnx.load(str(prepared))

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self._feeds = iter(pictures)

        def get_next(self) -> dict[str, Tensor] | None:
            feeds = next(self._feeds, None)
            return None if feeds is None else dict(feeds)

    quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=settings.reduce_range,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=first_layers(graph, settings.float_first) + last_layers(graph, settings.float_last),
    )


def first_layers(graph: "onnx.ModelProto", share: float) -> list[str]:
    """The names of all nodes before the layer at `share` of the weighted layers."""
    weighted = [i for i, node in enumerate(graph.graph.node) if node.op_type in _WEIGHTED]
    kept = round(share * len(weighted))
    return [node.name for node in graph.graph.node[: weighted[kept]]] if 0 < kept < len(weighted) else []


def last_layers(graph: "onnx.ModelProto", layers: int) -> list[str]:
    """The names of all nodes from the outputs back to the last `layers` weighted layers on every path."""
    made_by = {output: node for node in graph.graph.node for output in node.output}
    found: dict[str, int] = {}
    ahead = [(output.name, layers) for output in graph.graph.output] if layers else []
    while ahead:
        tensor, left = ahead.pop()
        node = made_by.get(tensor)
        if node is None or found.get(node.name, 0) >= left:
            continue
        found[node.name] = left
        left -= node.op_type in _WEIGHTED
        if left > 0:
            ahead += [(name, left) for name in node.input]
    return sorted(found)


def _finish(target: Path, original: "onnx.ModelProto") -> None:
    """Restores the original metadata, which may hold labels and the spec."""
    import onnx

    made = onnx.load(str(target))
    if not any(node.op_type == "QuantizeLinear" for node in made.graph.node):
        raise QuantizationError("no operator of the graph could be quantised; start from a float32 graph, not float16")
    del made.metadata_props[:]
    made.metadata_props.extend(original.metadata_props)
    onnx.save(made, str(target))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the root logger, which the tools use."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        root.setLevel(before)
