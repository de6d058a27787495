"""One row of docs/exports.md, kept beside the export between the test and the page."""

import json
from dataclasses import asdict, dataclass, field

from tests.e2e.exports.case import Case
from tests.e2e.exports.pictures import ODD
from tests.e2e.exports.store import folder_of

NOTHING_IN_COMMON = 1.0
# A distance of at most so many times the noise proves nothing. Resizes of two libraries round up to 3 % of a tensor's
# values to another level (measured against transformers); in the copy with noise, 1 % of the picture's are changed.
NOISE = 3.0


@dataclass(slots=True)
class Row:
    """`photos`, `odd`: the largest distance over photos and over odd pictures. `by_picture`: all of them.

    `noise`: the distance between the framework's answers about a picture and about its copy with noise.
    `exact`: the distance with API_EXACT_DECODE, of JPEGs that are above their limit without.
    """

    photos: float = 0.0
    odd: float = 0.0
    task: str = ""
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    by_picture: dict[str, float] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)
    exact: dict[str, float] = field(default_factory=dict)

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
        return self.task == case.task and not self.problems and not self.above(case)

    def above(self, case: Case) -> dict[str, float]:
        """The distances that nothing explains: neither the bound, nor noise, nor a decode at a reduced scale."""
        apart = self.by_picture | self.exact
        return {name: self.by_picture[name] for name in apart if apart[name] > self.limit(case, name)}

    def undecided(self, case: Case) -> dict[str, float]:
        """The distances above the bound of pictures at which the framework's own answer is as unsteady."""
        return {name: apart for name, apart in self.by_picture.items() if case.bound < apart <= self.limit(case, name)}

    def limit(self, case: Case, picture: str) -> float:
        return max(case.bound, NOISE * self.noise.get(picture, 0.0))


def write_row(case: Case, row: Row) -> None:
    (folder_of(case) / "row.json").write_text(json.dumps(asdict(row), indent=1), encoding="utf-8")


def read_row(case: Case) -> Row | None:
    """None if the case has not been tested."""
    try:
        return Row(**json.loads((folder_of(case) / "row.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
