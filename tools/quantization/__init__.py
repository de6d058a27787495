"""Quantises a model to 8-bit integers and compares both. Needs the package onnx (requirements/quantize.txt)."""
