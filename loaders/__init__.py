"""Image loaders, model loaders and the model repository."""

import os
import sys

# ONNX Runtime 1.29 and later sends telemetry unless this is set before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenVINO does so when it imports its model converter, and does without the converter if that cannot be imported.
sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]  # None blocks an import
