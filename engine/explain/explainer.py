"""One explanation: the runs on the whole picture and on its masked versions, and the heat map that follows."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from engine.drawing import check_sides, encode
from engine.explain.heat_map import HeatMap, overlay
from engine.explain.masked_input import MaskedInput
from engine.explain.masks import Masks, Occlusion, Rise
from engine.explain.target import (
    Outputs,
    Score,
    Target,
    TargetQuery,
    check_explainable,
    find_target,
    similarity,
)
from engine.models.loaded_model import LoadedModel, ModelRef
from engine.pipeline import decode
from engine.preprocessing.geometry import Frame
from engine.scheduling.run_context import RunContext
from loaders.images.base import ImageInfo, ImageLoader, Size
from loaders.tensors import Tensor
from utils.time_utils import DECODE, INFERENCE, POSTPROCESS, PREPROCESS, StageTimer

MAX_SAMPLES = 1000


class Method(StrEnum):
    OCCLUSION = "occlusion"
    RISE = "rise"


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """`reference`: the second picture, for embeddings. `samples` and `seed`: of RISE.

    `overlay`: the media type of a picture with the map over it; None for the map alone.
    """

    image: bytes
    reference: bytes | None
    query: TargetQuery
    method: Method = Method.OCCLUSION
    samples: int = 300
    seed: int = 0
    overlay: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """`passes`: runs of the model. `complete`: False if the deadline came first. `seed`: None if nothing is random.

    `drawn`: the picture with the map over it, if requested, else the map as an 8-bit grey PNG of the picture's size.
    """

    model: ModelRef
    image: ImageInfo
    target: Target
    method: Method
    passes: int
    seed: int | None
    complete: bool
    heat_map: HeatMap
    drawn: bytes
    timer: StageTimer


class Explainer:
    """Its methods run on worker threads, one after the other. `scores`: those of the masked pictures so far."""

    def __init__(self, loader: ImageLoader, request: ExplainRequest) -> None:
        self._loader, self._request = loader, request
        self.scores: list[float] = []
        self._begun: _Begun | None = None

    @property
    def model(self) -> LoadedModel:
        """After `begin` and before `finish`."""
        return self._state().model

    @property
    def complete(self) -> bool:
        return len(self.scores) == self._state().masks.total

    def begin(self, model: LoadedModel, context: RunContext) -> None:
        """Runs the whole picture, and finds the target.

        Raises ExplainError, UndrawableError, and what `pipeline.predict` raises.
        """
        request, timer = self._request, context.timer
        check_explainable(model.ref.task, request.query, with_reference=request.reference is not None)
        image, frame, tensor = _prepared(model, self._loader, request.image, timer)
        request.query.check_inside(image.size)
        if request.overlay:
            check_sides(image.size, request.overlay)
        outputs = _run(model, tensor, frame, context)
        if request.reference is None:
            with timer.stage(POSTPROCESS):
                target, score = find_target(model, outputs, frame, request.query)
        else:
            _, of_reference, reference = _prepared(model, self._loader, request.reference, timer)
            score = similarity(model.task, of_reference, _run(model, reference, of_reference, context))
            target = Target(None, None, score(outputs))
        with timer.stage(PREPROCESS):
            masked = MaskedInput(tensor, frame, model.preprocessor.layout)
            masks = _METHODS[request.method](masked.size, request)
        self._begun = _Begun(model, image, frame, target, score, masked, masks)

    def next_score(self, context: RunContext) -> float:
        """Runs the next masked picture. The caller adds the score to `scores`."""
        begun = self._state()
        with context.timer.stage(PREPROCESS):
            tensor = begun.masked.masked(begun.masks.mask(len(self.scores), self.scores))
        outputs = _run(begun.model, tensor, begun.frame, context)
        with context.timer.stage(POSTPROCESS):
            return begun.score(outputs)

    def finish(self, context: RunContext) -> Explanation:
        """The explanation by the scores so far. Frees the model."""
        begun, request, complete = self._state(), self._request, self.complete
        self._begun = None
        timer = context.timer
        with timer.stage(POSTPROCESS):
            heat_map = begun.masked.heat_map(begun.masks.heat_map(begun.target.score, self.scores))
        return Explanation(
            begun.model.ref,
            begun.image,
            begun.target,
            request.method,
            passes=len(self.scores) + (1 if request.reference is None else 2),
            seed=request.seed if request.method is Method.RISE else None,
            complete=complete,
            heat_map=heat_map,
            drawn=self._drawn(heat_map, timer),
            timer=timer,
        )

    def _drawn(self, heat_map: HeatMap, timer: StageTimer) -> bytes:
        if self._request.overlay is None:
            with timer.stage(POSTPROCESS):
                return encode(heat_map.levels(), "image/png")
        with timer.stage(DECODE):
            picture = self._loader.load(self._request.image)
        with timer.stage(POSTPROCESS):
            return encode(overlay(picture, heat_map.levels()), self._request.overlay)

    def _state(self) -> "_Begun":
        assert self._begun is not None  # noqa: S101 - `begin` has set it
        return self._begun


@dataclass(frozen=True, slots=True)
class _Begun:
    model: LoadedModel
    image: ImageInfo
    frame: Frame
    target: Target
    score: Score
    masked: MaskedInput
    masks: Masks


_METHODS: dict[Method, Callable[[Size, ExplainRequest], Masks]] = {
    Method.OCCLUSION: lambda size, _: Occlusion(size),
    Method.RISE: lambda size, request: Rise(size, request.samples, request.seed),
}


def _prepared(
    model: LoadedModel, loader: ImageLoader, data: bytes, timer: StageTimer
) -> tuple[ImageInfo, Frame, Tensor]:
    picture = decode([model], loader, data, timer)
    with timer.stage(PREPROCESS):
        return picture.info, model.preprocessor.frame(picture.info.size), model.preprocessor(picture)


def _run(model: LoadedModel, tensor: Tensor, frame: Frame, context: RunContext) -> Outputs:
    context.stop.check()
    with context.timer.stage(INFERENCE):
        return model.infer(tensor, frame, context)
