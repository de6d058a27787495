"""Resolves preprocessing of models that their makers run with OpenCV, recognised by outputs or metadata.

- YuNet: OpenCV's FaceDetectorYN pads at the right and the bottom with 0; BGR of 0 to 255.
- PaddleDetection: deploy/python/preprocess.py stretches with INTER_CUBIC (`interp: 2`, `keep_ratio: false`).
- PaddleOCR's recognition (exports with `character` metadata): tools/infer/predict_rec.py, `resize_norm_img`.
"""

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.decision import Decisions, decide, decided, warn
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Color, Head, Interpolation, Resize, Rounding, Transparency

_CHARACTERS = "character"
_TEXT_SIZE = (48, 320)  # pixels: a line of text in PP-OCRv3 and later
_MIDDLE_GREY = 128

_YUNET: dict[str, object] = {
    "preprocess.resize": Resize.LONGEST_EDGE,
    "preprocess.resize_rounding": Rounding.NEAREST,
    "preprocess.interpolation": Interpolation.OPENCV_LINEAR,
    "preprocess.color": Color.BGR,
    "preprocess.rescale_factor": 1.0,
    "preprocess.mean": (0.0,),
    "preprocess.std": (1.0,),
    "preprocess.transparency": Transparency.DROP,
}
_PADDLE: dict[str, object] = {
    "preprocess.resize": Resize.STRETCH,
    "preprocess.interpolation": Interpolation.OPENCV_CUBIC,
    "preprocess.color": Color.RGB,
    "preprocess.transparency": Transparency.DROP,
}
_TEXT: dict[str, object] = {
    "preprocess.resize": Resize.LONGEST_EDGE,
    "preprocess.resize_rounding": Rounding.UP,
    "preprocess.interpolation": Interpolation.OPENCV_LINEAR,
    "preprocess.color": Color.BGR,
    "preprocess.rescale_factor": 1 / 255,
    "preprocess.mean": (0.5,),
    "preprocess.std": (0.5,),
    "preprocess.pad_value": _MIDDLE_GREY,
    "preprocess.transparency": Transparency.DROP,
}


def resolve(files: ModelFiles, graph: OnnxGraph, decisions: Decisions) -> Decisions:
    if _CHARACTERS in graph.metadata:
        size = _TEXT_SIZE if decided(decisions, "preprocess.size") is None else None
        risk = "a line of text that is wider than the tensor is scaled down, where PaddleOCR widens the tensor"
        line = f"size = [{_TEXT_SIZE[0]}, a larger width]"
        warnings = {"preprocess.size": warn(files, risk, line)}
        return decide("PaddleOCR metadata", {**_TEXT, "preprocess.size": size}, warnings)
    match decided(decisions, "head"):
        case Head.YUNET:
            return decide("YuNet", _YUNET)
        case Head.PADDLE_NMS:
            return decide("PaddleDetection", _PADDLE)
    return {}
