"""Writes a found recipe as model.toml."""

import json
from collections.abc import Sequence
from pathlib import Path

from loaders.repository.specs import ModelFiles
from loaders.repository.specs.model_files import MODEL_TOML
from loaders.repository.specs.model_spec import TaskName
from tools.recipes.search import Stage

# Fields that a recipe decides; size and layout only where the graph does not.
_FIELDS = ("resize", "shortest_edge", "interpolation", "pad_value", "color", "rescale_factor", "mean", "std")


def spec_file(files: ModelFiles, path: Path) -> Path:
    """The file that the service reads: model.toml in a model's folder, x.toml beside a bare x.onnx."""
    bare = path.is_file() and not path.name.startswith("model")
    return files.graph.with_suffix(".toml") if bare or not files.folders else files.folders[-1] / MODEL_TOML


def toml_of(stages: Sequence[Stage], photos: int, *, open_size: bool) -> str:
    """Comments say how sure each part is."""
    chosen = stages[-1].ranking.chosen
    lines = [
        f"# Found by tools/find_recipe.py with {photos} labelled pictures:",
        f"# {chosen.accuracy:.1%} right, mean probability of the right class {chosen.confidence:.4f}.",
    ]
    for stage in stages:
        lines += [f"# {stage.title}: not separated from {other}" for other in stage.not_separated]
    lines += [f'task = "{TaskName.IMAGE_CLASSIFICATION}"', "", "[preprocess]"]
    values = chosen.recipe.spec.model_dump(mode="json", exclude=None if chosen.recipe.is_padded else {"pad_value"})
    fields = ("size", "layout", *_FIELDS) if open_size else _FIELDS
    return "\n".join(
        [*lines, *(f"{name} = {json.dumps(values[name])}" for name in fields if values.get(name) is not None), ""]
    )
