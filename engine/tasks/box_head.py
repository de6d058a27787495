"""A detector's head: checks the outputs of a graph and decodes boxes from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.preprocessing.geometry import Frame
from engine.tasks.boxes import DEFAULT_BOXES, Candidates, by_score, clip, suppress, to_picture, with_area
from engine.tasks.outputs import Array, check_finite, check_labels, find_outputs, read_outputs
from engine.tasks.task import InvalidOutputError, PredictOptions
from loaders.images.base import Size
from loaders.model_errors import ModelSpecError
from loaders.repository.specs.model_spec import ModelSpec
from loaders.runtimes.base import Session
from loaders.tensors import Tensor

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class BoxHead:
    """`ranks`: of the outputs that it reads, including the batch. `classes`: their number, by the outputs' shapes.

    `decode` takes the outputs with a batch of one, the input's size and the score threshold; it returns boxes in pixels
    of the input, or of the original picture if `in_picture`. `suppressed`: the graph includes NMS.
    """

    ranks: tuple[int, ...]
    decode: Callable[[Sequence[Array], Size, float], Candidates]
    classes: Callable[[Sequence[Shape]], int | None] = lambda _: None
    suppressed: bool = False
    in_picture: bool = False

    def check(self, session: Session, spec: ModelSpec) -> None:
        """Raises ModelSpecError."""
        shapes = [output.shape for output in find_outputs(session, spec.outputs, self.ranks)]
        classes = self.classes(shapes) if all(shapes) else None
        if classes is not None and classes < 1:
            raise ModelSpecError(
                f"outputs of the shapes {shapes} have no classes in the layout {spec.head}; choose another head"
            )
        check_labels(spec.labels, classes)

    def detect(
        self, outputs: Mapping[str, Tensor], spec: ModelSpec, frame: Frame, options: PredictOptions
    ) -> Candidates:
        """At most `options.top_k` boxes in the original picture's pixels, best first. Raises InvalidOutputError."""
        threshold = spec.score_threshold if options.threshold is None else options.threshold
        arrays = read_outputs(outputs, spec.outputs, self.ranks)
        with np.errstate(over="ignore", invalid="ignore"):  # the decoded values are checked
            found = with_area(self._decode(arrays, spec, frame.target, threshold))
            if not self.suppressed:
                found = suppress(found, spec.iou_threshold)
            found = clip(found, frame) if self.in_picture else to_picture(found, frame)
        return by_score(with_area(found), DEFAULT_BOXES if options.top_k is None else options.top_k)

    def _decode(self, arrays: Sequence[Array], spec: ModelSpec, target: Size, threshold: float) -> Candidates:
        try:
            found = self.decode(arrays, target, threshold)
        except (ValueError, IndexError) as error:  # dimensions that the graph declares as dynamic
            shapes = [array.shape for array in arrays]
            raise InvalidOutputError(f"outputs of the shapes {shapes} do not have the layout {spec.head}") from error
        check_finite(found.boxes, found.scores, found.extras)
        return found
