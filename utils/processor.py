"""Which processor this is, as far as the machine code matters that a runtime chooses for it."""

import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# The rest differs from core to core, or from moment to moment.
_LASTING = {
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
}  # fmt: skip


@cache
def processor(cpuinfo: Path = _CPUINFO) -> str | None:
    """Kind and instruction sets of all cores; None where the system does not tell (it does on Linux)."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return None
    lines = {" ".join(line.split()) for line in text.splitlines() if line.partition(":")[0].strip() in _LASTING}
    return "\n".join([platform.machine(), *sorted(lines)]) if lines else None
