"""One row of docs/exports.md, kept beside the export between the test and the page."""

import json
from dataclasses import asdict, dataclass, field

from tests.e2e.exports.case import Case
from tests.e2e.exports.pictures import ODD
from tests.e2e.exports.store import folder_of

NOTHING_IN_COMMON = 1.0


@dataclass(slots=True)
class Row:
    """`photos`, `odd`: the largest distance over photos and over odd pictures. `by_picture`: all of them."""

    photos: float = 0.0
    odd: float = 0.0
    task: str = ""
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    by_picture: dict[str, float] = field(default_factory=dict)

    def add(self, picture: str, apart: float, problem: str = "") -> None:
        self.by_picture[picture] = round(apart, 6)
        if problem:
            self.problems.append(f"{picture}: {problem}")
        if picture in ODD:
            self.odd = max(self.odd, apart)
        else:
            self.photos = max(self.photos, apart)

    def fail(self, problem: str) -> None:
        self.photos = self.odd = NOTHING_IN_COMMON
        self.problems.append(problem)

    def agrees(self, case: Case) -> bool:
        return self.task == case.task and not self.problems and max(self.photos, self.odd) <= case.bound


def write_row(case: Case, row: Row) -> None:
    (folder_of(case) / "row.json").write_text(json.dumps(asdict(row), indent=1), encoding="utf-8")


def read_row(case: Case) -> Row | None:
    """None if the case has not been tested."""
    try:
        return Row(**json.loads((folder_of(case) / "row.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
