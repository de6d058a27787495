"""Writes docs/exports.md from the rows of the last test: `python -m tests.e2e.exports.table [FILE]`."""

import math
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from tests.e2e.exports.case import Case
from tests.e2e.exports.pictures import ODD, PICTURES
from tests.e2e.exports.registry import CASES
from tests.e2e.exports.row import NOISE, Row, read_row
from tests.paths import ROOT

PAGE = ROOT / "docs" / "exports.md"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _revision() -> str:
    """Of the last commit."""
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()


_HEAD = f"""# Exports

[Agreement](#agreement) · [Distances](#distances) · [Disagreements](#disagreements) · [Undecided](#undecided) ·
[Many boxes](#many-boxes) · [Reduced scale](#reduced-scale) · [Warnings](#warnings)

Exports of other frameworks at their real width, with random weights that are calibrated so that pictures matter. Each
is made by its own exporter, answered by its own framework, and answered by Fovea from the files as the exporter wrote
them. `make exports DOCS=1` writes this page; this one is of {_today()}, revision {_revision()}.

Pictures: {len(PICTURES) - len(ODD)} photos, and the odd ones {", ".join(f"`{name}`" for name in ODD)}.

## Agreement

Largest distance over the photos and over the odd pictures; the largest noise over the photos, which is the distance of
the framework from itself (see [Undecided](#undecided)); lines of `model.toml` that the export needs.

| export | made by | task | photos | odd | bound | noise | lines | warnings |
|---|---|---|---|---|---|---|---|---|
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
within 2 % of the box. Reference boxes end at the picture's edges; those without an area in the picture are left out,
though Ultralytics returns them. Where a segmentation model sees a centre crop, transformers stretches the map of the
crop over the whole picture; the reference has it where the crop was cut, as Fovea does.
"""
_DISAGREEMENTS = """
## Disagreements

Distances that nothing below explains.

"""
_UNDECIDED = f"""
## Undecided

Networks with random weights amplify noise, and two libraries round a few values of a resized picture to different
levels. So each framework also answers a copy of each picture in which one value of a hundred is one level (of 255) off.
The distance between its two answers is the noise. A distance above the bound proves nothing if it is at most {NOISE:g}
times the noise, which is in brackets. Nor do pictures that the framework cannot answer.

Some pictures are not asked: CMYK of Ultralytics, as OpenCV converts it in another way than Pillow; most of the two
processors above, which are slow; and masks of YOLO26 on `3000x20.png`, where the distance is 0.11: the picture is one
row of the mask prototypes. Ultralytics doubles the prototypes, cuts out two rows and enlarges these, so that the first
and the last quarter of a mask's rows repeat; Fovea interpolates between the prototypes. In other pictures, half a
prototype at the borders is concerned.

DETR has few layers here: with all of them, the noise was above the bound on eight of eleven pictures. RT-DETR's decoder
has one layer, and its boxes are near their anchors: with offsets as large as DETR's, its noise was 0.4 to 1.

"""
_MANY_BOXES = """
## Many boxes

Non-maximum suppression starts from the 3,000 boxes with the best scores, Ultralytics' from 30,000. The boxes that it
keeps are the same down to the score of the 3,000th; below that, they are missing here. Suppression of 3,000 boxes that
all stay takes 0.04 s of one core, of 25,200 it takes 3 s.

A trained detector stays below the limit at its default threshold: PicoDet-S (COCO) has at most 247 boxes above 0.25 on
44 photos, and 1,429 above 0.1. At 0.001, as for mean average precision, 228 to 1,772 of its best 3,000 stay, so that
answers of 100 boxes (the default) are complete. YOLOv5n with random weights has 3,636 boxes above 0.3 on `rgba.png`:
Ultralytics returns 835, Fovea the best 701 of them.
"""
_REDUCED = """
## Reduced scale

JPEGs much larger than the input are decoded at a reduced scale, unless `API_EXACT_DECODE=true`. Distances above the
bound without that setting, and in brackets with it:

"""


def main(page: Path = PAGE) -> None:
    rows = [(case, read_row(case) or Row(math.nan, math.nan, problems=["not tested"])) for case in CASES]
    sections = [
        _HEAD + "\n".join(_line(case, row) for case, row in rows) + "\n",
        _DISTANCES,
        _DISAGREEMENTS + _list((case, _problems(case, row)) for case, row in rows),
        _UNDECIDED + _list((case, _undecided(case, row)) for case, row in rows),
        _MANY_BOXES,
        _REDUCED + _list((case, _reduced(row)) for case, row in rows),
        "\n## Warnings\n\n" + _list((case, row.warnings) for case, row in rows),
    ]
    page.write_text("".join(sections), encoding="utf-8")


def _line(case: Case, row: Row) -> str:
    noise = max((noise for name, noise in row.noise.items() if name not in ODD), default=math.nan)
    cells = [
        f"`{case.name}`", case.exporter, case.task, _number(row.photos), _number(row.odd), f"{case.bound:g}",
        _number(noise), str(len(case.fields) or ""), str(len(row.warnings) or ""),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _number(distance: float) -> str:
    """With two digits; below a millionth it is 0."""
    if math.isnan(distance):
        return ""
    return "0" if distance < 1e-6 else f"{distance:.2g}" if distance >= 1e-4 else f"{distance:.0e}"


def _problems(case: Case, row: Row) -> list[str]:
    if row.agrees(case):
        return []
    found = [case.unlike] if case.unlike else []
    found += [] if row.task in (case.task, "") else [f"task `{row.task}`"]
    found += [problem[:150] for problem in row.problems[:3]]
    above = ", ".join(f"{name} {_number(apart)}" for name, apart in row.above(case).items())
    return [*found, *([above] if above else [])]


def _undecided(case: Case, row: Row) -> list[str]:
    unsteady = [f"{name} {_number(apart)} ({_number(row.noise[name])})" for name, apart in row.undecided(case).items()]
    unanswered = [f"{name} (no answer)" for name in case.pictures if row.by_picture and name not in row.by_picture]
    unasked = [f"{name} (not asked)" for name in PICTURES if name not in case.pictures]
    return unsteady + unanswered + unasked


def _reduced(row: Row) -> list[str]:
    return [f"{name} {_number(row.by_picture[name])} ({_number(apart)})" for name, apart in row.exact.items()]


def _list(entries: Iterable[tuple[Case, list[str]]]) -> str:
    lines = [f"- `{case.name}`: {'; '.join(texts)}\n" for case, texts in entries if texts]
    return "".join(lines) or "None.\n"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
