"""Shows the spec of a model and what decided each field: `python -m tools.inspect PATH`.

PATH is an .onnx file or a model's folder. Exit status: 0; 1 if the model cannot be understood (the reason is on
stderr); 2 for wrong arguments.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.models.load import resolve_files
from loaders.model_errors import ModelError, ModelFileError
from loaders.repository.model_repository import InvalidFolderError, ModelVersion, versions_in
from loaders.repository.names import parse_version
from loaders.repository.specs import ModelFiles, ResolvedSpec

_OK, _FAILED = 0, 1
_SUFFIX = ".onnx"
_LONGEST_VALUE = 60  # characters in the table


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status. Raises SystemExit(2) for wrong arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    path = Path(options.path)
    if not path.exists():
        parser.error(f"no such file or folder: {path}")
    try:
        resolved = resolve_files(find_model(path))
    except ModelError as error:
        Console(stderr=True).print(str(error), markup=False, highlight=False, soft_wrap=True)
        return _FAILED
    show = _show_json if options.json else _show_table
    show(resolved)
    return _OK


def find_model(path: Path) -> ModelFiles:
    """Returns the graph and the folders that describe it. Raises ModelFileError for a folder without a graph.

    The files beside a graph describe it if it is the only graph in the folder, or is named model*.onnx.
    """
    path = path.resolve()
    if path.is_dir():
        return _serving(path).files
    folder = path.parent
    alone = len(list(folder.glob(f"*{_SUFFIX}"))) == 1
    if not alone and not path.name.startswith("model"):
        return ModelFiles.of_bare_file(path)
    return ModelFiles.of_folder(path, folder.parent if folder.name == "onnx" or folder.name.isdecimal() else folder)


def _serving(folder: Path) -> ModelVersion:
    """Returns the version in the folder of a version, or the highest one of a model."""
    number = parse_version(folder.name)
    try:
        versions = versions_in(folder if number is None else folder.parent)
    except InvalidFolderError as error:
        raise ModelFileError(f"{folder.name}: {error}") from error
    chosen = [version for version in versions if version.number == number] or versions
    if not chosen:
        raise ModelFileError(f"{folder.name}: no {_SUFFIX} file")
    return chosen[-1]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.inspect", description="Shows the spec of a model.")
    parser.add_argument("path", metavar="PATH", help="an .onnx file, or a model's folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _show_json(resolved: ResolvedSpec) -> None:
    fields = {
        field: {"value": value, "decided_by": resolved.decided_by[field]} for field, value in resolved.fields().items()
    }
    line = orjson.dumps({"fields": fields, "warnings": resolved.warnings}, option=orjson.OPT_INDENT_2)
    sys.stdout.write(line.decode() + "\n")


def _show_table(resolved: ResolvedSpec) -> None:
    table = Table()
    for column in ("field", "value", "decided by"):
        table.add_column(column, overflow="fold")
    for field, value in resolved.fields().items():
        table.add_row(field, escape(_short(value)), escape(resolved.decided_by[field]))
    console = Console(highlight=False, soft_wrap=False)
    console.print(table)
    for warning in resolved.warnings:
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)


def _short(value: object) -> str:
    text = orjson.dumps(value).decode() if isinstance(value, list | dict) else str(value)
    if len(text) <= _LONGEST_VALUE:
        return text
    count = f" ({len(value)})" if isinstance(value, list | dict) else ""
    return f"{text[:_LONGEST_VALUE]}...{count}"


if __name__ == "__main__":
    sys.exit(main())
