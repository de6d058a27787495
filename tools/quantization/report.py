"""The report on a quantised model: its size, speed and agreement with the original."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from loaders.repository.specs.model_spec import TaskName
from tools.quantization.agreement import MAIN_MEASURE, Measures

REPORT_FILE = "quantization.json"


@dataclass(frozen=True, slots=True)
class Report:
    """`agreement`: see agreement.py. `bytes_*`: size of the graph with all weights. `ms_*`: median run on one core.

    `unreadable`: pictures that were skipped. `float_first`: share of the first layers, `float_last`: number of the last
    layers, that stay float.
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
        """The most important measure, 0 to 1; None if it does not apply to any picture."""
        return self.agreement.get(MAIN_MEASURE[self.task])

    def write(self, folder: Path) -> None:
        (folder / REPORT_FILE).write_bytes(orjson.dumps(self, option=orjson.OPT_INDENT_2) + b"\n")
