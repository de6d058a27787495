"""Finds the preprocessing of a classifier by measuring, and writes it to model.toml.

    python -m tools.find_recipe MODEL --photos labelled/

MODEL is a folder or an .onnx file. The labelled pictures are a folder with a folder of pictures for each class, named
by a label of the model or by the class's number; or a manifest.json (a list of {"file": ..., "class_id" or "label":
...}) or manifest.csv (columns file, class_id or label). Twenty pictures are a start.

Tries colour order, scale, mean and std, then resize, crop and interpolation, each stage on the best of the one before.
The most common recipe of those within one standard error of the best log-likelihood is written. It also names
the recipes within two standard errors, which these pictures cannot separate.

Exit status: 0; 1 if no recipe can be found (the reason is on stderr); 2 for wrong arguments.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file: the service's folder, not this one, whose inspect.py hides Python's
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from loaders.model_errors import ModelError
from loaders.repository.specs import ModelFiles
from tools.inspect import find_model
from tools.recipes.labelled import LabelledPhotosError, read_photos
from tools.recipes.search import Stage, search
from tools.recipes.subject import load_subject
from tools.recipes.written import spec_file, toml_of

_OK, _FAILED = 0, 1
_ROWS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status. Raises SystemExit(2) for wrong arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, soft_wrap=True)
    if not options.model.exists():
        parser.error(f"no such file or folder: {options.model}")
    try:
        files = find_model(options.model)
        target = options.out or spec_file(files, options.model)
        if target.exists() and not options.force:
            parser.error(f"{target} exists; choose another file with --out, or replace it with --force")
        text = _find(files, options.photos, console, errors)
        target.write_text(text, encoding="utf-8")
    except (ModelError, LabelledPhotosError, OSError) as error:
        errors.print(str(error), markup=False, highlight=False)
        return _FAILED
    console.print(f"written to {target}", markup=False)
    return _OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.find_recipe", description="Finds the preprocessing of a classifier by measuring."
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model's folder or .onnx file")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of labelled pictures, or a manifest")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write; default: the model's model.toml")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    return parser


def _find(files: ModelFiles, source: Path, console: Console, errors: Console) -> str:
    """The content of model.toml."""
    subject = load_subject(files)
    photos = read_photos(source, subject.model.spec.labels, subject.classes)
    stages: list[Stage] = []
    with errors.status(f"{len(photos)} pictures ...") as status:
        for stage in search(subject, photos, lambda recipe: status.update(f"{len(photos)} pictures: {recipe}")):
            stages.append(stage)
            _show(stage, console)
    return toml_of(stages, len(photos), open_size=subject.open_size)


def _show(stage: Stage, console: Console) -> None:
    ranking = stage.ranking
    table = Table("accuracy", "confidence", "behind", stage.title)
    best = ranking.measured[0]
    for evidence in ranking.measured[:_ROWS]:
        behind = "" if evidence is best else f"{evidence.behind(best):.1f} standard errors"
        figures = (f"{evidence.accuracy:.3f}", f"{evidence.confidence:.4f}", behind)
        table.add_row(*figures, stage.name(evidence.recipe))
    console.print(table)
    console.print(f"chosen: {stage.name(ranking.chosen.recipe)}", markup=False)
    if stage.not_separated:
        console.print(f"these pictures do not separate it from: {'; '.join(stage.not_separated)}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
