"""The machine, the versions and the revision of a run."""

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path

import psutil

from benchmarks.models import ROOT

_SHOWN = (
    "litserve",
    "bentoml",
    "ray",
    "fastapi",
    "uvicorn",
    "onnxruntime",
    "opencv-python-headless",
    "pillow",
    "numpy",
)
_LOCKS = ("requirements.lock", *(f"requirements/bench-{peer}.txt" for peer in ("litserve", "bentoml", "ray")))


def describe() -> dict[str, str]:
    """Names and values."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "revision": _revision(),
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        **_versions(),
    }


def _cpu_model() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _revision() -> str:
    """The commit, with a plus sign if the working tree differs; empty outside a repository."""
    commit = _git("rev-parse", "--short", "HEAD")
    return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _versions() -> dict[str, str]:
    """Versions from the locks that were installed."""
    pins: dict[str, str] = {}
    for lock in _LOCKS:
        for name, version in re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)", (ROOT / lock).read_text(), re.MULTILINE):
            pins.setdefault(name, version)
    return {name: pins[name] for name in _SHOWN if name in pins}
