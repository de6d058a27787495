"""What an .onnx file says of itself, read without a runtime."""
