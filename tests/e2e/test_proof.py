"""The soak and the chaos, briefly: `make soak` and `make chaos` go on for longer."""

import pytest

from tests.chaos import __main__ as chaos
from tests.soak import __main__ as soak
from tests.soak.samples import Sample, grown


def test_faults_by_chance_under_load_and_every_request_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    status = chaos.main(["--seconds", "22", "--seed", "1"])
    assert status == 0, capsys.readouterr().out


def test_a_mixed_load_is_answered_right(capsys: pytest.CaptureFixture[str]) -> None:
    """Too short to tell growth but for the worst."""
    status = soak.main(["--minutes", "0.2"])
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize(("leak_mib_a_minute", "grows"), [(0.0, False), (2.0, True)])
def test_a_leak_is_told_from_swaps_that_come_and_go(leak_mib_a_minute: float, grows: bool) -> None:
    """Half an hour; every fifth sample meets a swap, which holds two models."""
    samples = [
        Sample(at, 3, 900, 600 + leak_mib_a_minute * at / 60 + 150 * (number % 5 == 0), 40, 60, 0, 20, 90)
        for number, at in enumerate(range(0, 1800, 6))
    ]
    assert [line.split()[0] for line in grown(samples)] == ["pss_mib"] * grows
