"""The state of versions, models and the whole catalog at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from engine.models.load_attempt import ModelState


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version. READY with a reason: it is loaded, but its changed files failed to load.

    `since` is UTC, None for a version that was never loaded. `labels` are sorted.
    """

    version: int
    state: ModelState
    reason: str | None = None
    since: datetime | None = None
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """One model with its versions on disk, sorted by number.

    `active`: the version that should answer when none is named; `pinned`: an operator chose it; `serving`: the version
    that answers now, None if none is loaded. `default`: the model answers requests that name none.
    """

    name: str
    default: bool
    active: int
    pinned: bool
    serving: int | None
    versions: list[VersionStatus]


@dataclass(frozen=True, slots=True)
class CatalogSnapshot:
    """All models, sorted by name. `invalid`: entries of the models folder that are not served, with the reason."""

    default: str
    models: list[ModelSnapshot]
    invalid: Mapping[str, str]
