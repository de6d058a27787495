"""A graph in 8-bit integers: smaller, often faster, not quite the same answers. It is made, compared and reported on.

It needs the package onnx (requirements-quantize.txt), which the service does not.
"""

from tools.quantization.errors import QuantizationError
from tools.quantization.new_version import GOOD, add_version, quantize_into
from tools.quantization.report import Report

__all__ = ["GOOD", "QuantizationError", "Report", "add_version", "quantize_into"]
