"""CSV: a row for each prediction. A picture without predictions has one row without a label."""

import csv
from collections.abc import Iterable
from io import TextIOWrapper
from typing import BinaryIO

from tools.predict.journal import Record

_IMAGE = ("filename", "time_s", "width", "height")
_PREDICTION = ("label", "class_id", "score", "generated_text", "minimum", "maximum")
_BOX = ("xmin", "ymin", "xmax", "ymax")


def write(records: Iterable[Record], out: BinaryIO) -> None:
    text = TextIOWrapper(out, encoding="utf-8", newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*_IMAGE, *_PREDICTION, *_BOX])
    for record in records:
        result = record["result"]
        image = [result["image"].get(name) for name in _IMAGE]
        for prediction in result["predictions"] or [{}]:
            box = prediction.get("box", {})
            rows.writerow([*image, *map(prediction.get, _PREDICTION), *map(box.get, _BOX)])
    text.flush()
    text.detach()
