"""COCO: images, categories and annotations with scores, which pycocotools reads. Masks are run-length codes.

The id of an image is its place among the results, that of a category is the class id.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import orjson

from tools.predict.formats import masks
from tools.predict.journal import Record


def write(records: Callable[[], Iterator[Record]], labels: Sequence[str], out: BinaryIO) -> None:
    """Reads the records twice: for the images, and for the annotations."""
    found = dict(enumerate(labels))
    out.write(b'{"images":[')
    for image_id, record in enumerate(records(), 1):
        out.write((b",\n" if image_id > 1 else b"\n") + orjson.dumps(_image(image_id, record)))
    out.write(b'\n],"annotations":[')
    number = 0
    for image_id, record in enumerate(records(), 1):
        for prediction in record["result"]["predictions"]:
            number += 1
            found.setdefault(prediction["class_id"], prediction["label"])
            annotation = {"id": number, "image_id": image_id, **_annotation(prediction)}
            out.write((b",\n" if number > 1 else b"\n") + orjson.dumps(annotation))
    categories = [{"id": class_id, "name": label} for class_id, label in sorted(found.items())]
    out.write(b'\n],"categories":' + orjson.dumps(categories) + b"}\n")


def _image(image_id: int, record: Record) -> dict[str, Any]:
    image = record["result"]["image"]
    fields = {"id": image_id, "file_name": record["target"], "width": image["width"], "height": image["height"]}
    return fields | ({"time_s": image["time_s"]} if "time_s" in image else {})


def _annotation(prediction: dict[str, Any]) -> dict[str, Any]:
    """A semantic segment has the bounds of its mask as box, and 1 as score if the model gives none."""
    score = prediction["score"]
    fields: dict[str, Any] = {"category_id": prediction["class_id"], "score": 1.0 if score is None else score}
    if mask := prediction.get("mask"):
        pixels = masks.decode(mask)
        height, width = pixels.shape
        fields["segmentation"] = {"size": [height, width], "counts": masks.run_lengths(pixels)}
        fields |= {"area": int(pixels.sum()), "bbox": list(masks.bounds(pixels))}
    if box := prediction.get("box"):
        across, down = round(box["xmax"] - box["xmin"], 2), round(box["ymax"] - box["ymin"], 2)
        fields = {"area": round(across * down, 2), **fields, "bbox": [box["xmin"], box["ymin"], across, down]}
    if corners := prediction.get("corners"):
        fields["segmentation"] = [[value for corner in corners for value in corner]]
    if keypoints := prediction.get("keypoints"):
        fields["keypoints"] = [value for point in keypoints for value in (point["x"], point["y"], 2)]
        fields["num_keypoints"] = len(keypoints)
    return fields | {"iscrowd": 0}
