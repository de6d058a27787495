"""Makes an 8-bit version of a model and compares it with the original on your pictures.

    python -m tools.quantize NAME FOLDER              the next version of models/NAME, not active
    python -m tools.quantize NAME FOLDER --out OUT    writes a separate model into the folder OUT

The pictures should resemble those that the model will see: they calibrate the value ranges, and both versions are
compared on them. Needs requirements/quantize.txt; `make quantize MODEL=NAME CALIBRATION=FOLDER` installs it.

Exit status: 0; 1 if the model cannot be quantised (the reason is on stderr); 2 for wrong arguments.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from api.environment import SettingsError, load_settings
from loaders.images.formats import picture_files
from loaders.model_errors import ModelError, UnknownModelError
from loaders.repository.model_repository import ModelRepository, find_version
from loaders.repository.model_state import ModelStateFile
from tools.predict.predictor import image_loader_of
from tools.quantization.int8_graph import QuantizationError
from tools.quantization.new_version import GOOD, add_version, quantize_into
from tools.quantization.report import Report

_OK, _FAILED = 0, 1


_HOW_TO_SWITCH = """
Version {new} of {name} was added and is not active; version {old} keeps serving. To try it, name it in a request:
  curl -F image=@picture.jpg 'http://127.0.0.1:8000/infer?model={name}&version={new}'
To activate it, and to go back:
  curl -X PUT -H 'X-API-Key: <one of API_ADMIN_KEYS>' -H 'Content-Type: application/json' \\
    -d '{{"version": {new}}}' http://127.0.0.1:8000/models/{name}/active
  ... -d '{{"version": {old}}}' ..."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status. Raises SystemExit(2) for wrong arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        pictures = picture_files(Path(options.pictures))
        catalog = ModelRepository(settings.models_dir).scan().catalog
        find_version(catalog, options.model)
    except (SettingsError, UnknownModelError, OSError) as error:
        parser.error(str(error))
    loader = image_loader_of(settings)
    errors = Console(stderr=True, soft_wrap=True)
    try:
        with errors.status(f"{options.model}: {len(pictures)} pictures ..."):
            if options.out:
                version = ModelStateFile(settings.models_dir).read().version(catalog, options.model)
                report = quantize_into(version, pictures, options.out, loader)
                new = None
            else:
                new, report = add_version(settings.models_dir, catalog, options.model, pictures, loader)
    except (QuantizationError, ModelError, OSError) as error:
        errors.print(str(error), markup=False, highlight=False)
        return _FAILED
    _show(report, new)
    return _OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.quantize", description="Makes an 8-bit version of a model and compares both."
    )
    parser.add_argument("model", metavar="NAME", help="name of a model in the models folder")
    parser.add_argument("pictures", metavar="FOLDER", help="folder of pictures like those that the model will see")
    parser.add_argument("--out", type=Path, metavar="OUT", help="a new folder to write the model to")
    return parser


def _show(report: Report, new: int | None) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table("", "before", "after")
    table.add_row("size, MB", f"{report.bytes_before / 1e6:.1f}", f"{report.bytes_after / 1e6:.1f}")
    table.add_row("ms per picture, one core", f"{report.ms_before:.1f}", f"{report.ms_after:.1f}")
    console.print(table)
    if report.float_first:
        console.print(
            f"The first {report.float_first:.0%} of the layers stay float: predictions differ too often otherwise."
        )
    left_out = f", {report.unreadable} unreadable ones skipped" if report.unreadable else ""
    console.print(f"Compared on {report.pictures} pictures{left_out}:", markup=False)
    for name, value in report.agreement.items():
        console.print(f"  {name.replace('_', ' ')}: {value:.4f}", markup=False)
    if report.main_agreement is None or report.main_agreement < GOOD:
        console.print("The predictions often differ: examine the new version before you use it.", markup=False)
    if new is not None:
        text = _HOW_TO_SWITCH.format(name=report.model, old=report.made_from_version, new=new)
        console.print(text, markup=False)


if __name__ == "__main__":
    sys.exit(main())
