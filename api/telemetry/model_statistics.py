"""What each model version has done in this process: pictures, and the time of their stages."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import time

from engine.pipeline import Answer, TensorAnswer


@dataclass(slots=True)
class VersionStatistics:
    """`stages`: seconds by stage. `last_at`: Unix time of the last answer, 0 before the first."""

    answered: int = 0
    failed: int = 0
    failed_seconds: float = 0.0
    last_at: float = 0.0
    stages: dict[str, float] = field(default_factory=lambda: defaultdict(float))


class ModelStatistics:
    """Belongs to the event loop. Versions are few, so none is forgotten."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, int], VersionStatistics] = {}

    def of(self, name: str, version: int) -> VersionStatistics:
        return self._versions.setdefault((name, version), VersionStatistics())

    def answered(self, answers: Sequence[Answer | TensorAnswer]) -> None:
        for answer in answers:
            version = self.of(answer.model.name, answer.model.version)
            version.answered += 1
            version.last_at = time()
            for stage, seconds in answer.timer.stages.items():
                version.stages[stage] += seconds

    def failed(self, name: str, version: int, seconds: float) -> None:
        """Counts a request that failed; each interface counts its own."""
        found = self.of(name, version)
        found.failed += 1
        found.failed_seconds += seconds
