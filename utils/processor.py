"""The kind of processor, as far as a runtime optimises for it."""

import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# Other fields differ between cores, or change over time.
_STABLE_FIELDS = {
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
}  # fmt: skip


@cache
def processor(cpuinfo: Path = _CPUINFO) -> str | None:
    """Returns model and instruction sets of all cores; None where /proc/cpuinfo does not exist."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return None
    lines = {" ".join(line.split()) for line in text.splitlines() if line.partition(":")[0].strip() in _STABLE_FIELDS}
    return "\n".join([platform.machine(), *sorted(lines)]) if lines else None
