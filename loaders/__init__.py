"""Bytes to picture, file to runnable model, folder to models."""

import os

# ONNX Runtime reports to its maker from 1.29 on, unless this is set before it is loaded. Nothing leaves this machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
