"""The service as a process of its own, as `make run` starts it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.server import until

ROOT = Path(__file__).parent.parent
_ADDRESS = re.compile(r"running on (http://[0-9.]+:\d+)")


@contextmanager
def running_service(**environment: str) -> Iterator[str]:
    """Gives its base URL once it is ready; it is told to end by SIGTERM and must then exit with 0."""
    process = subprocess.Popen(
        [sys.executable, "main.py"],
        cwd=ROOT,
        env={**os.environ, "API_PORT": "0", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, "")), daemon=True)  # type: ignore[union-attr]
    reader.start()
    try:
        until(lambda: process.poll() is not None or _ADDRESS.search("".join(lines)))
        found = _ADDRESS.search("".join(lines))
        assert found, "".join(lines)
        base_url = found[1]
        until(lambda: httpx.get(f"{base_url}/health/ready").status_code == 200)
        yield base_url
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
        reader.join(5)
        process.stderr.close()
    assert code == 0, "".join(lines)[-2000:]
