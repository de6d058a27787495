"""Seconds from the start of the process until it is ready, and its memory then. Linux only.

.venv/bin/python -m benchmarks.startup [RUNS]
"""

import os
import re
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
_ADDRESS = re.compile(r"(?:url=|running on )(http://[0-9.]+:\d+)")
_MIB = 1024.0


def main() -> None:
    runs = [_measure() for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 10)]
    seconds, pss = zip(*runs, strict=True)
    print(f"start to ready, s: median {statistics.median(seconds):.2f}, min {min(seconds):.2f}, max {max(seconds):.2f}")
    print(f"PSS when ready, MiB: median {statistics.median(pss):.0f}, max {max(pss):.0f}")


def _measure() -> tuple[float, float]:
    """(seconds, MiB) of one start."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "main.py"], cwd=ROOT, env={**os.environ, "API_PORT": "0"}, stderr=subprocess.PIPE, text=True
    )
    try:
        base_url = _address(process)
        while not _ready(base_url):
            time.sleep(0.002)
        seconds = time.perf_counter() - started
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return seconds, sum(_pss(pid) for pid in (str(process.pid), *workers))
    finally:
        process.terminate()
        process.communicate()


def _address(process: subprocess.Popen[str]) -> str:
    for line in process.stderr or ():
        if found := _ADDRESS.search(line):
            return found[1]
    raise SystemExit("the service did not start")


def _ready(base_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base_url}/health/ready") as response:
            return bool(response.status == 200)
    except urllib.error.URLError:
        return False


def _pss(pid: str) -> float:
    """Memory in MiB; shared pages count once."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[0]) / _MIB


if __name__ == "__main__":
    main()
