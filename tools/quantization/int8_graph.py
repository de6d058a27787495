"""A float graph -> the same graph with 8-bit weights and activations, by ONNX Runtime's own tools (static, QDQ).

What was measured on the repository's models and photos decided the settings:

- Activations unsigned, weights signed, each channel by itself: 4.3 -> 2.2 ms for efficientnet-lite0. Unsigned weights
  are a little closer to the float graph and ten times as slow; signed activations are slower than float.
- All operators, not convolutions alone: then each of them reads and writes floats, which is slower and further off.
- Smallest and largest value as the range, not percentiles: those cost u2netp's masks more than they gave elsewhere.
- Maps and boxes (everything but labels and vectors) keep their last two layers in float: u2netp's cosine to the
  float graph is 0.999 with them and 0.92 without.
- Where the answers still differ too often, the first quarter or half of the layers stay float, too: picodet-s-416 finds
  none of its objects again without that, and most with it.
- Processors without VNNI add products of 8 bits in 16, which may overflow: there weights get 7 bits.
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
from tools.quantization.errors import QuantizationError
from utils.processor import processor

if TYPE_CHECKING:
    import onnx

Feeds = Mapping[str, Tensor]

_LEAST_OPSET, _OPSET = 13, 17  # scales by channel came with 13
_WEIGHTED = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
_QUANTISED = {"QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
_X86 = {"x86_64", "AMD64"}


@dataclass(frozen=True, slots=True)
class Settings:
    """`float_first`: the share of the first layers, 0 to 1, and `float_last` the number of last ones that stay float.

    `reduce_range`: weights of 7 bits.
    """

    float_first: float = 0.0
    float_last: int = 0
    reduce_range: bool = False


def may_overflow(flags: str | None = None) -> bool:
    """Whether this processor needs weights of 7 bits, by its instruction sets; True where an x86 one does not tell."""
    flags = processor() if flags is None else flags
    return platform.machine() in _X86 and "vnni" not in (flags or "")


def write_int8(source: Path, target: Path, pictures: Iterable[Feeds], settings: Settings) -> None:
    """`pictures`: the graph's inputs for each picture that shows it what values to expect.

    Raises QuantizationError for a graph that this does nothing for.
    """
    try:
        import onnx
    except ImportError:
        raise QuantizationError(
            "the package onnx is missing; `make quantize` installs it, or pip install -r requirements-quantize.txt"
        ) from None
    with tempfile.TemporaryDirectory(prefix="fovea-") as folder, _quiet():
        original = onnx.load(str(source))
        _check(original)
        try:
            prepared = _prepare(source, original, Path(folder))
            _quantize(prepared, target, pictures, settings)
        except QuantizationError:
            raise
        except Exception as error:  # the tools raise whatever they like on graphs that they do not know
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise QuantizationError(f"the graph cannot be quantised: {line[:300]}") from error
    _finish(target, original)


def _check(graph: "onnx.ModelProto") -> None:
    operators = {node.op_type for node in graph.graph.node}
    if operators & _QUANTISED:
        raise QuantizationError("the graph is quantised already; start from the float one")
    if not operators & _WEIGHTED:
        raise QuantizationError("the graph has no convolution and no matrix product, so nothing would be gained")


def _prepare(source: Path, graph: "onnx.ModelProto", folder: Path) -> Path:
    """Shapes inferred, float16 weights unfolded to float32, normalisation folded into convolutions."""
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
    """The names of all nodes in front of the first layer that is not among that share of the weighted ones."""
    weighted = [i for i, node in enumerate(graph.graph.node) if node.op_type in _WEIGHTED]
    kept = round(share * len(weighted))
    return [node.name for node in graph.graph.node[: weighted[kept]]] if 0 < kept < len(weighted) else []


def last_layers(graph: "onnx.ModelProto", layers: int) -> list[str]:
    """The names of all nodes from the outputs back to the first `layers` weighted ones on every way."""
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
    """Labels and spec in the metadata must survive; what the tools noted there need not."""
    import onnx

    made = onnx.load(str(target))
    if not any(node.op_type == "QuantizeLinear" for node in made.graph.node):
        raise QuantizationError("nothing in the graph could be quantised; is it float16? start from the float32 one")
    del made.metadata_props[:]
    made.metadata_props.extend(original.metadata_props)
    onnx.save(made, str(target))


@contextmanager
def _quiet() -> Iterator[None]:
    """The tools tell the root logger what is done here already, and what is raised anyway."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        root.setLevel(before)
