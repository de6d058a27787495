"""Refused requests by the thousand: a few lines, and the sum of the others."""

import asyncio
import logging

import pytest

from api import refusal_lines
from api.refusal_lines import OWN_LINES, RefusalLines

MORE = 1000


def test_the_first_of_a_second_have_lines_and_the_others_are_told_together(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refusal_lines, "_EVERY_S", 0.05)
    caplog.set_level(logging.WARNING)

    async def seconds() -> None:
        lines = RefusalLines()
        for _ in range(2):
            shown = [lines.has_own("queue_full") for _ in range(OWN_LINES + MORE)]
            assert shown == [True] * OWN_LINES + [False] * MORE
            assert lines.has_own("rate_limited"), "which is a matter of its own"
            assert all(lines.has_own(code) for code in [None, "empty_image", "internal_error"] * MORE)
            await asyncio.sleep(0.2)

    asyncio.run(seconds())
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{MORE} more requests were refused in the last second: queue_full"] * 2


def test_a_few_have_their_lines_and_no_sum(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(refusal_lines, "_EVERY_S", 0.05)

    async def second() -> None:
        lines = RefusalLines()
        assert all(lines.has_own("queue_full") for _ in range(OWN_LINES))
        await asyncio.sleep(0.2)

    asyncio.run(second())
    assert not caplog.records
