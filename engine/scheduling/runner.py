"""Runs one model's graph by its plan: with as many intra-op threads as the cores allow, or several pictures in one run.

A session keeps the memory of its runs. Runs side by side in one session fragment it until it no longer fits the cache
of a core, which costs 10 to 20 % of the speed from then on. So each run has a session to itself.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from threading import local

from engine.scheduling.batcher import Batcher
from engine.scheduling.run_context import RunContext
from engine.scheduling.run_plan import RunPlan
from loaders.runtimes.base import RunStop, Session
from loaders.tensors import Tensor


class Runner:
    """`sessions`: the same graph by its number of intra-op threads, one for each run that may happen at once.

    May be used from many threads.
    """

    def __init__(self, sessions: Mapping[int, Sequence[Session]], plan: RunPlan) -> None:
        self.plan = plan
        self.session = sessions[plan.intra_op_threads[0]][0]  # all have the same inputs, outputs and providers
        self._pools = {threads: _Pool(sessions[threads]) for threads in plan.intra_op_threads}
        self._batcher = Batcher(self.session.run, plan.batch, plan.runs) if plan.batch > 1 else None

    def run(self, inputs: Mapping[str, Tensor], context: RunContext) -> dict[str, Tensor]:
        """All outputs by name, for one picture. Raises ModelRunError, RunStoppedError."""
        threads = self.plan.threads(context.cores())
        if self._batcher and threads == self.plan.intra_op_threads[0]:
            return self._batcher.run(inputs, context.stop)
        return self._pools[threads].run(inputs, context.stop)


class _Pool:
    """Gives each thread the session that it had last, whose memory is in its core's cache; with none free, any."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._any = sessions[0]
        self._free = deque(sessions)
        self._of_thread = local()

    def run(self, inputs: Mapping[str, Tensor], stop: RunStop) -> dict[str, Tensor]:
        session = self._take()
        if session is None:
            return self._any.run(inputs, stop)
        try:
            return session.run(inputs, stop)
        finally:
            self._free.append(session)

    def _take(self) -> Session | None:
        """The one that has been free the longest where this thread's own is taken: it is no other's to be."""
        own: Session | None = getattr(self._of_thread, "session", None)
        try:
            if own is not None and own in self._free:
                self._free.remove(own)
                return own
            self._of_thread.session = self._free.popleft()
        except (IndexError, ValueError):  # another thread was quicker
            return None
        return self._of_thread.session  # type: ignore[no-any-return]  # a local knows no types


def single_session(session: Session, threads: int) -> Runner:
    """Return a runner for a graph that always runs with `threads` intra-op threads."""
    return Runner({threads: [session]}, RunPlan((threads,)))
