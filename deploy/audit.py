"""`make audit`: looks up known vulnerabilities of every package in the locks, with pip-audit.

Exit status: 0, no vulnerability is known; 1, at least one is known; 3, the advisory service cannot be reached.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# What a deployment, a developer's machine and CI run; e2e.txt contains the service's own packages and HEIC's.
_LOCKS = (
    "requirements.lock",
    *(f"requirements/{group}.txt" for group in ("e2e", "quantize", "audit", "client", "docs")),
)
_OPTIONS = ("--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json", "--timeout=15")
_UNREACHABLE = 3


def main() -> int:
    unreachable, vulnerable = False, False
    for lock in _LOCKS:
        packages = _audit(lock)
        found = [package for package in packages if package.get("vulns")]
        skipped = [package for package in packages if "skip_reason" in package]
        for package in found:
            known = ", ".join(vulnerability["id"] for vulnerability in package["vulns"])
            _print(f"{lock}: {package['name']} {package['version']}: {known}")
        vulnerable = vulnerable or bool(found)
        if skipped or not packages:
            unreachable = True
            _print(f"{lock}: {len(skipped) or 'all'} packages could not be looked up")
        elif not found:
            _print(f"{lock}: {len(packages)} packages, no known vulnerability")
    if vulnerable:
        return 1
    return _UNREACHABLE if unreachable else 0


def _audit(lock: str) -> list[dict[str, Any]]:
    """Returns pip-audit's report on each package; empty if pip-audit failed."""
    command = [str(Path(sys.executable).with_name("pip-audit")), *_OPTIONS, "-r", lock]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        _print(f"{lock}: pip-audit failed: {last[0][:300]}")
        return []
    return packages


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
