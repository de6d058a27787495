"""The state of all models at one moment, for reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from engine.models.followed_folder import FollowedFolder
from engine.models.load_attempt import ModelState
from engine.models.version_table import VersionTable
from loaders.repository.model_repository import ModelKey


@dataclass(frozen=True, slots=True)
class VersionSnapshot:
    """One version on disk with its status; `labels` are sorted."""

    version: int
    state: ModelState
    reason: str | None
    since: datetime | None
    labels: list[str]


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """One model with its versions, sorted by number.

    `active`: the version that should answer when none is named; `pinned`: an operator chose it; `serving`: the version
    that answers now, None if none is loaded. `default`: the model answers requests that name none.
    """

    name: str
    default: bool
    active: int
    pinned: bool
    serving: int | None
    versions: list[VersionSnapshot]


@dataclass(frozen=True, slots=True)
class CatalogSnapshot:
    """All models, sorted by name. `invalid`: entries of the models folder that are not served, with the reason."""

    default: str
    models: list[ModelSnapshot]
    invalid: Mapping[str, str]


def snapshot_model(folder: FollowedFolder, table: VersionTable, name: str) -> ModelSnapshot:
    """Raises UnknownModelError, and ModelUnavailableError for an invalid folder."""
    active = folder.version(name).number
    versions = [_snapshot_version(folder, table, (name, number)) for number in sorted(folder.catalog[name])]
    pinned = folder.choices.active.get(name) == active
    return ModelSnapshot(name, name == folder.default.name, active, pinned, table.serving_number(name), versions)


def snapshot_catalog(folder: FollowedFolder, table: VersionTable) -> CatalogSnapshot:
    models = [snapshot_model(folder, table, name) for name in sorted(folder.catalog)]
    return CatalogSnapshot(folder.default.name, models, dict(folder.invalid))


def _snapshot_version(folder: FollowedFolder, table: VersionTable, key: ModelKey) -> VersionSnapshot:
    name, number = key
    status = table.status(key)
    labels = sorted(label for label, labelled in folder.choices.labels.get(name, {}).items() if labelled == number)
    return VersionSnapshot(number, status.state, status.reason, status.since, labels)
