"""Quantises a model to 8-bit integers (smaller, often faster, slightly different predictions) and compares both.

Needs the package onnx (requirements/quantize.txt).
"""

from tools.quantization.errors import QuantizationError
from tools.quantization.new_version import GOOD, add_version, quantize_into
from tools.quantization.report import Report

__all__ = ["GOOD", "QuantizationError", "Report", "add_version", "quantize_into"]
