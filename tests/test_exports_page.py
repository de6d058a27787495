"""docs/exports.md has a row for each export that `make exports` compares."""

import re

from tests.e2e.exports.registry import CASES
from tests.pages import read
from tests.paths import ROOT

MOST_LINES = 3


def test_exports_page_has_every_export() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \| (?:transformers|timm|ultralytics|torchvision)",
        read(ROOT / "docs" / "exports.md"),
        re.MULTILINE,
    )
    assert rows == [case.name for case in CASES]


def test_few_exports_need_a_line_of_model_toml() -> None:
    assert len([case.name for case in CASES if case.toml]) <= MOST_LINES
