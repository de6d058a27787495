"""Exports of Ultralytics, and its predictions with the exported graph."""

import re
import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np

from tests.e2e.exports.calibration import calibrate
from tests.e2e.exports.case import MOST_OBJECTS, THRESHOLD, Answer, Answerer, Array, Case, Maker
from tests.e2e.exports.hugging_face import Heads, names
from tests.e2e.exports.pictures import CALIBRATION, PICTURES

_OBJECTS = 0.05  # of 1 - F1
_PROBABILITY = 0.005
_ALL = 8400  # boxes of an input of 640 x 640

BOXES: Heads = {r"cv2\.\d\.2$": (0.0, 1.0), r"cv3\.\d\.2$": (-4.5, 1.5)}
# YOLO26 predicts the distances of a box's sides themselves, not their distribution.
_DISTANCES: Heads = {**BOXES, r"cv2\.\d\.2$": (6.0, 1.0)}
_MASKS: Heads = {r"cv4\.\d\.2$": (0.0, 0.5)}
_KEYPOINTS: Heads = {r"cv4(_kpts)?\.\d(\.2)?$": (0.0, 1.0)}
_ANGLES: Heads = {r"cv4\.\d\.2$": (0.0, 1.0)}


def yolo_maker(
    architecture: str,
    task: str,
    heads: Heads,
    read: Callable[[Any], Answer],
    *,
    classes: int = 4,
    tiny: bool = False,
    **options: Any,
) -> Maker:
    """Returns a maker of a bare file NAME.onnx. `tiny`: with 8 to 24 channels."""

    def make(folder: Path) -> Answerer:
        import torch
        from ultralytics import YOLO

        torch.manual_seed(0)
        yolo = YOLO(_architecture(architecture, classes, folder, tiny=tiny), task=task)
        yolo.model.names = names(len(yolo.model.names))
        side = options.get("imgsz", 640)
        calibrate(yolo.model, lambda: yolo.model(_batch(side)), heads)
        with chdir(folder):
            exported = folder / yolo.export(format="onnx", verbose=False, **options)
        file = folder.with_name(f"{folder.name}.onnx")
        exported.replace(file)
        shutil.rmtree(folder)
        served = YOLO(str(file), task=task)
        settings = {
            "conf": THRESHOLD, "iou": 0.7, "imgsz": side, "max_det": _ALL, "retina_masks": True, "verbose": False,
            "save": False, "device": "cpu",
        }  # fmt: skip
        return lambda picture: read(_visible(served.predict(str(picture), **settings)[0]))

    return make


def _architecture(name: str, classes: int, folder: Path, *, tiny: bool) -> Path:
    """Ultralytics' file with another number of classes; `n` in its name is the scale."""
    from ultralytics.utils.checks import check_yaml

    unscaled = re.sub(r"(\d+)n", r"\1", name)
    text = Path(check_yaml(f"{unscaled}.yaml")).read_text(encoding="utf-8")
    if tiny:  # depth, width, most channels; reg_max sizes the branch of boxes
        text = re.sub(r"(?m)^  n: \[.*?\]", "  n: [0.1, 0.02, 1024]", text) + "\nreg_max: 4\n"
    file = folder / f"{name}.yaml"
    file.write_text(re.sub(r"(?m)^nc: \d+", f"nc: {classes}", text), encoding="utf-8")
    return file


def _batch(side: int) -> Any:
    import torch
    from PIL import Image

    photos = [np.asarray(Image.open(file).convert("RGB").resize((side, side))) for file in CALIBRATION]
    return torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 255


def _visible(result: Any) -> Any:
    """Objects with an area inside the picture; Fovea leaves out the others."""
    if result.probs is not None:
        return result
    height, width = result.orig_shape
    if result.obb is None:
        left, top, right, bottom = result.boxes.xyxy.T  # clipped
    else:
        across, down = result.obb.xyxyxyxy.unbind(-1)
        left, right = across.clamp(0, width).aminmax(dim=1)
        top, bottom = down.clamp(0, height).aminmax(dim=1)
    return result[(right > left) & (bottom > top)][:MOST_OBJECTS]


def _scores(result: Any) -> Answer:
    return {"scores": result.probs.data.numpy(), "labels": _all_labels(result)}


def read_objects(result: Any) -> Answer:
    found = result.boxes
    return {"boxes": found.xyxy.numpy(), "scores": found.conf.numpy(), "labels": _labels(result, found.cls)}


def _masks(result: Any) -> Answer:
    height, width = result.orig_shape
    masks = np.zeros((0, height, width), np.bool_) if result.masks is None else result.masks.data.numpy() > 0.5
    return {**read_objects(result), "masks": masks}


def _poses(result: Any) -> Answer:
    return {**read_objects(result), "keypoints": result.keypoints.data.numpy()}


def _oriented(result: Any) -> Answer:
    found = result.obb
    return {"corners": found.xyxyxyxy.numpy(), "scores": found.conf.numpy(), "labels": _labels(result, found.cls)}


def _labels(result: Any, class_ids: Any) -> Array:
    return np.array([result.names[int(class_id)] for class_id in class_ids], dtype=np.str_)


def _all_labels(result: Any) -> Array:
    return np.array([result.names[class_id] for class_id in range(len(result.names))])


def _case(name: str, task: str, make: Maker, bound: float = _OBJECTS, without: tuple[str, ...] = ()) -> Case:
    """`without`: pictures that are not asked; CMYK never is, as OpenCV converts it in another way than Pillow."""
    pictures = tuple(file for file in PICTURES if file not in ("cmyk.jpg", *without))
    return Case(
        name,
        "ultralytics",
        task,
        make,
        bound,
        pictures=pictures,
        threshold=None if task == "image-classification" else THRESHOLD,
    )


CASES = (
    _case("yolo11n", "object-detection", yolo_maker("yolo11n", "detect", BOXES, read_objects)),
    _case("yolo11n-dynamic", "object-detection", yolo_maker("yolo11n", "detect", BOXES, read_objects, dynamic=True)),
    _case("yolov8n", "object-detection", yolo_maker("yolov8n", "detect", BOXES, read_objects)),
    _case("yolo11n-seg", "image-segmentation", yolo_maker("yolo11n-seg", "segment", {**BOXES, **_MASKS}, _masks)),
    _case("yolo11n-pose", "keypoint-detection", yolo_maker("yolo11n-pose", "pose", {**BOXES, **_KEYPOINTS}, _poses)),
    _case("yolo11n-obb", "object-detection", yolo_maker("yolo11n-obb", "obb", {**BOXES, **_ANGLES}, _oriented)),
    _case(
        "yolo11n-cls", "image-classification",
        yolo_maker("yolo11n-cls", "classify", {r"\.linear$": (0.0, 2.0)}, _scores, classes=100, imgsz=224),
        _PROBABILITY,
    ),
    _case("yolo26n", "object-detection", yolo_maker("yolo26n", "detect", _DISTANCES, read_objects)),
    # 3000x20.png is four rows of the input, one of the prototypes: Ultralytics enlarges them twice, Fovea once.
    _case(
        "yolo26n-seg", "image-segmentation", yolo_maker("yolo26n-seg", "segment", {**_DISTANCES, **_MASKS}, _masks),
        without=("3000x20.png",),
    ),
    _case(
        "yolo26n-pose", "keypoint-detection",
        yolo_maker("yolo26n-pose", "pose", {**_DISTANCES, **_KEYPOINTS}, _poses),
    ),
)  # fmt: skip
