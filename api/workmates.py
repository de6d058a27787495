"""What an operator does in one worker the others do, too, before the operator is answered."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict
from itertools import count
from typing import Any

from api.worker_link import Kind, Link
from engine.models.admin import Act, Deed, ModelAdmin

# A worker that has not followed by then goes on by itself: it looks at the models folder every second.
_PATIENCE_S = 60.0

_log = logging.getLogger("fovea.models")


class Workmates:
    """Of a process that serves alone there are none."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._ids = count()
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def connect(self, link: Link) -> None:
        self._link = link

    async def follow(self, deed: Deed) -> None:
        """Returns when all others have done the same, or after a minute."""
        if self._link is None:
            return
        relay = next(self._ids)
        self._waiting[relay] = asyncio.get_running_loop().create_future()
        self._link.tell(Kind.FOLLOW, id=relay, action=asdict(deed))
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._waiting[relay]
        except TimeoutError:
            _log.warning("not all workers have followed %s of %s yet", deed.act, deed.name)
        finally:
            del self._waiting[relay]

    def followed(self, relay: int) -> None:
        future = self._waiting.get(relay)
        if future and not future.done():
            future.set_result(None)


async def do_the_same(admin: ModelAdmin, action: dict[str, Any], done: Callable[[], None]) -> None:
    """What another worker has done; whatever goes wrong here is logged and does not hold the operator up."""
    try:
        await admin.follow(Deed(**{**action, "act": Act(action["act"])}))
    except Exception:  # noqa: BLE001 - the others must not wait for it
        _log.exception("what another worker did could not be followed")
    finally:
        done()
