"""How a loaded model's answers compare with its samples."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SampleReport:
    """The samples of a model, and how far its answers are from its framework's.

    `largest_difference`: of all samples; 0 is equal, and a model is served if it is at most `tolerance`.
    `framework`, `versions`, `date` and `how` say how the samples were made.
    """

    summary: str
    count: int
    agreeing: int
    largest_difference: float
    tolerance: float
    framework: str
    date: str
    how: str
    versions: dict[str, str] = field(default_factory=dict)
