"""Pictures from a folder as a model's inputs, each time anew: all that a folder decodes to may not fit in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.models.loaded_model import LoadedModel
from engine.preprocessing.extra_inputs import extra_tensor
from engine.preprocessing.geometry import Frame
from loaders.images.base import ImageLoader
from loaders.images.errors import ImageError
from loaders.tensors import Tensor
from tools.quantization.errors import QuantizationError

LEAST_PICTURES = 8
MOST_PICTURES = 300

Inputs = tuple[dict[str, Tensor], Frame]


class Pictures:
    """Those of `paths` that can be read, MOST_PICTURES at the most, evenly spread; `unreadable` counts the others.

    Raises QuantizationError where fewer than LEAST_PICTURES are left.
    """

    def __init__(self, paths: Sequence[Path], loader: ImageLoader, model: LoadedModel) -> None:
        chosen = paths[:: max(1, -(-len(paths) // MOST_PICTURES))]
        self._loader, self._model = loader, model
        self._readable = [path for path in chosen if self._prepare(path)]
        self.unreadable = len(chosen) - len(self._readable)
        if len(self) < LEAST_PICTURES:
            left_out = f" ({self.unreadable} cannot be read)" if self.unreadable else ""
            raise QuantizationError(
                f"{len(self)} pictures{left_out} do not show what values to expect; "
                f"it takes {LEAST_PICTURES} at least, better a hundred like those that the model will see"
            )

    def __len__(self) -> int:
        return len(self._readable)

    def __iter__(self) -> Iterator[Inputs]:
        return (inputs for path in self._readable if (inputs := self._prepare(path)))

    def _prepare(self, path: Path) -> Inputs | None:
        """None for what is no picture, or has gone."""
        preprocessor = self._model.preprocessor
        try:
            data = path.read_bytes()
            picture = self._loader.load(data, preprocessor.decode_size(self._loader.probe(data)))
        except (ImageError, OSError):
            return None
        frame = preprocessor.frame(picture.info.size)
        return _inputs(self._model, preprocessor(picture), frame), frame


def _inputs(model: LoadedModel, tensor: Tensor, frame: Frame) -> dict[str, Tensor]:
    """All of the graph's inputs by name; what the spec does not explain otherwise is the picture."""
    kinds = model.spec.extra_inputs
    return {
        node.name: extra_tensor(kinds[node.name], frame, node.dtype) if node.name in kinds else tensor
        for node in model.session.inputs
    }
