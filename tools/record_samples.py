"""Records what a framework answers about pictures, so that Fovea compares its own answers at every load of the model.

    python tools/record_samples.py models/my-export cat.jpg dog.jpg --transformers my-export
    python tools/record_samples.py models/my-timm cat.jpg dog.jpg --timm resnet50.a1_in1k
    python tools/record_samples.py models/yolo11n.onnx street.jpg --ultralytics yolo11n.pt
    python tools/record_samples.py models/my-model cat.jpg dog.jpg --callable my_pipeline:predict

Copies the pictures into the model's folder `samples` (of `x.onnx`: `x.samples`), and writes expected.json beside them.
A folder named by a version's number takes samples of that version. Three to twelve small pictures are enough.

Runs in the framework's environment: it needs Python 3.10, Pillow and NumPy, and nothing of Fovea. It may be copied
there.

A callable takes an upright RGB picture (PIL.Image) and returns one of:
- a list of dicts with `score`, and `class_id` or `label`; for objects also `box` (xmin, ymin, xmax, ymax) or `mask`
  (an array or PIL.Image of the picture's size, 0 to 255 or True and False) or `points` (keypoints or the corners of a
  rotated box); for a picture as a whole `depth` (an array or PIL.Image) or `generated_text`
- a vector
- a dict of these as `predictions` or `embedding`, with `input` (the tensor that the model gets) and `outputs` (its raw
  outputs by name); with these, a difference names its stage. `outputs` alone are the answer of the task `tensor`.

Exit status: 0; 1 if the framework fails; 2 for wrong arguments.
"""

import sys

sys.path[:] = [folder for folder in sys.path if not folder.endswith("tools")]  # its inspect.py hides Python's

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module, metadata
from pathlib import Path
from time import gmtime, strftime
from typing import Any, SupportsFloat

import numpy as np
from PIL import Image, ImageOps

SUMMARY_VALUES = 256
GRID = 16
_DIGITS = 6
_TOP_K = 5
_DETECTION_THRESHOLD = 0.5

# Packages whose versions are recorded if they were used, with their modules.
_PACKAGES = {
    "torch": "torch", "torchvision": "torchvision", "timm": "timm", "transformers": "transformers",
    "ultralytics": "ultralytics", "tensorflow": "tensorflow", "jax": "jax", "paddlepaddle": "paddle",
    "onnxruntime": "onnxruntime", "opencv-python": "cv2", "numpy": "numpy", "pillow": "PIL",
}  # fmt: skip

# A picture's answer, as a callable gives it.
Answer = Mapping[str, Any]
Pipeline = Callable[[Path], Answer]


@dataclass(frozen=True)
class Framework:
    """`threshold`: minimum score of its objects, if it has one."""

    name: str
    how: str
    pipeline: Pipeline
    threshold: float | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status. Raises SystemExit(2) for wrong arguments."""
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    sys.path.insert(0, str(Path.cwd()))  # of the callable's module
    pictures = [Path(picture) for picture in options.pictures]
    missing = [str(picture) for picture in pictures if not picture.is_file()]
    if missing or len({picture.name for picture in pictures}) < len(pictures):
        parser.error(f"no such file: {missing[0]}" if missing else "two pictures have the same name")
    model = Path(options.model)
    if not model.exists():
        parser.error(f"no such model: {model}")
    folder = model.with_suffix(".samples") if model.is_file() else model / "samples"
    try:
        framework = _framework(options)
        how = ". ".join(text for text in (framework.how, options.note) if text)
        threshold = framework.threshold if options.threshold is None else options.threshold
        record(folder, pictures, replace(framework, how=how, threshold=threshold), options.tolerance)
    except (ImportError, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(f"{len(pictures)} samples in {folder}")
    return 0


def record(folder: Path, pictures: Sequence[Path], framework: Framework, tolerance: float) -> None:
    """Copies the pictures into the folder, and writes the framework's answers beside them."""
    samples = [_sample(picture, framework.pipeline(picture)) for picture in pictures]
    _write(folder, pictures, _expected(framework, tolerance, samples))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Records what a framework answers about pictures.")
    parser.add_argument("model", metavar="MODEL", help="the model's folder, that of a version, or an .onnx file")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--callable", metavar="MODULE:FUNCTION", help="your own pipeline")
    source.add_argument("--transformers", metavar="MODEL", help="name or folder of a transformers model")
    source.add_argument("--timm", metavar="NAME", help="name of a timm model")
    source.add_argument("--ultralytics", metavar="WEIGHTS", help="an Ultralytics .pt file")
    parser.add_argument("--task", help="with --transformers: the pipeline's task; default: the model's own")
    parser.add_argument("--checkpoint", help="with --timm: a file of weights; default: the pretrained ones")
    parser.add_argument("--framework", help="with --callable: the framework's name, with its version")
    parser.add_argument("--note", default="", help="what else is to be known about how the samples were made")
    parser.add_argument("--tolerance", type=float, default=0.02, help="largest accepted difference; default: 0.02")
    parser.add_argument("--threshold", type=float, help="minimum score of objects; default: the framework's own")
    return parser


def _framework(options: argparse.Namespace) -> Framework:
    if options.transformers:
        return _transformers(options.transformers, options.task, options.threshold)
    if options.timm:
        return _timm(options.timm, options.checkpoint)
    if options.ultralytics:
        return _ultralytics(options.ultralytics, options.threshold)
    module, _, name = options.callable.partition(":")
    function = getattr(import_module(module), name)
    title = options.framework or options.callable
    return Framework(title, f"callable {options.callable}", lambda path: _answer(function(_open(path))))


def _answer(returned: object) -> Answer:
    """What a callable returned, as a dict."""
    if isinstance(returned, Mapping):
        return returned
    is_list = isinstance(returned, list) and all(isinstance(item, Mapping) for item in returned)
    return {"predictions": returned} if is_list else {"embedding": returned}


def _transformers(name: str, task: str | None, threshold: float | None) -> Framework:
    pipe = import_module("transformers").pipeline(task, model=name)
    ids = {str(label): int(i) for i, label in getattr(pipe.model.config, "id2label", {}).items()}
    minimum = (threshold or _DETECTION_THRESHOLD) if pipe.task in ("object-detection", "image-segmentation") else None
    options = {"threshold": minimum} if minimum is not None else {}
    pooled = pipe.task == "image-feature-extraction"

    def answer(path: Path) -> Answer:
        inputs = pipe.preprocess(str(path))
        tensors = {"input": inputs["pixel_values"]} if "pixel_values" in inputs else {}
        raw = pipe.forward(inputs)
        outputs = {key: value for key, value in raw.items() if hasattr(value, "detach")}
        if pooled:
            vector = raw["pooler_output"] if "pooler_output" in raw else raw["last_hidden_state"][:, 0]
            return {"embedding": vector[0], "outputs": outputs, **tensors}
        result = pipe(str(path), **options)
        found = [_with_class(item, ids) for item in ([result] if isinstance(result, Mapping) else result)]
        return {"predictions": found, "outputs": outputs, **tensors}

    how = f"pipeline {pipe.task} of {_title(name)}"
    return Framework(f"transformers {metadata.version('transformers')}", how, answer, minimum)


def _with_class(item: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, Any]:
    return {**item, "class_id": ids[item["label"]]} if item.get("label") in ids else dict(item)


def _timm(name: str, checkpoint: str | None) -> Framework:
    timm, torch = import_module("timm"), import_module("torch")
    model = timm.create_model(name, pretrained=checkpoint is None, checkpoint_path=checkpoint or "").eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)

    def answer(path: Path) -> Answer:
        tensor = transform(_open(path)).unsqueeze(0)
        with torch.inference_mode():
            output = model(tensor)
        tensors = {"input": tensor, "outputs": {"output": output}}
        if not model.num_classes:
            return {"embedding": output[0], **tensors}
        scores = output[0].softmax(-1).tolist()
        return {"predictions": [{"class_id": i, "score": score} for i, score in enumerate(scores)], **tensors}

    how = f"timm.create_model({name!r}) with its evaluation transform"
    return Framework(f"timm {metadata.version('timm')}", how, answer)


def _ultralytics(weights: str, threshold: float | None) -> Framework:
    """The picture is padded to a square, as an export with a fixed size needs it."""
    model = import_module("ultralytics").YOLO(weights)
    minimum = 0.25 if threshold is None else threshold

    def answer(path: Path) -> Answer:
        (result,) = model.predict(str(path), conf=minimum, rect=False, retina_masks=True, verbose=False)
        tensors = {"input": model.predictor.preprocess([result.orig_img])}
        if result.probs is not None:
            scores = enumerate(result.probs.data.tolist())
            return {"predictions": [_named(result.names, i, score) for i, score in scores], **tensors}
        boxes = result.boxes if result.obb is None else result.obb
        each = zip(boxes.cls.tolist(), boxes.conf.tolist(), boxes.xyxy.tolist(), strict=True)
        found = [_named(result.names, int(i), score) | {"box": box} for i, score, box in each]
        if result.masks is not None:
            found = [item | {"mask": mask} for item, mask in zip(found, result.masks.data, strict=True)]
        points = result.keypoints.xy if result.keypoints is not None else getattr(result.obb, "xyxyxyxy", None)
        if points is not None:
            found = [item | {"points": corners} for item, corners in zip(found, points.tolist(), strict=True)]
        return {"predictions": found, **tensors}

    how = f"YOLO({_title(weights)!r}).predict(conf={minimum:g}, rect=False)"
    name = f"ultralytics {metadata.version('ultralytics')}"
    return Framework(name, how, answer, minimum)


def _named(names: Mapping[int, str], class_id: int, score: float) -> dict[str, Any]:
    return {"label": names[class_id], "class_id": class_id, "score": score}


def _sample(picture: Path, answer: Answer) -> dict[str, Any]:
    """One picture of expected.json."""
    sample: dict[str, Any] = {"file": picture.name}
    if "embedding" in answer:
        sample["predictions"] = [{"embedding": [_short(v) for v in _array(answer["embedding"]).reshape(-1)]}]
    elif "predictions" in answer:
        sample["predictions"] = _best([_prediction(item) for item in answer["predictions"]])
    if "input" in answer:
        sample["input"] = summary(answer["input"])
    if answer.get("outputs"):
        sample["outputs"] = {str(name): summary(tensor) for name, tensor in answer["outputs"].items()}
    return sample


def _best(predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All objects, but only the best classes."""
    if not all(item.keys() <= {"class_id", "label", "score"} for item in predictions):
        return predictions
    return sorted(predictions, key=lambda item: -float(item.get("score", 0)))[:_TOP_K]


def _prediction(item: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {key: item[key] for key in ("class_id", "label") if item.get(key) is not None}
    if item.get("score") is not None:
        found["score"] = _short(item["score"])
    if item.get("box") is not None:
        box = item["box"]
        corners = [box[key] for key in ("xmin", "ymin", "xmax", "ymax")] if isinstance(box, Mapping) else box
        found["box"] = dict(zip(("xmin", "ymin", "xmax", "ymax"), map(_short, corners), strict=True))
    if item.get("mask") is not None:
        found["mask"] = map_summary(item["mask"])
    if item.get("points") is not None:
        found["points"] = [[_short(x), _short(y)] for x, y in item["points"]]
    if item.get("depth") is not None:
        depth = _array(item["depth"])
        found["depth"] = map_summary((depth - depth.min()) / (np.ptp(depth) or 1))
    if item.get("generated_text") is not None:
        found["generated_text"] = str(item["generated_text"])
    return found


def summary(tensor: object) -> dict[str, Any]:
    """The shape, and values at positions that divide the tensor evenly."""
    array = _array(tensor)
    count = min(SUMMARY_VALUES, array.size)
    values = array.reshape(-1)[np.linspace(0, array.size - 1, count).astype(np.int64)]
    return {"shape": list(array.shape), "values": [_short(value) for value in values]}


def map_summary(mask: object) -> dict[str, Any]:
    """Coverage, a grid of means, and the digest of a mask as (height, width) uint8."""
    array = np.asarray(mask) if isinstance(mask, Image.Image) else _array(mask)
    is_binary = array.dtype == np.bool_ or array.max(initial=0) <= 1
    grey = (array * 255 if is_binary else array).astype(np.uint8)
    cells = Image.fromarray(grey.astype(np.float32)).resize((GRID, GRID), Image.Resampling.BOX)
    grid = [[round(float(value) / 255, 4) for value in row] for row in np.asarray(cells)]
    digest = hashlib.sha256(np.ascontiguousarray(grey).tobytes()).hexdigest()
    return {"coverage": round(float(grey.mean()) / 255, 6), "grid": grid, "sha256": digest}


def _expected(framework: Framework, tolerance: float, samples: list[dict[str, Any]]) -> dict[str, Any]:
    made = {
        "framework": framework.name,
        "date": strftime("%Y-%m-%d", gmtime()),
        "how": framework.how,
        "versions": {name: metadata.version(name) for name, module in _PACKAGES.items() if _is_used(name, module)},
    }
    has_threshold = {} if framework.threshold is None else {"threshold": framework.threshold}
    return {"made": made, "tolerance": tolerance, **has_threshold, "samples": samples}


def _write(folder: Path, pictures: Sequence[Path], expected: Mapping[str, Any]) -> None:
    """Writes expected.json last, so that a running service does not see it without its pictures."""
    folder.mkdir(exist_ok=True)
    for picture in pictures:
        if picture.resolve() != (folder / picture.name).resolve():
            shutil.copyfile(picture, folder / picture.name)
    head = json.dumps({key: value for key, value in expected.items() if key != "samples"}, ensure_ascii=False)
    rows = ",\n".join(json.dumps(sample, ensure_ascii=False) for sample in expected["samples"])
    (folder / ".expected.json").write_text(f'{head[:-1]}, "samples": [\n{rows}\n]}}\n', encoding="utf-8")
    (folder / ".expected.json").replace(folder / "expected.json")


def _open(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def _array(tensor: object) -> np.ndarray[Any, Any]:
    """A NumPy array of a tensor of any framework."""
    if hasattr(tensor, "detach"):  # PyTorch's
        tensor = tensor.detach().cpu()
    array = np.asarray(tensor)
    return array if array.dtype == np.bool_ else array.astype(np.float32)


def _short(value: SupportsFloat) -> float:
    return float(f"{float(value):.{_DIGITS}g}")


def _title(name: str) -> str:
    """The name of a model, without the folders of a local one."""
    return Path(name).name if Path(name).exists() else name


def _is_used(package: str, module: str) -> bool:
    try:
        return module in sys.modules and bool(metadata.version(package))
    except metadata.PackageNotFoundError:  # another package has the module, such as opencv-python-headless
        return False


if __name__ == "__main__":
    sys.exit(main())
