"""Reads .onnx files without a runtime."""
