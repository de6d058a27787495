"""What a request leaves behind: nothing, also where it failed, without the garbage collector's help."""

import asyncio
from typing import NoReturn
from weakref import ref

import pytest

from engine.scheduling.run_context import RunContext
from engine.scheduling.scheduler import Scheduler
from loaders.images.errors import CorruptImageError
from utils.time_utils import StageTimer


class Upload:
    """Stands for a picture; plain bytes cannot be watched."""


@pytest.mark.usefixtures("no_collector")
def test_a_picture_that_fails_leaves_memory_with_its_error() -> None:
    scheduler = Scheduler(lanes=1, queue_limit=1)

    async def ask() -> "ref[Upload]":
        upload = Upload()
        watched = ref(upload)

        def work(_: RunContext, picture: Upload = upload) -> NoReturn:
            try:
                raise ValueError(picture)
            except ValueError as error:
                raise CorruptImageError("it is damaged") from error

        try:
            await scheduler.run(work, StageTimer())
        except CorruptImageError:
            return watched
        raise AssertionError("it did not fail")

    async def main() -> None:
        left = [await ask() for _ in range(3)]
        await asyncio.sleep(0.1)  # the lane has let go of its last one
        assert [watched() for watched in left] == [None] * 3

    asyncio.run(main())
    scheduler.close()
