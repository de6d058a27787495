"""Measures thoroughly which thread counts and batch sizes are best for models on this machine.

    python -m tools.tune                      all models in the models folder
    python -m tools.tune efficientnet-lite0   the named models

The service uses the results from its next start. Run it on an idle machine, with the service's settings. Exit status:
0; 1 if a model could not be measured; 2 for wrong arguments.
"""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from api.environment import SettingsError, load_settings
from api.settings import ApiSettings
from engine.models.load import load_model
from engine.models.tuner import Tuner
from engine.scheduling.run_plan import TuneLevel
from engine.scheduling.tuning import Tuning
from loaders.model_errors import ModelError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import Catalog, ModelRepository, ModelVersion, find_version
from loaders.runtimes.base import SessionOptions
from utils.cpu_budget import cpu_budget

_OK, _SOME_FAILED = 0, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status. Raises SystemExit(2) for wrong arguments."""
    parser = argparse.ArgumentParser(description="Measures the best thread counts and batch sizes of models.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of models; default: all")
    chosen = parser.parse_args(arguments).models
    try:
        settings = load_settings()
        versions = list(
            _versions(ModelRepository(settings.models_dir, twins=settings.precision == "fast").scan().catalog, chosen)
        )
    except (SettingsError, ModelError, OSError) as error:
        parser.error(str(error))
    results = [_tune(version, settings) for version in versions]
    return _OK if all(results) else _SOME_FAILED


def _versions(catalog: Catalog, names: Sequence[str]) -> list[ModelVersion]:
    """All versions of the named models. Raises UnknownModelError."""
    for name in names:
        find_version(catalog, name, None)
    return [version for name in names or sorted(catalog) for _, version in sorted(catalog[name].items())]


def _tune(version: ModelVersion, settings: ApiSettings) -> bool:
    console = Console(highlight=False, soft_wrap=True)
    loader, options = create_model_loader(settings.reference_loader), SessionOptions(settings.providers)
    cores = cpu_budget()
    tuner = Tuner(loader, options, cores, TuneLevel.FULL, cache=settings.cache_dir)
    console.print(f"{version.name} version {version.number}, {cores} cores ...", markup=False)
    try:
        tuning = tuner(load_model(version, loader, options), version).tuning
    except ModelError as error:
        console.print(f"  {error}", markup=False)
        return False
    if tuning:
        _show(tuning, console)
    return True


def _show(tuning: Tuning, console: Console) -> None:
    table = Table("intra-op threads", "batch size", "runs at once", "ms per run", "pictures/s")
    for row in tuning.measured:
        table.add_row(str(row.threads), str(row.batch), str(row.runs), f"{row.ms:.2f}", f"{row.pictures_per_s:.1f}")
    console.print(table)
    intra_op_threads = " or ".join(map(str, tuning.plan.intra_op_threads))
    console.print(f"chosen: {intra_op_threads} intra-op threads, batches up to {tuning.plan.batch} ({tuning.reason})")


if __name__ == "__main__":
    sys.exit(main())
