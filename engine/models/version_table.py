"""The versions in memory: their last loads, and which of them serves each model."""

import weakref

from engine.models.catalog_snapshot import VersionStatus
from engine.models.load_attempt import LoadAttempt, ModelState
from engine.models.loaded_model import LoadedModel
from loaders.repository.model_repository import ModelKey


class VersionTable:
    """`attempts`: the last load of each version; `serving`: by model name. The owner's lock protects it.

    Dropped versions are kept in `dropped` until the owner has released its lock, because freeing a model takes
    10 to 120 ms; after that, running requests may hold them longer.
    """

    def __init__(self) -> None:
        self.attempts: dict[ModelKey, LoadAttempt] = {}
        self.serving: dict[str, LoadAttempt] = {}
        self.dropped: list[LoadAttempt] = []
        self._unloading: dict[ModelKey, weakref.ref[LoadedModel]] = {}

    def ready(self, key: ModelKey) -> LoadAttempt | None:
        """The load of a version that answers, if any: the last one, or the one before it."""
        attempt = self.attempts.get(key)
        return attempt.answering if attempt else None

    def all_ready(self) -> list[LoadAttempt]:
        return [ready for attempt in self.attempts.values() if (ready := attempt.answering)]

    def serving_number(self, name: str) -> int | None:
        attempt = self.serving.get(name)
        return attempt.version.number if attempt else None

    def status(self, key: ModelKey, labels: list[str]) -> VersionStatus:
        number, attempt, unloading = key[1], self.attempts.get(key), self._unloading.get(key)
        if attempt:
            shown = attempt.answering or attempt
            reason = self.explain(key, attempt.reason) if attempt.failed else None
            return VersionStatus(number, shown.state, reason, shown.since, labels)
        if unloading and unloading():
            return VersionStatus(number, ModelState.UNLOADING, "its last requests are running", labels=labels)
        reason = "not loaded; the next request for it loads it"
        return VersionStatus(number, ModelState.UNAVAILABLE, reason, labels=labels)

    def explain(self, key: ModelKey, reason: str) -> str:
        """Adds what keeps serving to the reason of a failure, so that it does not read as an outage."""
        name, number = key
        serving = self.serving_number(name)
        if serving is None:
            return reason
        return f"{reason}; {'its previous files keep' if serving == number else f'version {serving} keeps'} serving"

    def drop(self, key: ModelKey) -> None:
        attempt = self.attempts.pop(key, None)
        if ready := attempt and attempt.answering:
            self.forget(ready)
        serving = self.serving.get(key[0])
        if serving and serving.key == key:
            del self.serving[key[0]]

    def forget(self, ready: LoadAttempt) -> None:
        """Called for a load that no longer answers; its last requests may be running."""
        if ready.model:
            self._unloading[ready.key] = weakref.ref(ready.model)
        self.dropped.append(ready)

    def forget_freed(self) -> bool:
        """Returns whether a dropped model has left memory since the last call."""
        noted = self._unloading
        self._unloading = {key: model for key, model in noted.items() if model()}
        return len(self._unloading) < len(noted)
