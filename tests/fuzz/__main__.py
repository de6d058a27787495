"""Runs the parts one after another: `python -m tests.fuzz [--seconds N] [PART ...]`. They share the seconds.

Exit status: 0; 1 if a part has found a bug; 2 for wrong arguments or without atheris.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import SEEDS, TARGETS
from tests.paths import ROOT

_MODULES = {"document": "tests.fuzz.document", "wire": "tests.fuzz.wire"}
_PARTS = (*_MODULES, *TARGETS)
_MEMORY = Path("/dev/shm")
_SLICE_S = 60  # atheris leaks memory, see cover.py
_NO_ATHERIS = (
    "atheris is not installed; it has packages for CPython 3.11 to 3.14 on Linux x86-64 only. "
    "Try make clean fuzz PYTHON=python3.12"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(_PARTS)}; default: all")
    parser.add_argument("--seconds", type=int, default=600, help="for all parts together")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in _PARTS]:
        parser.error(f"unknown part {unknown[0]}; allowed: {', '.join(_PARTS)}")
    if not importlib.util.find_spec("atheris"):
        print(_NO_ATHERIS, file=sys.stderr)
        return 2
    parts = options.parts or _PARTS
    failed = [part for part in parts if not _run(part, max(1, options.seconds // len(parts)))]
    for part in failed:
        seeds = [file.name for file in sorted((SEEDS / part).glob("*-*"))] if part in TARGETS else []
        print(f"{part}: FAILED{', inputs kept in ' + str((SEEDS / part).relative_to(ROOT)) if seeds else ''}")
    print(f"fuzz: {len(parts) - len(failed)} of {len(parts)} parts found nothing")
    return 1 if failed else 0


def _run(part: str, seconds: int) -> bool:
    """Returns False if a bug was found."""
    print(f"== {part}, {seconds} s", flush=True)
    if part in _MODULES:
        return subprocess.run([sys.executable, "-m", _MODULES[part], str(seconds)], check=False).returncode == 0
    log = ROOT / ".proof" / "fuzz" / f"{part}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    while seconds > 0:
        command = [sys.executable, "-m", "tests.fuzz.cover", part, str(min(seconds, _SLICE_S))]
        # Decoders print a line for every damaged picture.
        with log.open("wb") as output, tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
            environment = {**os.environ, "TMPDIR": folder}
            ended = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False)
        code = ended.returncode
        lines = log.read_text(errors="replace").splitlines()
        print("\n".join([line for line in lines if "DONE" in line] if code == 0 else lines[-60:]), flush=True)
        if code:
            return False
        seconds -= _SLICE_S
    return True


if __name__ == "__main__":
    sys.exit(main())
