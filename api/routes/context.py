"""What the routes for inference share, and how they admit requests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property

from starlette.requests import Request

from api.problems import clear_frames_of
from api.security.guards import Guards
from api.security.rejection_delay import RejectionDelay
from api.settings import ApiSettings
from api.uploads.body import ArrivingMemory
from api.uploads.pictures import UploadLimits
from engine.inference_engine import InferenceEngine, ModelChoice
from engine.scheduling.scheduler import QueueFullError

GetEngine = Callable[[], InferenceEngine]

_MIB = 1024 * 1024
# Two pictures in flight, which a worker thread takes at once, and two ready. More would hold more memory.
_SLOTS_PER_THREAD = 4


@dataclass(frozen=True)
class InferenceContext:
    """`engine` returns the running engine, or raises NotReadyError."""

    settings: ApiSettings
    engine: GetEngine
    guards: Guards
    delay: RejectionDelay = field(default_factory=RejectionDelay, kw_only=True)

    @cached_property
    def upload_limits(self) -> UploadLimits:
        settings = self.settings
        memory = ArrivingMemory(settings.max_arriving_mb * _MIB)
        return UploadLimits(settings.max_upload_bytes, settings.body_timeout_s, memory)

    @property
    def memory(self) -> ArrivingMemory:
        """Shared by all uploads in progress."""
        return self.upload_limits.memory

    @cached_property
    def slots(self) -> asyncio.Semaphore:
        """Shared by the pictures in flight of all requests with several pictures."""
        return asyncio.Semaphore(_SLOTS_PER_THREAD * self.engine().scheduler.concurrency)

    @asynccontextmanager
    async def admitted(self, request: Request, *choices: ModelChoice) -> AsyncIterator[InferenceEngine]:
        """Enter it before the body is read: a full queue rejects the request, also later in the block, after a delay.

        Starts to load the models. Raises NotReadyError, UnknownModelError, QueueFullError.
        """
        engine = self.engine()
        engine.request(choices)
        try:
            engine.check_queue(choices)
            yield engine
        except QueueFullError as error:
            clear_frames_of(error)  # they hold the pictures
            await self.delay.wait(request.scope.get("client"))
            raise
