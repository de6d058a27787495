"""Specs of models that their makers run with OpenCV."""

from pathlib import Path

from loaders.repository.specs.model_spec import Color, Interpolation, Resize, Transparency
from tests.loaders.repository.specs.graphs import export, understood, values
from tests.loaders.repository.specs.test_graph_alone import PICTURE, YUNET

FIELDS = ("preprocess.resize", "preprocess.interpolation", "preprocess.color", "preprocess.transparency")


def test_yunet_is_padded_at_right_and_bottom_without_a_warning_about_it(tmp_path: Path) -> None:
    resolved = understood(tmp_path, export(tmp_path / "model.onnx", {"x": PICTURE}, YUNET))
    expected = [Resize.LONGEST_EDGE, Interpolation.OPENCV_LINEAR, Color.BGR, Transparency.DROP]
    assert values(resolved, *FIELDS) == expected
    assert values(resolved, "preprocess.rescale_factor", "preprocess.mean") == [1.0, (0.0,)]
    assert not any("[preprocess]" in warning for warning in resolved.warnings)


def test_paddle_detection_is_stretched_cubically_and_warns_of_its_normalisation(tmp_path: Path) -> None:
    inputs = {"im_shape": (1, 2), "image": (1, 3, 416, 416), "scale_factor": (1, 2)}
    graph = export(tmp_path / "model.onnx", inputs, {"rows": (None, 6), "count": (1,)})
    resolved = understood(tmp_path, graph)
    expected = [Resize.STRETCH, Interpolation.OPENCV_CUBIC, Color.RGB, Transparency.DROP]
    assert values(resolved, *FIELDS) == expected
    [warning] = [warning for warning in resolved.warnings if "[preprocess]" in warning]
    assert "PP-YOLOE+ expects 0 to 1" in warning


def test_paddle_ocr_recognition_is_fitted_into_a_line(tmp_path: Path) -> None:
    graph = export(
        tmp_path / "model.onnx", {"x": ("n", 3, 48, "w")}, {"y": ("n", "t", 97)}, metadata={"character": "a\nb"}
    )
    resolved = understood(tmp_path, graph)
    expected = [Resize.LONGEST_EDGE, Interpolation.OPENCV_LINEAR, Color.BGR, Transparency.DROP]
    assert values(resolved, *FIELDS) == expected
    fields = ("size", "pad_value", "mean", "std")
    assert values(resolved, *(f"preprocess.{field}" for field in fields)) == [(48, 320), 128, (0.5,), (0.5,)]
    assert any("write size = [48, a larger width] under [preprocess]" in warning for warning in resolved.warnings)
