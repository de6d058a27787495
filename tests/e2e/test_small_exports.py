"""Exports at a tiny width, dropped into a models folder as their exporters wrote them, answer as their frameworks did.

The service's own check of samples compares them; see tests/data/exports/README.md.
"""

from pathlib import Path

import pytest

from tests.e2e.exports.store import CACHE
from tests.engine.models.test_samples import check
from tests.paths import DATA

STORED = DATA / "exports"
MADE_AGAIN = CACHE / "small"  # by make exports


def _names(folder: Path) -> list[str]:
    """Of a folder or a bare file."""
    return sorted(
        file.parent.name.removesuffix(".samples") for file in folder.glob("*.samples/expected.json")
    ) + sorted(file.parents[1].name for file in folder.glob("*/samples/expected.json"))


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        *(pytest.param(STORED, name, id=name) for name in _names(STORED)),
        *(
            pytest.param(MADE_AGAIN, name, id=f"{name} made again", marks=pytest.mark.quick)
            for name in _names(MADE_AGAIN)
        ),
    ],
)
def test_a_small_export_is_answered_as_by_its_framework(folder: Path, name: str) -> None:
    report = check(folder, name)
    assert report
    assert report.agreeing == report.count == 3
