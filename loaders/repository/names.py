"""Model names and version numbers: the rules that settings, routes and the repository share."""

import re

MODEL_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_VERSION_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")


def parse_version(text: str) -> int | None:
    """Returns the version number (0 to 999999999, without leading zeros); None if the text is something else."""
    return int(text) if _VERSION_NUMBER.fullmatch(text) else None
