"""How requests for inference are admitted: a full queue rejects them before their body is read."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.requests import Request

from api.problems import clear_frames_of
from api.security.rejection_delay import RejectionDelay
from engine.inference_engine import InferenceEngine, ModelChoice
from engine.scheduling.scheduler import QueueFullError


@asynccontextmanager
async def admitted(
    request: Request, engine: InferenceEngine, choices: Sequence[ModelChoice], delay: RejectionDelay
) -> AsyncIterator[None]:
    """Starts to load the models. Raises UnknownModelError, and QueueFullError, also of the block, after a delay."""
    engine.request(choices)
    try:
        engine.check_queue(choices)
        yield
    except QueueFullError as error:
        clear_frames_of(error)  # they hold the pictures
        await delay.wait(request.scope.get("client"))
        raise
