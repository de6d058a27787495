"""The state of all models at one moment, for reports."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.models.followed_folder import FollowedFolder
from engine.models.load_attempt import ModelStatus
from engine.models.version_table import VersionTable


@dataclass(frozen=True, slots=True)
class VersionSnapshot:
    """One version on disk; `labels` are sorted."""

    number: int
    status: ModelStatus
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """One model; `versions` are sorted by number.

    `active`: the version that should answer when none is named; `pinned`: an operator chose it; `serving`: the version
    that answers now, None if none is loaded. `default`: the model answers requests that name none.
    """

    name: str
    default: bool
    active: int
    pinned: bool
    serving: int | None
    versions: tuple[VersionSnapshot, ...]


@dataclass(frozen=True, slots=True)
class CatalogSnapshot:
    """All models, sorted by name. `invalid`: entries of the models folder that are not served, with the reason."""

    default: str
    models: tuple[ModelSnapshot, ...]
    invalid: Mapping[str, str]


def snapshot_model(folder: FollowedFolder, table: VersionTable, name: str) -> ModelSnapshot:
    """Raises UnknownModelError, and ModelUnavailableError for an invalid folder."""
    active = folder.version(name).number
    labels = folder.choices.labels.get(name, {})
    versions = tuple(
        VersionSnapshot(
            number,
            table.status((name, number)),
            tuple(sorted(label for label, labelled in labels.items() if labelled == number)),
        )
        for number in sorted(folder.catalog[name])
    )
    pinned = folder.choices.active.get(name) == active
    return ModelSnapshot(name, name == folder.default.name, active, pinned, table.serving_number(name), versions)


def snapshot_catalog(folder: FollowedFolder, table: VersionTable) -> CatalogSnapshot:
    models = tuple(snapshot_model(folder, table, name) for name in sorted(folder.catalog))
    return CatalogSnapshot(folder.default.name, models, dict(folder.invalid))
