"""The pipelines whose answers are recorded in `samples/` of the models here. `make samples` runs them.

EfficientNet-Lite0 and its vectors are answered by PyTorch with the published weights (requirements/export.txt). For
PicoDet and U-2-Net no framework is installed: the steps of PaddleDetection and rembg are written out in Pillow and
NumPy, and ONNX Runtime runs the graph.
"""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import onnxruntime

Floats = NDArray[np.float32]

MODELS = Path(__file__).parent
IMAGENET_MEAN, IMAGENET_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SCORE, OVERLAP = 0.4, 0.6  # PicoDet: minimum score, maximum overlap of two boxes of a class


def efficientnet_lite0(picture: Image.Image) -> dict[str, Any]:
    tensor = _efficientnet_input(picture)
    logits = _on_pytorch(tensor, features=False)
    scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    found = [{"class_id": i, "score": float(score)} for i, score in enumerate(scores[0])]
    return {"predictions": found, "input": tensor, "outputs": {"logits": logits}}


def efficientnet_lite0_embed(picture: Image.Image) -> dict[str, Any]:
    """The float32 network's pooled features, of length 1; the model is 8-bit."""
    tensor = _efficientnet_input(picture)
    vector = _on_pytorch(tensor, features=True)
    return {"embedding": vector[0] / np.linalg.norm(vector), "input": tensor}


def picodet(picture: Image.Image) -> dict[str, Any]:
    stretched = picture.resize((416, 416), Image.Resampling.BILINEAR)
    tensor = _planes((np.asarray(stretched) / 255 - IMAGENET_MEAN) / IMAGENET_STD)
    boxes, scores = _session("picodet-s-416").run(["boxes", "scores"], {"image": tensor})
    per_class = scores[0] if scores.shape[1] == 80 else scores[0].T
    scale = np.array([picture.width, picture.height] * 2) / 416
    found = [item for class_id, row in enumerate(per_class) for item in _suppress(boxes[0] * scale, row, class_id)]
    found.sort(key=lambda item: -float(item["score"]))
    return {"predictions": found, "input": tensor, "outputs": {"boxes": boxes, "scores": scores}}


def u2netp(picture: Image.Image) -> dict[str, Any]:
    pixels = np.asarray(picture.resize((320, 320), Image.Resampling.LANCZOS)) / 1.0
    tensor = _planes((pixels / pixels.max() - IMAGENET_MEAN) / IMAGENET_STD)
    session = _session("u2netp")
    name = session.get_outputs()[0].name
    (maps,) = session.run([name], {session.get_inputs()[0].name: tensor})
    matte = (maps[0, 0] - maps.min()) / (maps.max() - maps.min()) * 255
    mask = Image.fromarray(matte.astype(np.uint8)).resize(picture.size, Image.Resampling.LANCZOS)
    found = [{"label": "foreground", "class_id": 0, "mask": mask}]
    return {"predictions": found, "input": tensor, "outputs": {name: maps}}


def _efficientnet_input(picture: Image.Image) -> Floats:
    """Shortest edge to 256, bicubic, the central 224 x 224, (x - 127) / 128."""
    scale = 256 / min(picture.size)
    resized = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    return _planes((np.asarray(resized.crop((left, top, left + 224, top + 224)), np.float64) - 127) / 128)


def _on_pytorch(tensor: Floats, *, features: bool) -> Floats:
    torch = import_module("torch")
    network = _efficientnet()
    with torch.inference_mode():
        given = torch.from_numpy(tensor)
        found = network.extract_features(given).mean((2, 3)) if features else network(given)
    return np.asarray(found.numpy(), np.float32)


@cache
def _efficientnet() -> Any:  # noqa: ANN401 - a torch.nn.Module
    script = import_module("models.export_efficientnet_lite0")
    return script.load_network(script.published_weights())


@cache
def _session(model: str) -> "onnxruntime.InferenceSession":
    import onnxruntime

    return onnxruntime.InferenceSession(MODELS / model / "1" / "model.onnx", providers=["CPUExecutionProvider"])


def _planes(pixels: NDArray[Any]) -> Floats:
    """(1, 3, H, W) of (H, W, 3)."""
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0)[np.newaxis], np.float32)


def _suppress(boxes: NDArray[Any], scores: Floats, class_id: int) -> list[dict[str, Any]]:
    """Non-maximum suppression in one class."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if scores[i] >= SCORE and all(_overlap(boxes[i], boxes[j]) <= OVERLAP for j in kept):
            kept.append(int(i))
    return [{"class_id": class_id, "score": float(scores[i]), "box": boxes[i].tolist()} for i in kept]


def _overlap(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return float(shared / (areas - shared))
