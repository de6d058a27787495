"""Label Studio's tasks with predictions: positions in per cent of the picture's sides.

`data.image` is the picture's path for a local storage whose root is the input folder. The names `label` and `image` are
those of the labelling interface (docs/command-line.md has one).
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO
from urllib.parse import quote

from tools.predict.formats import masks
from tools.predict.journal import Record, write_array

_LOCAL = "/data/local-files/?d="


def write(records: Iterable[Record], out: BinaryIO) -> None:
    write_array(map(_task, records), out)


def _task(record: Record) -> dict[str, Any]:
    """The score of the prediction is the mean of the scores of its parts; 0 without any."""
    result = record["result"]
    image, model = result["image"], result["model"]
    parts = [part for prediction in result["predictions"] for part in _parts(prediction, image)]
    for number, part in enumerate(parts):
        part["id"] = str(number)
    scores = [part["score"] for part in parts if "score" in part]
    prediction = {
        "model_version": f"{model['name']}:{model['version']}",
        "score": round(sum(scores) / len(scores), 6) if scores else 0.0,
        "result": parts,
    }
    return {"data": {"image": _LOCAL + quote(record["target"])}, "predictions": [prediction]}


def _parts(prediction: dict[str, Any], image: dict[str, Any]) -> Iterator[dict[str, Any]]:
    width, height = image["width"], image["height"]
    about = {"from_name": "label", "to_name": "image"}
    placed = about | {"original_width": width, "original_height": height, "image_rotation": 0}
    score = {} if prediction["score"] is None else {"score": prediction["score"]}
    if "generated_text" in prediction:
        yield about | {"type": "textarea", "value": {"text": [prediction["generated_text"]]}} | score
        return
    labels = [prediction["label"]]
    if mask := prediction.get("mask"):
        for outline in masks.polygons(masks.decode(mask)):
            points = [[round(x * 100 / width, 4), round(y * 100 / height, 4)] for x, y in outline.tolist()]
            value = {"points": points, "closed": True, "polygonlabels": labels}
            yield placed | {"type": "polygonlabels", "value": value} | score
    elif "box" in prediction:
        value = _rectangle(prediction, width, height) | {"rectanglelabels": labels}
        yield placed | {"type": "rectanglelabels", "value": value} | score
    else:
        yield about | {"type": "choices", "value": {"choices": labels}} | score
    for point in prediction.get("keypoints", []):
        place = {"x": point["x"] * 100 / width, "y": point["y"] * 100 / height, "width": 0.5}
        yield placed | {"type": "keypointlabels", "value": place | {"keypointlabels": [point["name"]]}}


def _rectangle(prediction: dict[str, Any], width: int, height: int) -> dict[str, float]:
    """A rotated box is turned clockwise around its top left corner, the third one."""
    if corners := prediction.get("corners"):
        (x3, y3), (x2, y2), (x, y) = corners[:3]
        across, down = math.hypot(x2 - x, y2 - y), math.hypot(x3 - x2, y3 - y2)
        rotation = math.degrees(math.atan2(y2 - y, x2 - x))
    else:
        box, rotation = prediction["box"], 0.0
        x, y, across, down = box["xmin"], box["ymin"], box["xmax"] - box["xmin"], box["ymax"] - box["ymin"]
    share = {"x": x / width, "y": y / height, "width": across / width, "height": down / height}
    return {name: round(value * 100, 4) for name, value in share.items()} | {"rotation": round(rotation, 4)}
