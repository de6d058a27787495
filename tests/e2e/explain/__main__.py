"""Writes the figures of docs/explain.md: `python -m tests.e2e.explain`, about ten minutes on two cores."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from engine.explain.explainer import Method
from engine.explain.target import Question
from tests.e2e.explain.maps import Photo, in_input, photos
from tests.e2e.explain.measures import (
    SAMPLES,
    Areas,
    areas,
    correlation,
    maps_of,
    pointing_game,
    shuffled,
)
from tests.e2e.explain.xaitk import compared
from tests.engine.explain.explaining import explain
from tests.engine.tasks.real_models import load
from tests.paths import ROOT

PAGE = ROOT / "docs" / "explain.md"
_HEADING = "## Measured\n"
_FEW = 8  # of the photos: each so many


def main() -> None:
    text, _, _ = PAGE.read_text(encoding="utf-8").partition(_HEADING)
    parts = [_insertion_and_deletion(), _agreement(), _pointing(), _other_weights()]
    PAGE.write_text(text + _HEADING + "\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


def _insertion_and_deletion() -> str:
    model, found = load("efficientnet-lite0"), dict[str, list[Areas]]()
    for photo in photos():
        for name, heat in maps_of(model, photo).items():
            found.setdefault(name, []).append(areas(model, photo, heat))
    return "\n".join(
        [
            f"**Insertion and deletion**, default model, {len(photos())} labelled photos, `rise` with {SAMPLES} masks: pixels "
            "appear in the blurred picture, or are",
            "blurred, in the order of the map. The area under the curve of the label's score is large for insertion and "
            "small for deletion if the map is good.",
            "The last columns: photos on which a map is better than the random one and the Gaussian one.",
            "",
            "| map | insertion | deletion | better than random: insertion, deletion | better than Gaussian: insertion, deletion |",
            "|---|---|---|---|---|",
            *(_row(name, found) for name in found),
        ]
    )


def _row(name: str, found: dict[str, list[Areas]]) -> str:
    ours = found[name]
    insertion, deletion = np.mean([one.insertion for one in ours]), np.mean([one.deletion for one in ours])
    wins = []
    for other in ("random", "centred Gaussian"):
        pairs = list(zip(ours, found[other], strict=True))
        more, less = sum(a.insertion > b.insertion for a, b in pairs), sum(a.deletion < b.deletion for a, b in pairs)
        wins.append(f"{more}, {less}" if name != other and name.startswith("`") else "")
    return f"| {name} | {insertion:.3f} | {deletion:.3f} | {wins[0]} | {wins[1]} |"


def _few() -> tuple[Photo, ...]:
    return photos()[::_FEW]


def _agreement() -> str:
    model, rows = load("efficientnet-lite0"), []
    for method in Method:
        both = [compared(model, photo, method) for photo in _few()]
        found = [correlation(one.ours, one.theirs) for one in both]
        rows.append(f"| `{method}` | {np.mean(found):.3f} | {min(found):.3f} |")
    return "\n".join(
        [
            f"**Agreement with xaitk-saliency** 0.15.0 at equal masks and seed: Pearson's correlation of the maps, {len(_few())} "
            "photos. xaitk's map of `occlusion` is the",
            "mean over the windows, without interpolation. Its map of `rise` is of the scores less their mean: with the scores "
            "themselves, pixels that more masks",
            "happen to show look stronger.",
            "",
            "| method | mean | least |",
            "|---|---|---|",
            *rows,
        ]
    )


def _pointing() -> str:
    detector, rows = load("picodet-s-416"), []
    for method in Method:
        found = pointing_game(detector, method)
        chance = np.mean([one.share for one in found])
        rows.append(f"| `{method}` | {sum(one.hit for one in found)} of {len(found)} | {chance * len(found):.1f} |")
    return "\n".join(
        [
            "**Pointing game**, `picodet-s-416`, the annotated objects of three photos of PASCAL VOC: peaks that lie in the "
            "annotated box, and the number that random",
            "peaks would reach.",
            "",
            "| method | hits | by chance |",
            "|---|---|---|",
            *rows,
        ]
    )


def _other_weights() -> str:
    model, rows = load("efficientnet-lite0"), []
    with TemporaryDirectory() as folder:
        other = shuffled("efficientnet-lite0", Path(folder))
        for method in Method:
            found = [
                correlation(
                    *(in_input(one, explain(one, photo.file.read_bytes(), question, method)) for one in (model, other))
                )
                for photo in _few()
                for question in [Question(class_id=photo.class_id)]
            ]
            rows.append(f"| `{method}` | {np.mean(found):.2f} | {max(found):.2f} |")
    return "\n".join(
        [
            "**Other weights**: the correlation with the map of the same graph with shuffled weights. A method whose maps do "
            "not depend on the weights shows the",
            "picture and not the model.",
            "",
            "| method | mean | largest |",
            "|---|---|---|",
            *rows,
        ]
    )


if __name__ == "__main__":
    main()
