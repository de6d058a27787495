"""The soak and the chaos, briefly: `make soak` and `make chaos` go on for longer."""

import pytest

from proof.chaos import __main__ as chaos
from proof.soak import __main__ as soak


def test_every_fault_once_under_load_and_every_request_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    status = chaos.main(["--seconds", "22", "--seed", "1"])
    assert status == 0, capsys.readouterr().out


def test_a_mixed_load_is_answered_right(capsys: pytest.CaptureFixture[str]) -> None:
    """Too short to tell growth but for the worst."""
    status = soak.main(["--minutes", "0.2"])
    assert status == 0, capsys.readouterr().out
