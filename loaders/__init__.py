"""Image loaders, model loaders and the model repository."""

import os

# ONNX Runtime 1.29 and later sends telemetry unless this is set before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
