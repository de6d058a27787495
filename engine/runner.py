"""One model's graph, run as its plan says: as wide as the cores allow, or several pictures at once."""

from collections.abc import Mapping

from engine.batcher import Batcher
from engine.run_plan import RunPlan
from engine.turn import Turn
from loaders.model_loader import Session, Tensor


class Runner:
    """`sessions`: the same graph by the number of cores a run of it may use. May be used from many threads."""

    def __init__(self, sessions: Mapping[int, Session], plan: RunPlan, wait_s: float = 0.0) -> None:
        self.plan = plan
        self._sessions = {width: sessions[width] for width in plan.widths}
        self._narrowest = self._sessions[plan.widths[0]]
        self._batcher = Batcher(self._narrowest.run, plan.batch, plan.runs, wait_s) if plan.batch > 1 else None

    @property
    def session(self) -> Session:
        """What tells inputs, outputs and providers; the same for all widths."""
        return self._narrowest

    def run(self, inputs: Mapping[str, Tensor], turn: Turn) -> dict[str, Tensor]:
        """All outputs by name, for one picture. Raises ModelRunError, RunStoppedError."""
        width = self.plan.width(turn.cores())
        session = self._sessions[width]
        if self._batcher and session is self._narrowest:
            return self._batcher.run(inputs, turn.stop)
        return session.run(inputs, turn.stop)


def one_width(session: Session, width: int) -> Runner:
    """Of a graph that always runs alike."""
    return Runner({width: session}, RunPlan((width,)))
