"""A request leaves nothing in memory, also if it failed, without the garbage collector."""

import asyncio
from typing import NoReturn
from weakref import ref

import pytest

from engine.scheduling.run_context import RunContext, one_stage
from loaders.images.errors import CorruptImageError
from tests.engine.models.loading import eventually
from tests.engine.scheduling.worker_threads import scheduling
from utils.time_utils import DECODE, StageTimer


class Upload:
    """Stands for a picture; bytes cannot be weakly referenced."""


@pytest.mark.usefixtures("no_collector")
def test_a_failed_picture_is_freed_with_its_error() -> None:
    async def fail() -> "ref[Upload]":
        upload = Upload()
        watched = ref(upload)

        def work(context: RunContext, picture: Upload = upload) -> NoReturn:
            with context.timer.stage(DECODE):
                try:
                    raise ValueError(picture)
                except ValueError as error:
                    raise CorruptImageError("it is damaged") from error

        try:
            await scheduler.run(one_stage(work), StageTimer())
        except CorruptImageError:
            return watched
        raise AssertionError("it did not fail")

    async def main() -> None:
        watched = [await fail() for _ in range(3)]
        assert await asyncio.to_thread(eventually, lambda: [w() for w in watched] == [None] * 3)

    with scheduling(concurrency=1, queue_limit=1) as scheduler:
        asyncio.run(main())
