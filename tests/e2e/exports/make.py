"""Makes one export and its framework's answers."""

import shutil
import time
import traceback
import warnings

from tests.e2e.exports.case import write_answer
from tests.e2e.exports.pictures import ODD, PICTURES_FOLDER, noisy
from tests.e2e.exports.registry import CASES
from tests.e2e.exports.store import folder_of, write_report


def make(name: str) -> str:
    """Returns a line about it. A failure is in the report, and its traceback on stderr."""
    warnings.simplefilter("ignore")
    case = next(case for case in CASES if case.name == name)
    folder = folder_of(case)
    shutil.rmtree(folder, ignore_errors=True)
    drop = folder / "drop" / name
    drop.mkdir(parents=True)
    began = time.perf_counter()
    try:
        answer = case.make(drop)
        exported = time.perf_counter()
        for picture in case.pictures:
            try:
                write_answer(folder / f"{picture}.npz", answer(PICTURES_FOLDER / picture))
                write_answer(folder / f"{picture}.noisy.npz", answer(noisy(picture)))
            except Exception:
                if picture not in ODD:
                    raise  # the framework cannot answer others
    except Exception as error:  # noqa: BLE001 - a framework may raise anything; the others go on
        traceback.print_exc()
        write_report(case, error=f"{type(error).__name__}: {error}")
        return f"{name}: failed: {error}"
    answered = time.perf_counter()
    write_report(case, export_seconds=round(exported - began, 1), answer_seconds=round(answered - exported, 1))
    return f"{name}: exported in {exported - began:.1f} s, answered in {answered - exported:.1f} s"
