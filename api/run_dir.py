"""A private folder for as long as the service runs, which its worker processes share: counters, and nothing to keep.

The supervisor makes it and tells its workers by an environment variable; a process that serves alone has none.
"""

import os
from pathlib import Path

RUN_DIR = "FOVEA_RUN_DIR"


def run_dir() -> Path | None:
    """None in a process that serves alone."""
    value = os.environ.get(RUN_DIR)
    return Path(value) if value else None
