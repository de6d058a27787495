"""docs/reliability.md names tests that exist, and every limit."""

import re

import pytest

from api.settings import PREFIX, ApiSettings
from tests.paths import ROOT

TEXT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:tests|tests.e2e)/[\w/]+\.py)::(\w+)`", TEXT)))
# What a setting is called that bounds something.
LIMIT = re.compile(r"^max_|_limit$|_timeout_|^check_|_unload_|^keep_alive|^drain_|_wait_")


def test_many_tests_are_named() -> None:
    assert len(NAMED) > 60


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    assert re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_setting_that_is_a_limit_is_in_the_table_with_its_test() -> None:
    table = TEXT.partition("## Limits")[2].partition("\n## ")[0]
    rows = {row[1]: row[2] for row in re.findall(r"^\|([^|]+)\| `(\w+)` \|[^|]+\|([^|]+)\|$", table, re.MULTILINE)}
    assert set(rows) == {PREFIX + name.upper() for name in ApiSettings.model_fields if LIMIT.search(name)}
    assert all("::test_" in test for test in rows.values())


def test_every_row_of_faults_and_complaints_names_a_test() -> None:
    for heading in ("## Faults", "## What users of such services complain about"):
        rows = [line for line in TEXT.partition(heading)[2].partition("\n## ")[0].splitlines() if line.startswith("|")]
        assert len(rows) > 20
        assert not [row for row in rows[2:] if "::test_" not in row]
