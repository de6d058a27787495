"""What was made, and how it compares to what it was made from, on the pictures given."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from loaders.repository.specs.model_spec import TaskName
from tools.quantization.agreement import MAIN_MEASURE, Measures

REPORT_FILE = "quantization.json"


@dataclass(frozen=True, slots=True)
class Report:
    """`agreement`: see engine/quantization/agreement.py. `bytes_*`: of the graph's file with all weights.

    `ms_*`: the median time of a run on one core, the two taking turns. `unreadable`: pictures that were left out.
    `float_first`: the share of the first layers, `float_last`: the number of last ones that stay float.
    """

    model: str
    made_from_version: int
    task: TaskName
    pictures: int
    unreadable: int
    agreement: Measures
    bytes_before: int
    bytes_after: int
    ms_before: float
    ms_after: float
    weight_bits: int
    float_first: float
    float_last: int
    runtime: str

    @property
    def main_agreement(self) -> float | None:
        """The number that tells most, 0 to 1; None where the pictures show nothing of what the model knows."""
        return self.agreement.get(MAIN_MEASURE[self.task])

    def write(self, folder: Path) -> None:
        (folder / REPORT_FILE).write_bytes(orjson.dumps(self, option=orjson.OPT_INDENT_2) + b"\n")
