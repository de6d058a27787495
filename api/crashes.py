"""Which model to blame for a worker's crash, and when it has had enough.

A process that crashes in a run takes all its runs with it, whichever was at fault. The blame goes to the version with
the fewest good runs in that worker: one that crashes has few, one that happened to run beside it has many.
"""

import signal
from collections.abc import Sequence
from time import monotonic, time

from engine.scheduling.scoreboard import Key, UnderWay

# Signals by which native code ends a process. SIGKILL is not among them: it is an operator's or the kernel's; nor is
# SIGBUS: somebody cut a file that is mapped, such as a kept graph, and all workers that map it end so, one by one.
_FAULTS = {signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}
WINDOW_S = 3600.0


class Crashes:
    """`limit`: crashes in WINDOW_S after which a version is not run any more; 0 for never.

    `quarantined`: since when (s since the epoch), and why.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._of: dict[Key, list[float]] = {}
        self.quarantined: dict[Key, tuple[float, str]] = {}

    def note(self, exit_code: int, under_way: Sequence[UnderWay]) -> Key | None:
        """A worker has ended so, with this under way: the version that it is put down to, if any."""
        if -exit_code not in _FAULTS or not under_way:
            return None
        blamed = min(under_way, key=lambda run: run.finished)
        key = (blamed.name, blamed.number)
        recent = [at for at in self._of.get(key, []) if monotonic() - at < WINDOW_S]
        self._of[key] = [*recent, monotonic()]
        if self._limit and len(self._of[key]) >= self._limit:
            reason = (
                f"quarantined: its runs have crashed {len(self._of[key])} worker processes, the last by "
                f"{signal.Signals(-exit_code).name}; replace it, or load it again to try once more"
            )
            self.quarantined[key] = (time(), reason)
        return key

    def forgive(self, key: Key) -> None:
        """An operator wants it tried again."""
        self._of.pop(key, None)
        self.quarantined.pop(key, None)
