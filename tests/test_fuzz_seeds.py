"""The inputs that fuzzing has found: each runs through its target again."""

import pytest

from tests.fuzz.targets import SEEDS, TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_passes_its_target(name: str) -> None:
    seeds = sorted(file for file in (SEEDS / name).iterdir() if file.is_file())
    assert seeds
    for seed in seeds:
        try:
            TARGETS[name](seed.read_bytes())
        except Exception as error:
            error.add_note(f"the seed {name}/{seed.name}")
            raise
