"""A refused request leaves nothing behind, without the garbage collector's help: there are a thousand a second."""

import asyncio
from typing import Any
from weakref import ref

import pytest
from starlette.requests import Request

from api.routes.infer import Infer, ask
from api.schemas import InferQuery
from api.settings import ApiSettings
from engine.scheduling.scheduler import QueueFullError


class FullEngine:
    """Has no place for anybody."""

    def request(self, _: object) -> None:
        """Nothing to load."""

    def check_queue(self, _: object) -> None:
        raise QueueFullError(1, 1, 1)


@pytest.mark.usefixtures("no_collector")
def test_a_refused_request_leaves_memory_with_its_error() -> None:
    engine: Any = FullEngine()
    infer = Infer(ApiSettings(_env_file=None), lambda: engine)

    async def refused() -> "ref[Request]":
        request = Request({"type": "http", "headers": [], "client": None})
        watched = ref(request)
        try:
            await infer(request, ask(InferQuery()))
        except QueueFullError:
            return watched
        raise AssertionError("it was not refused")

    assert asyncio.run(refused())() is None
