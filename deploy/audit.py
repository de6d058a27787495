"""`make audit`: known vulnerabilities in what the locks name, by pip-audit.

Exit status 0: all were looked up and none is known; 1: some are known; 3: the advisory service could not be asked.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# Of what runs in a deployment, and of what runs on developers' machines and in CI.
_LOCKS = ("requirements.lock", "requirements-e2e.lock", "requirements-quantize.lock", "requirements-audit.lock")
_OPTIONS = ("--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json", "--timeout=15")
_UNREACHABLE = 3


def main() -> int:
    unreachable, vulnerable = [], False
    for lock in _LOCKS:
        packages = _looked_up(lock)
        found = [package for package in packages if package.get("vulns")]
        skipped = [package for package in packages if "skip_reason" in package]
        for package in found:
            known = ", ".join(vulnerability["id"] for vulnerability in package["vulns"])
            _say(f"{lock}: {package['name']} {package['version']}: {known}")
        vulnerable = vulnerable or bool(found)
        if skipped or not packages:
            unreachable.append(lock)
            _say(f"{lock}: {len(skipped) or 'all'} packages could not be looked up")
        elif not found:
            _say(f"{lock}: {len(packages)} packages, no known vulnerability")
    if vulnerable:
        return 1
    return _UNREACHABLE if unreachable else 0


def _looked_up(lock: str) -> list[dict[str, Any]]:
    """What pip-audit says of each package; nothing where it could not ask."""
    command = [str(Path(sys.executable).with_name("pip-audit")), *_OPTIONS, "-r", lock]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = done.stderr.strip().splitlines()[-1:] or [f"it ended with status {done.returncode}"]
        _say(f"{lock}: pip-audit failed: {last[0][:300]}")
        return []
    return packages


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
