"""A clock that can be moved while the service runs. Needs a C compiler."""

import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")
_FILE = "clock"


def movable_clock(folder: Path) -> dict[str, str]:
    """Returns the environment that makes a process use it; empty if it cannot be built."""
    compiler = shutil.which("cc")
    library = folder / "clock.so"
    if not compiler:
        return {}
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        return {}
    set_clock(folder, 0)
    return {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(folder / _FILE)}


def set_clock(folder: Path, shift_s: int) -> None:
    """Moves the time of day by `shift_s` seconds. The file is written in place, as the service maps it."""
    file = folder / _FILE
    with file.open("r+b" if file.exists() else "w+b", buffering=0) as opened:
        opened.write(struct.pack("l", shift_s))
