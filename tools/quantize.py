"""Makes an 8-bit version of a model, beside the one that is served, and shows how it fares on your pictures.

    python -m tools.quantize NAME FOLDER              the next version of models/NAME; what was active stays active
    python -m tools.quantize NAME FOLDER --out OUT    a model of its own in the folder OUT

The pictures should be like those that the model will see: they show what values to expect, and are what both are
compared on. Needs requirements-quantize.txt; `make quantize MODEL=NAME CALIBRATION=FOLDER` installs it first.

Exit status: 0; 1 when it cannot be done (the reason is on stderr); 2 for a wrong call.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from api.settings import SettingsError, load_settings
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageLoaderOptions
from loaders.model_errors import ModelError, UnknownModelError
from loaders.repository.model_repository import ModelRepository, find_version
from loaders.repository.model_state import ModelStateFile
from tools.quantization import GOOD, QuantizationError, Report, add_version, quantize_into

_OK, _FAILED = 0, 1

_PICTURE_SUFFIXES = {
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
}  # fmt: skip

_HOW_TO_SWITCH = """
Version {new} of {name} is there and not active; version {old} goes on answering. To try it, ask for it by number:
  curl -F image=@picture.jpg 'http://127.0.0.1:8000/infer?model={name}&version={new}'
To make it the one that answers, and to go back:
  curl -X PUT -H 'X-API-Key: <one of API_ADMIN_KEYS>' -H 'Content-Type: application/json' \\
    -d '{{"version": {new}}}' http://127.0.0.1:8000/models/{name}/active
  ... -d '{{"version": {old}}}' ..."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; a wrong call raises SystemExit(2)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        pictures = _pictures(Path(options.pictures))
        catalog = ModelRepository(settings.models_dir).scan().catalog
        find_version(catalog, options.model)
    except (SettingsError, UnknownModelError, OSError) as error:
        parser.error(str(error))
    limits = ImageLoaderOptions(settings.max_image_pixels, settings.accept_truncated)
    loader = create_image_loader(settings.image_loader, limits)
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
    parser.add_argument("model", metavar="NAME", help="a model in the models folder")
    parser.add_argument("pictures", metavar="FOLDER", help="with pictures like those that the model will see")
    parser.add_argument("--out", type=Path, metavar="OUT", help="a folder to write it to, which is not there yet")
    return parser


def _pictures(folder: Path) -> list[Path]:
    """In the folder and below it, by their suffix, in order of name. Raises OSError."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _PICTURE_SUFFIXES]
    if not found:
        raise FileNotFoundError(f"no picture in the folder {folder}")
    return found


def _show(report: Report, new: int | None) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table("", "before", "after")
    table.add_row("size, MB", f"{report.bytes_before / 1e6:.1f}", f"{report.bytes_after / 1e6:.1f}")
    table.add_row("ms a picture, one core", f"{report.ms_before:.1f}", f"{report.ms_after:.1f}")
    console.print(table)
    if report.float_first:
        console.print(f"The first {report.float_first:.0%} of the layers stay float: else too little agrees.")
    left_out = f", {report.unreadable} unreadable ones left out" if report.unreadable else ""
    console.print(f"Compared on {report.pictures} pictures{left_out}:", markup=False)
    for name, value in report.agreement.items():
        console.print(f"  {name.replace('_', ' ')}: {value:.4f}", markup=False)
    if report.main_agreement is None or report.main_agreement < GOOD:
        console.print("They often answer differently: look closely before you use it.", markup=False)
    if new is not None:
        text = _HOW_TO_SWITCH.format(name=report.model, old=report.made_from_version, new=new)
        console.print(text, markup=False)


if __name__ == "__main__":
    sys.exit(main())
