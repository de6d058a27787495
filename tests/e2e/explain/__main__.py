"""Writes figures and picture of docs/explain.md: `python -m tests.e2e.explain`, about ten minutes on two cores."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from engine.drawing import encode
from engine.explain.explainer import Method
from engine.explain.heat_map import overlay
from engine.explain.target import TargetQuery
from tests.e2e.explain.maps import decoded, in_input, objects, photos
from tests.e2e.explain.measures import SAMPLES, Areas, areas, correlation, maps_of, pointing_game, shuffled
from tests.e2e.explain.xaitk import compared
from tests.engine.explain.explaining import explain
from tests.engine.tasks.real_models import load
from tests.paths import PHOTOS, ROOT

PAGE = ROOT / "docs" / "explain.md"
_PICTURE = ROOT / "docs" / "images" / "heat-maps.jpg"
_SHOWN, _WIDTH, _GAP = "gcompris_farm_dog.webp", 384, 8  # photo; pixels
_HEADING = "## Measured\n"
_FEW = photos()[::8]

_AREAS = f"""
**Insertion and deletion**, default model, {len(photos())} labelled photos, `rise` with {SAMPLES} masks. Pixels appear
in the blurred picture, or are blurred, in the order of the map. The area under the curve of the label's score is large
for insertion and small for deletion if the map is good. The last columns count the photos on which a map is better in
insertion, and in deletion.

| map | insertion | deletion | than random | than Gaussian |
|---|---|---|---|---|
"""
_AGREEMENT = f"""
**Agreement with xaitk-saliency** 0.15.0 at equal masks and seed, {len(_FEW)} photos: Pearson's correlation of the maps.
For `occlusion`, xaitk takes the mean over the windows, without interpolation. For `rise`, it gets the scores less their
mean: it adds up scores, so that pixels that more masks happen to show look stronger.

| method | mean | least |
|---|---|---|
"""
_POINTING = """
**Pointing game**, `picodet-s-416`, the annotated objects of three photos of PASCAL VOC: peaks that lie in the annotated
box, and how many random pixels would.

| method | hits | by chance |
|---|---|---|
"""
_OTHER_WEIGHTS = f"""
**Other weights**, default model, {len(_FEW)} photos: the correlation with the map of the same graph with shuffled
weights. A map that does not depend on the weights shows the picture and not the model.

| method | mean | largest |
|---|---|---|
"""


def main() -> None:
    _draw()
    text, _, _ = PAGE.read_text(encoding="utf-8").partition(_HEADING)
    sections = (
        (_AREAS, _insertion_and_deletion()),
        (_AGREEMENT, _agreement()),
        (_POINTING, _pointing()),
        (_OTHER_WEIGHTS, _other_weights()),
    )
    measured = "".join(head + "\n".join(rows) + "\n" for head, rows in sections)
    PAGE.write_text(text + _HEADING + measured, encoding="utf-8")


def _draw() -> None:
    """Both methods side by side."""
    model, photo, drawn = load("efficientnet-lite0"), decoded(PHOTOS / _SHOWN), []
    for method in Method:
        found = explain(model, (PHOTOS / _SHOWN).read_bytes(), TargetQuery(), method, samples=SAMPLES)
        height, width = photo.pixels.shape[:2]
        size = (_WIDTH, round(_WIDTH * height / width))
        drawn.append(cv2.resize(overlay(photo, found.heat_map.levels()), size, interpolation=cv2.INTER_AREA))
    gap = np.full((len(drawn[0]), _GAP, 3), 255, np.uint8)
    _PICTURE.write_bytes(encode(np.hstack([drawn[0], gap, drawn[1]]).astype(np.uint8), "image/jpeg"))


def _insertion_and_deletion() -> list[str]:
    model, found = load("efficientnet-lite0"), dict[str, list[Areas]]()
    for photo in photos():
        for name, heat in maps_of(model, photo).items():
            found.setdefault(name, []).append(areas(model, photo, heat))
    return [_areas_row(name, found) for name in found]


def _areas_row(name: str, found: dict[str, list[Areas]]) -> str:
    ours = found[name]
    means = (np.mean([one.insertion for one in ours]), np.mean([one.deletion for one in ours]))
    others = (found["random"], found["centred Gaussian"]) if name.startswith("`") else ()
    better = [_better(ours, other) for other in others] or ["", ""]
    return _row([name, *(f"{mean:.3f}" for mean in means), *better])


def _better(ours: Sequence[Areas], others: Sequence[Areas]) -> str:
    pairs = list(zip(ours, others, strict=True))
    return f"{sum(a.insertion > b.insertion for a, b in pairs)}, {sum(a.deletion < b.deletion for a, b in pairs)}"


def _agreement() -> list[str]:
    model, rows = load("efficientnet-lite0"), []
    for method in Method:
        both = [compared(model, photo, method) for photo in _FEW]
        found = [correlation(one.ours, one.theirs) for one in both]
        rows.append(_row([f"`{method}`", f"{np.mean(found):.3f}", f"{min(found):.3f}"]))
    return rows


def _pointing() -> list[str]:
    detector, rows = load("picodet-s-416"), []
    for method in Method:
        found = pointing_game(detector, method, objects())
        chance = sum(one.share for one in found)
        rows.append(_row([f"`{method}`", f"{sum(one.hit for one in found)} of {len(found)}", f"{chance:.1f}"]))
    return rows


def _other_weights() -> list[str]:
    model, rows = load("efficientnet-lite0"), []
    with TemporaryDirectory() as folder:
        other = shuffled("efficientnet-lite0", Path(folder))
        for method in Method:
            found = []
            for photo in _FEW:
                data, query = photo.file.read_bytes(), TargetQuery(class_id=photo.class_id)
                one, another = (in_input(each, explain(each, data, query, method)) for each in (model, other))
                found.append(correlation(one, another))
            rows.append(_row([f"`{method}`", f"{np.mean(found):.2f}", f"{max(found):.2f}"]))
    return rows


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
