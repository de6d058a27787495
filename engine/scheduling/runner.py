"""Runs one model's graph by its plan: with as many intra-op threads as the cores allow, or several pictures in one run.

A session keeps the memory of its runs. Runs side by side in one session fragment it until it no longer fits the cache
of a core, which costs 10 to 20 % of the speed from then on. So each run has a session to itself.
"""

from collections.abc import Callable, Mapping, Sequence

from engine.scheduling.batcher import Batcher
from engine.scheduling.run_context import RunContext
from engine.scheduling.run_plan import RunPlan
from loaders.runtimes.base import RunStop, Session
from loaders.tensors import Tensor


class Runner:
    """`sessions`: the same graph by its number of intra-op threads, one for each run that may happen at once.

    May be used from many threads. `ran` is called after each run of a plan with batches, with its number of pictures.
    """

    def __init__(self, sessions: Mapping[int, Sequence[Session]], plan: RunPlan) -> None:
        self.plan = plan
        self.session = sessions[plan.intra_op_threads[0]][0]  # all have the same inputs, outputs and providers
        self._sessions = sessions
        self._free = {threads: list(sessions[threads]) for threads in plan.intra_op_threads}
        self.ran: Callable[[int], None] = lambda _: None
        self._batcher = Batcher(self._run_batch, plan.batch, plan.runs) if plan.batch > 1 else None

    def run(self, inputs: Mapping[str, Tensor], context: RunContext) -> dict[str, Tensor]:
        """All outputs by name, for one picture. Raises ModelRunError, RunStoppedError."""
        threads = self.plan.threads(context.cores())
        if self._batcher and threads == self.plan.intra_op_threads[0]:
            return self._batcher.run(inputs, context.stop)
        free = self._free[threads]
        try:
            session = free.pop()  # the one that was used last, whose memory is in the caches
        except IndexError:  # more runs than sessions
            return self._sessions[threads][0].run(inputs, context.stop)
        try:
            return session.run(inputs, context.stop)
        finally:
            free.append(session)

    def _run_batch(self, inputs: Mapping[str, Tensor], stop: RunStop | None) -> dict[str, Tensor]:
        outputs = self.session.run(inputs, stop)
        self.ran(len(next(iter(inputs.values()))))
        return outputs


def single_session(session: Session, threads: int) -> Runner:
    """Return a runner for a graph that always runs with `threads` intra-op threads."""
    return Runner({threads: [session]}, RunPlan((threads,)))
