"""A request's line is made by hand for speed; it must look like every other line."""

import structlog
from hypothesis import given
from hypothesis import strategies as st

from api.log_setup import plain_line

_VALUES = st.text() | st.floats(allow_nan=False) | st.integers() | st.none() | st.booleans()
_NAMES = st.sampled_from(["path", "status", "ms", "a", "zz", "request_id"])


@given(st.dictionaries(_NAMES, _VALUES))
def test_a_plain_line_is_structlogs(facts: dict[str, object]) -> None:
    line = {
        **facts,
        "event": "request",
        "level": "info",
        "logger": "fovea.request",
        "timestamp": "2026-11-22T13:38:31.383051Z",
    }
    by_structlog = structlog.dev.ConsoleRenderer(colors=False)(None, "info", dict(line))
    assert plain_line(line).rstrip(" ") == by_structlog
