"""The formats of `--format`: files of all results, made from the records of the journal.

A record has `result` (model, image and predictions as in the service's JSON), `target` (the picture's path among saved
files), `saved` and `time_s`. Files have neither times nor dates, so that the same results give the same bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import orjson

from loaders.repository.specs.model_spec import TaskName
from tools.predict.formats import coco, label_studio, table, yolo
from tools.predict.journal import Record, write_array

Records = Callable[[], Iterator[Record]]

_OBJECTS = (TaskName.OBJECT_DETECTION, TaskName.KEYPOINT_DETECTION, TaskName.IMAGE_SEGMENTATION)
_TASKS: dict[str, tuple[TaskName, ...]] = {
    "json": tuple(TaskName),
    "ndjson": tuple(TaskName),
    "csv": (*_OBJECTS, TaskName.IMAGE_CLASSIFICATION, TaskName.IMAGE_TO_TEXT, TaskName.DEPTH_ESTIMATION),
    "coco": _OBJECTS,
    "yolo": _OBJECTS,
    "labelstudio": (*_OBJECTS, TaskName.IMAGE_CLASSIFICATION, TaskName.IMAGE_TO_TEXT),
}
FORMATS = tuple(_TASKS)
# The file of each format in the folder of --save; that of YOLO is one of several.
FILES = {
    "json": "predictions.json", "ndjson": "predictions.ndjson", "csv": "predictions.csv", "coco": "coco.json",
    "yolo": yolo.CLASSES_FILE, "labelstudio": "labelstudio.json",
}  # fmt: skip


def tasks_of(name: str) -> tuple[TaskName, ...]:
    """The tasks whose answers a format can hold."""
    return _TASKS[name]


def write(name: str, records: Records, labels: Sequence[str], out: BinaryIO, folder: Path | None) -> None:
    """Writes the file of a format; the labels of YOLO into `folder`, too. Records are read one by one."""
    match name:
        case "json":
            write_array(map(_shown, records()), out)
        case "ndjson":
            for record in records():
                out.write(orjson.dumps(_shown(record)) + b"\n")
        case "csv":
            table.write(records(), out)
        case "coco":
            coco.write(records, labels, out)
        case "labelstudio":
            label_studio.write(records(), out)
        case "yolo" if folder:
            yolo.write(records(), labels, out, folder)


def _shown(record: Record) -> Record:
    result: Record = record["result"]
    return result | {"saved": list(record["saved"])} if record["saved"] else result
