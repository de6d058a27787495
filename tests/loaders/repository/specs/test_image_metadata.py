"""Specs from `Image.*` metadata: Azure Custom Vision and Windows ML."""

from pathlib import Path

import pytest
from onnx import TensorProto, helper

from loaders.onnx.onnx_file import read_onnx
from loaders.repository.specs.model_spec import Activation, Color, Resize, TaskName
from tests.loaders.repository.specs.graphs import export, understood, values

METADATA = {
    "Image.BitmapPixelFormat": "Bgr8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}
FIELDS = ("preprocess.color", "preprocess.rescale_factor", "preprocess.mean", "preprocess.std", "preprocess.resize")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (Color.BGR, 1.0, (0.0,))),
        ({"Image.BitmapPixelFormat": "Rgb8"}, (Color.RGB, 1.0, (0.0,))),
        ({"Image.NominalPixelRange": "Normalized_0_1"}, (Color.BGR, 1 / 255, (0.0,))),
        ({"Image.NominalPixelRange": "Normalized_1_1"}, (Color.BGR, 2 / 255, (1.0,))),
        ({"Image.NominalPixelRange": "NominalRange_16_235"}, (Color.BGR, 219 / 255, (-16.0,))),
    ],
)
def test_colour_and_range_are_applied(
    tmp_path: Path, changes: dict[str, str], expected: tuple[Color, float, tuple[float, ...]]
) -> None:
    metadata = {key.upper(): value for key, value in (METADATA | changes).items()}
    graph = export(
        tmp_path / "model.onnx", {"data": (None, 3, 224, 224)}, {"model_output": (None, 2)},
        dtype=TensorProto.FLOAT16, last_op="Softmax", metadata=metadata,
    )  # fmt: skip
    resolved = understood(tmp_path, graph, {"labels.txt": "cat\r\ndog\r\n"})
    assert values(resolved, *FIELDS) == [*expected, (1.0,), Resize.STRETCH]
    assert (resolved.spec.task, resolved.spec.activation) == (TaskName.IMAGE_CLASSIFICATION, Activation.NONE)
    assert resolved.spec.labels == ("cat", "dog")
    assert resolved.spec.preprocess.dtype == "float16"
    assert resolved.warnings == ()


def test_scores_of_a_custom_vision_export_are_found(tmp_path: Path) -> None:
    outputs = {"classLabel": (None, 1), "loss": (None, 2)}
    graph = export(tmp_path / "model.onnx", {"data": (None, 3, 224, 224)}, outputs, metadata=METADATA)
    spec = understood(tmp_path, graph).spec
    assert (spec.outputs, spec.activation) == (("loss",), Activation.NONE)


def test_zipmap_output_gives_a_warning(tmp_path: Path) -> None:
    outputs = {"classLabel": (None, 1), "loss": (None, 2)}
    export(tmp_path / "model.onnx", {"data": (None, 3, 224, 224)}, outputs, metadata=METADATA)
    import onnx

    model = onnx.load(tmp_path / "model.onnx")
    scores = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    model.graph.output[1].CopyFrom(helper.make_value_info("loss", helper.make_sequence_type_proto(scores)))
    onnx.save(model, tmp_path / "model.onnx")
    assert any("ZipMap" in warning for warning in understood(tmp_path, read_onnx(tmp_path / "model.onnx")).warnings)


@pytest.mark.parametrize(
    ("metadata", "warning"),
    [
        ({"Image.BitmapPixelFormat": "Bgr8"}, "assumed 0 to 1"),
        (METADATA | {"Image.ColorSpaceGamma": "Linear"}, "linear light"),
    ],
)
def test_unrecorded_range_or_linear_gamma_warns(tmp_path: Path, metadata: dict[str, str], warning: str) -> None:
    graph = export(tmp_path / "model.onnx", {"data": (None, 3, 8, 8)}, {"model_output": (None, 2)}, metadata=metadata)
    assert any(warning in text for text in understood(tmp_path, graph).warnings)
