"""Writes docs/exports.md from the rows of the last test: `python -m tests.e2e.exports.table [FILE]`."""

import math
import sys
from pathlib import Path

from tests.e2e.exports.case import Case
from tests.e2e.exports.pictures import ODD, PICTURES
from tests.e2e.exports.registry import CASES
from tests.e2e.exports.row import Row, read_row
from tests.paths import ROOT

PAGE = ROOT / "docs" / "exports.md"
_HEAD = f"""# Exports

[Agreement](#agreement) · [Distances](#distances) · [Warnings](#warnings) · [Disagreements](#disagreements)

Exports of other frameworks at their real width, with random weights that are calibrated so that pictures matter. Each
is made by its own exporter, answered by its own framework, and answered by Fovea from the files as the exporter wrote
them. `make exports DOCS=1` writes this page.

Pictures: {len(PICTURES) - len(ODD)} photos, and the odd ones {", ".join(f"`{name}`" for name in ODD)}.

## Agreement

Largest distance over the photos and over the odd pictures; lines of `model.toml` that the export needs.

| export | made by | task | photos | odd | bound | lines | warnings |
|---|---|---|---|---|---|---|---|
"""
_DISTANCES = """
## Distances

| task | distance |
|---|---|
| `image-classification` | largest difference of a probability; the first label is also the framework's |
| `image-feature-extraction` | of the vectors, relative to the distance between photos |
| `depth-estimation`, `tensor` | mean difference, relative to the range of the framework's values |
| `image-segmentation` | share of pixels with another class; of objects as below, with masks |
| `object-detection`, `keypoint-detection` | 1 - F1 of the objects |

Two objects agree if they have one label, boxes or masks with an IoU of at least 0.9, scores within 0.02, and keypoints
within 2 % of the box. Reference boxes end at the picture's edges. Where a segmentation model sees a centre crop,
transformers stretches the map of the crop over the whole picture; the reference has it where the crop was cut, as Fovea
does.
"""


def main(page: Path = PAGE) -> None:
    rows = [(case, read_row(case) or Row(math.nan, math.nan, problems=["not tested"])) for case in CASES]
    table = "\n".join(_line(case, row) for case, row in rows)
    warnings = [(case.name, row.warnings) for case, row in rows if row.warnings]
    disagreements = [(case.name, _problems(case, row)) for case, row in rows if not row.agrees(case)]
    sections = [f"## Warnings\n\n{_list(warnings)}", f"## Disagreements\n\n{_list(disagreements)}"]
    page.write_text("\n".join([f"{_HEAD}{table}", _DISTANCES, "\n\n".join(sections), ""]), encoding="utf-8")


def _line(case: Case, row: Row) -> str:
    cells = [
        f"`{case.name}`", case.exporter, case.task, _number(row.photos), _number(row.odd), f"{case.bound:g}",
        str(len(case.fields) or ""), str(len(row.warnings) or ""),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _number(distance: float) -> str:
    """With two digits; below a millionth it is 0."""
    if math.isnan(distance):
        return ""
    return "0" if distance < 1e-6 else f"{distance:.2g}" if distance >= 1e-4 else f"{distance:.0e}"


def _problems(case: Case, row: Row) -> list[str]:
    found = [] if row.task in (case.task, "") else [f"task `{row.task}`"]
    above = ", ".join(f"{name} {apart:.2g}" for name, apart in row.by_picture.items() if apart > case.bound)
    return [*found, *(problem[:150] for problem in row.problems[:3]), *([above] if above else [])]


def _list(entries: list[tuple[str, list[str]]]) -> str:
    return "\n".join(f"- `{name}`: {'; '.join(texts)}" for name, texts in entries) or "None."


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
