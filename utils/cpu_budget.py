"""The cores this process may use: the minimum of CPU affinity, cgroup quota and Python's `PYTHON_CPU_COUNT`."""

import math
import os
from collections.abc import Callable
from pathlib import Path

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_PROC_CGROUP = Path("/proc/self/cgroup")


def cpu_budget(cgroup_root: Path = _CGROUP_ROOT, proc_cgroup: Path = _PROC_CGROUP) -> int:
    """Returns whole cores, at least 1. A quota of 1.5 cores counts as 2, so that all of it is used."""
    quota = _cgroup_quota(cgroup_root, proc_cgroup)
    cores = _affinity()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _affinity() -> int:
    """The variable is Python 3.13's, for processes that share a machine without a quota."""
    count = os.environ.get("PYTHON_CPU_COUNT", "")
    return min(_usable_cores(), max(1, int(count))) if count.isdecimal() else _usable_cores()


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_quota(root: Path, proc_cgroup: Path) -> float | None:
    """Returns the smallest quota of this process's cgroup and its parents, in cores; None without a quota."""
    try:
        lines = proc_cgroup.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            quotas += _quotas_up(root, path, _quota_v2)
        elif "cpu" in controllers.split(","):
            quotas += _quotas_up(root / "cpu", path, _quota_v1)
    return min(quotas, default=None)


def _quotas_up(mount: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    folder = mount / path.lstrip("/")
    found = [read(parent) for parent in (folder, *folder.parents) if parent.is_relative_to(mount)]
    return [quota for quota in found if quota is not None]


def _quota_v2(folder: Path) -> float | None:
    """`cpu.max` holds "<quota us> <period us>", or "max <period us>" for no limit."""
    words = _read_words(folder / "cpu.max")
    if len(words) != 2 or words[0] == "max":
        return None
    return int(words[0]) / int(words[1])


def _quota_v1(folder: Path) -> float | None:
    """A quota of -1 means unlimited."""
    quota, period = (_read_words(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    if not quota or not period or int(quota[0]) <= 0:
        return None
    return int(quota[0]) / int(period[0])


def _read_words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
