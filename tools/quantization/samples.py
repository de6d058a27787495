"""Gives an 8-bit model the samples of its original, with a tolerance that it keeps."""

import math
import shutil
from pathlib import Path

from engine.models.loaded_model import LoadedModel
from engine.models.samples import sample_differences
from loaders.images.base import ImageLoader
from loaders.repository.model_repository import ModelVersion
from loaders.repository.samples import EXPECTED, FOLDER

# Other processors round otherwise.
_MARGIN = 1.25
# A model that differs more must not pass for one that agrees.
_MOST = 0.5


def copy_samples(original: ModelVersion, quantised: LoadedModel, folder: Path, loader: ImageLoader) -> None:
    """Copies the original's samples, if it has any, into the folder of the 8-bit version. Raises ModelSampleError."""
    source = original.samples
    expected = source.read() if source else None
    if source is None or expected is None:
        return
    worst = max(sample_differences(quantised, source, expected, loader))
    tolerance = max(expected.tolerance, math.ceil(worst.size * _MARGIN * 100) / 100)
    if tolerance > _MOST:
        return
    how = f"{expected.made.how}. The tolerance is that of the 8-bit model, which differs by {worst.size:.4f}"
    made = expected.made.model_copy(update={"how": how.removeprefix(". ")})
    changed = expected.model_copy(update={"tolerance": tolerance, "made": made})
    shutil.copytree(source.folder, folder / FOLDER)
    (folder / FOLDER / EXPECTED).write_text(changed.model_dump_json(exclude_none=True), encoding="utf-8")
