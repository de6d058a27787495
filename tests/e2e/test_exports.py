"""Exports at real size are answered as their own framework answers. `make exports` makes them and runs this."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.exports.case import Answer, Case, read_answer
from tests.e2e.exports.distances import distance, same_first, spread_of
from tests.e2e.exports.pictures import ODD, PICTURES
from tests.e2e.exports.predictions import UnlikeError, read_predictions
from tests.e2e.exports.registry import CASES, QUICK
from tests.e2e.exports.row import NOTHING_IN_COMMON, Row, write_row
from tests.e2e.exports.served import Served, serve
from tests.e2e.exports.store import folder_of, read_report

pytestmark = pytest.mark.skipif(not any(read_report(case) for case in CASES), reason="make exports makes the exports")


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=[pytest.mark.quick] * (case.name in QUICK)) for case in CASES]
)
def test_export_is_answered_as_by_its_framework(case: Case, tmp_path: Path) -> None:
    report = read_report(case)
    assert report, "not made"
    assert "error" not in report, report["error"]
    models = tmp_path / "models"
    shutil.copytree(folder_of(case) / "drop", models, copy_function=_link)
    served = serve(case, models)
    silent: list[str] = []
    if case.toml:
        silent = [
            name for name in case.fields if not any(name.rpartition(".")[2] in warning for warning in served.warnings)
        ]
        _toml_of(case, models).write_text("\n".join([*case.toml, ""]))
        warnings, served = served.warnings, serve(case, models)
        served.warnings = warnings
    row = _compare(case, served)
    if jpegs := tuple(picture for picture in row.above(case) if picture.endswith(".jpg")):
        part = replace(case, pictures=jpegs)
        row.exact = _compare(part, serve(part, models, exact=True)).by_picture
    row.problems += [f"no warning names {name}" for name in silent]
    write_row(case, row)
    assert row.agrees(case) or (case.unlike and row.warnings), row


def _compare(case: Case, served: Served) -> Row:
    row = Row(task=served.task, warnings=served.warnings)
    if served.rejected:
        row.fail(f"not served: {served.rejected}")
        return row
    files = {picture: folder_of(case) / f"{picture}.npz" for picture in PICTURES}
    made = {picture: read_answer(file) for picture, file in files.items() if file.exists()}
    spread = spread_of([answer for picture, answer in made.items() if picture not in ODD])
    answers = {picture: answer for picture, answer in made.items() if picture in case.pictures}
    for picture, answer in answers.items():
        row.noise[picture] = _noise(case, picture, answer, spread)
        predictions = served.answers[picture]
        if isinstance(predictions, str):
            row.add(picture, NOTHING_IN_COMMON, predictions)
            continue
        try:
            found = read_predictions(case, predictions, answer)
        except UnlikeError as error:
            row.add(picture, NOTHING_IN_COMMON, str(error))
            continue
        first = case.task != "image-classification" or same_first(found, answer, row.limit(case, picture))
        row.add(picture, distance(case, found, answer, spread), "" if first else "another label is first")
    return row


def _noise(case: Case, picture: str, answer: Answer, spread: float) -> float:
    noisy = read_answer(folder_of(case) / f"{picture}.noisy.npz")
    return round(distance(case, noisy, answer, spread), 6)


def _link(source: str, target: str) -> str:
    """Gigabytes are copied only to another file system."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
    return target


def _toml_of(case: Case, models: Path) -> Path:
    bare = models / f"{case.name}.onnx"
    return models / f"{case.name}.toml" if bare.is_file() else models / case.name / "model.toml"
