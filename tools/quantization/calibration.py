"""Pictures of a folder as a model's inputs, decoded at each pass, since all of them may not fit in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.models.loaded_model import LoadedModel
from engine.preprocessing.geometry import Frame
from loaders.images.base import ImageLoader
from loaders.images.errors import ImageError
from loaders.tensors import Tensor
from tools.quantization.int8_graph import QuantizationError

LEAST_PICTURES = 8
MOST_PICTURES = 300

Inputs = tuple[dict[str, Tensor], Frame]


class Pictures:
    """At most MOST_PICTURES of `paths`, evenly spread, without those that cannot be read, which `unreadable` counts.

    Raises QuantizationError for fewer than LEAST_PICTURES.
    """

    def __init__(self, paths: Sequence[Path], loader: ImageLoader, model: LoadedModel) -> None:
        chosen = paths[:: max(1, -(-len(paths) // MOST_PICTURES))]
        self._loader, self._model = loader, model
        self._readable = [path for path in chosen if self._prepare(path)]
        self.unreadable = len(chosen) - len(self._readable)
        if len(self) < LEAST_PICTURES:
            skipped = f" ({self.unreadable} cannot be read)" if self.unreadable else ""
            raise QuantizationError(
                f"{len(self)} pictures{skipped} are too few for calibration; "
                f"use at least {LEAST_PICTURES}, better 100, like those that the model will see"
            )

    def __len__(self) -> int:
        return len(self._readable)

    def __iter__(self) -> Iterator[Inputs]:
        return (inputs for path in self._readable if (inputs := self._prepare(path)))

    def _prepare(self, path: Path) -> Inputs | None:
        """None for a file that is not a picture, or is missing."""
        preprocessor = self._model.preprocessor
        try:
            picture = self._loader.load(path.read_bytes(), preprocessor.decode_size)
        except (ImageError, OSError):
            return None
        frame = preprocessor.frame(picture.info.size)
        return self._model.inputs(preprocessor(picture), frame), frame
