"""A short soak and a short chaos run; `make soak` and `make chaos` run longer ones."""

import pytest

from tests.chaos import __main__ as chaos
from tests.soak import __main__ as soak
from tests.soak.samples import Sample, grown


def test_every_request_is_answered_under_random_faults(capsys: pytest.CaptureFixture[str]) -> None:
    status = chaos.main(["--seconds", "22", "--seed", "1"])
    assert status == 0, capsys.readouterr().out


def test_a_mixed_load_gets_right_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """Too short to show slow growth."""
    status = soak.main(["--minutes", "0.2"])
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize(("leak_mib_a_minute", "grows"), [(0.0, False), (2.0, True)])
def test_a_leak_differs_from_the_peaks_of_swaps(leak_mib_a_minute: float, grows: bool) -> None:
    """Half an hour; every fifth sample is taken during a swap, which holds two models."""
    samples = [
        Sample(at, 3, 900, 600 + leak_mib_a_minute * at / 60 + 150 * (number % 5 == 0), 40, 60, 0, 20, 90)
        for number, at in enumerate(range(0, 1800, 6))
    ]
    assert [line.split()[0] for line in grown(samples)] == ["pss_mib"] * grows
