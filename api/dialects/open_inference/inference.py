"""An infer request's answer, for HTTP and gRPC alike."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from pydantic import ValidationError
from starlette.requests import Request

from api.dialects.dialect import DialectContext
from api.dialects.open_inference.codec import DATATYPES, objects
from api.dialects.open_inference.faces import Face, load, read_pictures, read_rows
from api.dialects.open_inference.messages import InferRequest, RequestedOutput
from api.dialects.open_inference.picture_outputs import join, picture_outputs
from api.problems import InvalidRequestError, validation_error
from api.routes.infer import log_inference
from api.schemas import InferQuery
from engine.inference_engine import DeadlineExceededError, Wait
from engine.pipeline import Answer, TensorAnswer
from engine.tasks.predictions import Classification
from engine.tasks.task import DEFAULT_TOP_K, MAX_TOP_K, PredictOptions
from loaders.model_errors import ModelRunError, RunMemoryError, RunStoppedError
from loaders.tensors import Tensor
from utils.time_utils import StageTimer

_OPTIONS = ("top_k", "threshold", "normalize")


@dataclass(frozen=True, slots=True)
class Inference:
    """`outputs` in the order in which they are sent; an answer for each picture or tensor."""

    outputs: Mapping[str, Tensor]
    answers: Sequence[Answer | TensorAnswer]


async def infer(context: DialectContext, face: Face, request: InferRequest, timeout_s: float) -> Inference:
    """`timeout_s`: for the whole request, beside the limit of the service for each picture.

    Raises RequestError, RequestValidationError, and what the engine raises.
    """
    timeout_s = min(timeout_s, _timeout_s(request))
    run = _infer_tensors if face.takes_tensors else _infer_pictures
    started = perf_counter()
    try:
        async with _deadline(timeout_s):
            return await run(context, face, request)
    except Exception:
        version = context.engine().models.version(face.choice.name or "", face.choice.selector)
        context.metrics.statistics.failed(*version.key, perf_counter() - started)
        raise


def log_answers(request: Request, inference: Inference) -> dict[str, float]:
    """Adds the model to the request's log line; returns the stages if there was one picture."""
    answers = inference.answers
    timings: dict[str, float] = {}
    if len(answers) == 1:
        timings = answers[0].timer.as_ms()
    else:
        request.state.log["images"] = len(answers)
    log_inference(request, [answers[0].model], timings)
    return timings


async def _infer_pictures(context: DialectContext, face: Face, request: InferRequest) -> Inference:
    pictures = read_pictures(face, request.inputs, context.settings)
    options = _options(request)
    classes = min(max(output.classes for output in request.outputs) if request.outputs else 0, MAX_TOP_K)
    most = options.top_k or DEFAULT_TOP_K
    if classes:
        options = replace(options, top_k=max(most, classes))
    answers = await context.predict_each(pictures, face.choice, options, math.inf)
    rows = [answer.predictions[:most] if classes else answer.predictions for answer in answers]

    def classify(output: RequestedOutput) -> Tensor:
        top = [answer.predictions[: output.classes] for answer in answers]
        return _classes(
            output,
            [[_class(p.score, p.class_id, p.label) for p in row if isinstance(p, Classification)] for row in top],
        )

    return Inference(_selected(face, request, picture_outputs(answers[0].model.task, rows), classify), answers)


async def _infer_tensors(context: DialectContext, face: Face, request: InferRequest) -> Inference:
    engine = context.engine()
    model = await load(engine, face)
    rows = read_rows(face, model, request.inputs, context.settings)
    labels = model.spec.labels
    names = [info.name for info in face.outputs(model)]
    del model  # swapped models are freed by the worker threads

    async def run(row: Mapping[str, Tensor], wait: Wait) -> TensorAnswer:
        try:
            return await engine.run_tensors(row, face.choice, StageTimer(), wait)
        except (RunMemoryError, RunStoppedError):
            raise
        except ModelRunError as error:
            raise InvalidRequestError(f"the model cannot run on this input: {error}") from error

    answers = await context.answer_each(rows, run, face.choice, math.inf)
    outputs = {name: join(name, [answer.outputs[name] for answer in answers]) for name in names}

    def classify(output: RequestedOutput) -> Tensor:
        scores = outputs[output.name]
        if scores.dtype.name not in DATATYPES or scores.dtype == object or len(scores) != len(rows):
            return _classes(output, [])
        vectors = scores.reshape(len(rows), -1)
        best = np.argsort(-vectors.astype(np.float64), axis=1, kind="stable")[:, : output.classes]
        texts = [
            [_class(vector[i], i, labels[i] if i < len(labels) else "") for i in row.tolist()]
            for vector, row in zip(vectors, best, strict=True)
        ]
        return _classes(output, texts)

    return Inference(_selected(face, request, outputs, classify), answers)


def _selected(
    face: Face, request: InferRequest, outputs: Mapping[str, Tensor], classify: Callable[[RequestedOutput], Tensor]
) -> Mapping[str, Tensor]:
    """The requested outputs, or all."""
    if not request.outputs:
        return outputs
    for output in request.outputs:
        if output.name not in outputs:
            names = ", ".join(f"'{name}'" for name in outputs)
            raise InvalidRequestError(
                f"unexpected inference output '{output.name}' for model '{face.name}'; its outputs: {names}"
            )
    return {output.name: classify(output) if output.classes else outputs[output.name] for output in request.outputs}


def _class(score: object, index: int, label: str) -> bytes:
    """The text of the classification extension."""
    return (f"{score}:{index}:{label}" if label else f"{score}:{index}").encode()


def _classes(output: RequestedOutput, rows: Sequence[Sequence[bytes]]) -> Tensor:
    """Rows with fewer classes, because of a threshold, are filled up with empty texts."""
    if not any(rows):
        raise InvalidRequestError(f"the output '{output.name}' has no classes; request it without 'classification'")
    width = max(len(row) for row in rows)
    filled = [text for row in rows for text in (*row, *(b"",) * (width - len(row)))]
    return objects(filled, (len(rows), width))


def _options(request: InferRequest) -> PredictOptions:
    """Raises RequestValidationError."""
    given = {name: request.parameters[name] for name in _OPTIONS if name in request.parameters}
    try:
        query = InferQuery.model_validate(given)
    except ValidationError as error:
        raise validation_error("body", error) from None
    return PredictOptions(query.top_k, query.threshold, query.normalize, encoding="base64")


def _timeout_s(request: InferRequest) -> float:
    """The parameter `timeout`, in microseconds; 0: without a timeout."""
    timeout = request.parameters.get("timeout", 0)
    if type(timeout) is not int or timeout < 0:
        raise InvalidRequestError("the parameter 'timeout' must be a whole number of microseconds")
    return timeout / 1e6 or math.inf


@asynccontextmanager
async def _deadline(timeout_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(None if timeout_s == math.inf else timeout_s):
            yield
    except TimeoutError:
        raise DeadlineExceededError(timeout_s) from None
