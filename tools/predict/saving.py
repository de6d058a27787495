"""Files that `--save` writes for each picture: annotated copies, crops, masks, depth maps and vectors.

| folder | content |
|---|---|
| `annotated/` | the picture with the answer drawn on it |
| `explained/` | with `--explain`, the picture with the heat map of its best prediction |
| `crops/LABEL/` | with `--crops`, the part of the picture in each box |
| `masks/`, `depth/` | PNGs of the picture's size |
| `embeddings/`, `tensors/` | `.npy` files |

Sub-folders of the input are kept. A file is complete or absent at any time.
"""

import base64
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.drawing import Drawer, UndrawableError, check_drawable, encode
from engine.explain.target import TargetQuery
from engine.tasks.predictions import (
    Classification,
    DepthMap,
    Detection,
    Embedding,
    InstanceSegment,
    OutputTensor,
    Prediction,
    Segment,
)
from loaders.repository.specs.model_spec import TaskName
from tools.predict.predictor import Answered
from tools.predict.sources import Item
from utils.files import replacing

Explain = Callable[[bytes, TargetQuery, str], bytes]

# The media type of drawn pictures and crops by the picture's format, and the suffixes that say so.
_AS_JPEG, _AS_WEBP, _AS_PNG = ("image/jpeg", ".jpg", ".jpeg", ".jfif"), ("image/webp", ".webp"), ("image/png", ".png")
_ENCODINGS = {"JPEG": _AS_JPEG, "WebP": _AS_WEBP}
_UNFINISHED = ".unfinished"
_NOT_IN_NAMES = re.compile(r"[^\w .,()+-]+")


class Saver:
    """Writes into `folder`. May be used from many threads. Files grow in a folder that is emptied at the start."""

    def __init__(self, folder: Path, drawer: Drawer, *, crops: bool = False, explain: Explain | None = None) -> None:
        """Raises OSError."""
        self._folder, self._drawer, self._crops, self._explain = folder, drawer, crops, explain
        self._unfinished = folder / _UNFINISHED
        self.close()
        self._unfinished.mkdir(parents=True)

    def close(self) -> None:
        shutil.rmtree(self._unfinished, ignore_errors=True)

    def save(self, item: Item, data: bytes, answered: Answered) -> dict[str, int]:
        """The paths of the written files below the folder, and their sizes.

        Raises OSError, UndrawableError, and what `explain` raises.
        """
        return {str(path): self._write(path, data) for path, data in self._files(item, data, answered)}

    def _files(self, item: Item, data: bytes, answered: Answered) -> Iterator[tuple[PurePosixPath, bytes]]:
        picture = answered.picture
        media_type, *suffixes = _ENCODINGS.get(answered.image.format, _AS_PNG)
        if picture:
            drawn = encode(self._drawer(picture, answered.predictions), media_type)
            yield "annotated" / _named(item.target, suffixes), drawn
        if self._explain and answered.predictions:
            overlay = self._explain(data, _target_query(answered.predictions[0]), media_type)
            yield "explained" / _named(item.target, suffixes), overlay
        for number, prediction in enumerate(answered.predictions, 1):
            path = item.target.with_name(f"{item.target.name}-{number}")
            match prediction:
                case Detection(label, box=box) | InstanceSegment(label, box=box) if self._crops and picture:
                    part = picture.pixels[round(box.ymin) : round(box.ymax), round(box.xmin) : round(box.xmax)]
                    if part.size:
                        yield (
                            PurePosixPath("crops", safe_name(label)) / _named(path, suffixes),
                            encode(part, media_type),
                        )
            match prediction:
                case Segment(label=label, mask=mask):
                    named = path.with_name(f"{path.name}-{safe_name(label)}.png")
                    yield "masks" / named, base64.b64decode(mask)
                case DepthMap(depth=depth):
                    yield "depth" / _named(item.target, [".png"]), base64.b64decode(depth)
                case Embedding(embedding=list(values)):
                    yield "embeddings" / _named(item.target, [".npy"]), _npy(np.array(values, np.float32))
                case OutputTensor(name, dtype, shape, list(values)):
                    array = np.array(values, dtype).reshape(shape)
                    yield "tensors" / item.target / f"{safe_name(name)}.npy", _npy(array)

    def _write(self, path: PurePosixPath, data: bytes) -> int:
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file, durable=False, folder=self._unfinished) as written:
            written.write(data)
        return len(data)


def _target_query(prediction: Prediction) -> TargetQuery:
    match prediction:
        case Detection(class_id=class_id, box=box):
            return TargetQuery(class_id=class_id, box=box)
        case Classification(class_id=class_id) | Segment(class_id=class_id):
            return TargetQuery(class_id=class_id)
    return TargetQuery()


def is_drawable(task: TaskName) -> bool:
    try:
        check_drawable(task)
    except UndrawableError:
        return False
    return True


def safe_name(label: str) -> str:
    """The label as a name of a file or folder."""
    return _NOT_IN_NAMES.sub("_", label).strip(" .") or "_"


def _named(path: PurePosixPath, suffixes: Sequence[str]) -> PurePosixPath:
    """With the first suffix added unless it has one of them."""
    return path if path.suffix.lower() in suffixes else path.with_name(path.name + suffixes[0])


def _npy(array: NDArray[Any]) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
