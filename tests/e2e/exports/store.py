"""Where exports and answers are kept: .cache/exports/NAME, with `drop/` for the models folder and an .npz a picture.

A kept export is made again when the code that makes it, or the environment, is another.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.e2e.exports.case import Case
from tests.paths import ROOT

CACHE = ROOT / ".cache" / "exports"
_HERE = Path(__file__).parent
_SHARED = ("calibration.py", "case.py", "hugging_face.py", "pictures.py")


def folder_of(case: Case) -> Path:
    return CACHE / case.name


def digest_of(case: Case) -> str:
    family = Path(case.make.__code__.co_filename)
    files = [family, *(_HERE / name for name in _SHARED), ROOT / "requirements" / "exports.txt"]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files if file.exists())).hexdigest()


def read_report(case: Case) -> dict[str, Any]:
    """`digest`, `seconds` and, if the export failed, `error`; empty if it was not made."""
    try:
        report: dict[str, Any] = json.loads((folder_of(case) / "report.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return report


def write_report(case: Case, **report: object) -> None:
    text = json.dumps({"digest": digest_of(case), **report}, indent=1)
    (folder_of(case) / "report.json").write_text(text, encoding="utf-8")


def is_kept(case: Case) -> bool:
    report = read_report(case)
    return report.get("digest") == digest_of(case) and "error" not in report
