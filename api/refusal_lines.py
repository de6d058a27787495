"""The log's lines about refused requests: where they come by the hundred, most are told together."""

import asyncio
import logging
from collections import Counter

from api.problems import KINDS, RateLimitedError, UploadsFullError
from engine.scheduling.scheduler import QueueFullError

_REFUSALS = frozenset(KINDS[error].code for error in (QueueFullError, RateLimitedError, UploadsFullError))
# So many a second and a code have a line of their own.
OWN_LINES = 20
_EVERY_S = 1.0

_log = logging.getLogger("fovea")


class RefusalLines:
    """Of one event loop. A line costs a third of what a refusal does, and a thousand a second hide everything else."""

    def __init__(self) -> None:
        self._seen = Counter[str]()

    def has_own(self, code: str | None) -> bool:
        """Whether a request that was answered with that problem code, or with none, gets a line."""
        if code not in _REFUSALS:
            return True
        if not self._seen:
            asyncio.get_running_loop().call_later(_EVERY_S, self._tell_others)
        self._seen[code] += 1
        return self._seen[code] <= OWN_LINES

    def _tell_others(self) -> None:
        for code, count in self._seen.items():
            if count > OWN_LINES:
                _log.warning("%s more requests were refused in the last second: %s", count - OWN_LINES, code)
        self._seen.clear()
