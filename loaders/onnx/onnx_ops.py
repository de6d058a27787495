"""Finds the operator that computes a tensor's values, behind those that only reshape or convert them."""

from collections.abc import Mapping
from dataclasses import dataclass

_MAX_CHAIN = 64  # operators followed
_MAX_NESTED_CONCATS, _MAX_CONCAT_PARTS = 2, 16

_SEE_THROUGH = {
    "Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Dropout", "QuantizeLinear",
    "DequantizeLinear",
}  # fmt: skip
_NORM_GUARDS = _SEE_THROUGH | {"Clip", "Max", "Add", "Expand"}


@dataclass(frozen=True, slots=True)
class Node:
    op: str
    inputs: tuple[str, ...]


def op_behind(name: str, nodes: Mapping[str, Node], nested: int = 0) -> str:
    """Returns the operator that computes the tensor `name`; "" for an input or a weight.

    Concatenated results of one operator count as that operator, and x / norm(x) as LpNormalization.
    """
    for _ in range(_MAX_CHAIN):
        node = nodes.get(name)
        if node is None:
            return ""
        if node.op == "Concat" and nested < _MAX_NESTED_CONCATS:
            ops = {op_behind(part, nodes, nested + 1) for part in node.inputs[:_MAX_CONCAT_PARTS]}
            return ops.pop() if len(ops) == 1 else node.op
        if node.op == "Div" and len(node.inputs) == 2 and _is_norm(node.inputs[1], nodes):
            return "LpNormalization"
        if node.op not in _SEE_THROUGH or not node.inputs:
            return node.op
        name = node.inputs[0]
    return ""


def _is_norm(name: str, nodes: Mapping[str, Node]) -> bool:
    """Whether it is a norm as PyTorch's `normalize` computes it: ReduceL2, then guards against zero."""
    for _ in range(_MAX_CHAIN):
        node = nodes.get(name)
        if node is None or node.op not in _NORM_GUARDS or not node.inputs:
            return node is not None and node.op == "ReduceL2"
        name = node.inputs[0]
    return False
