"""The versions in memory: which are loading, which are ready, which of them serves each model."""

import weakref

from engine.models.catalog_snapshot import VersionStatus
from engine.models.load_attempt import LoadAttempt, ModelState
from engine.models.loaded_model import LoadedModel
from loaders.repository.model_repository import ModelKey


class VersionTable:
    """`attempts`: the last load of each version; `ready`: loaded versions; `serving`: by model name.

    The owner's lock protects it. Dropped versions are kept in `dropped` until the owner has released its lock, because
    freeing a model takes time; after that, running requests may hold them longer.
    """

    def __init__(self) -> None:
        self.attempts: dict[ModelKey, LoadAttempt] = {}
        self.ready: dict[ModelKey, LoadAttempt] = {}
        self.serving: dict[str, LoadAttempt] = {}
        self.dropped: list[LoadAttempt] = []
        self._unloading: dict[ModelKey, weakref.ref[LoadedModel]] = {}

    def serving_number(self, name: str) -> int | None:
        attempt = self.serving.get(name)
        return attempt.version.number if attempt else None

    def status(self, key: ModelKey, labels: list[str]) -> VersionStatus:
        ready, attempt, unloading = self.ready.get(key), self.attempts.get(key), self._unloading.get(key)
        number = key[1]
        if shown := ready or attempt:
            reason = self.explain(key, attempt.reason) if attempt and attempt.failed else None
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

    def add_ready(self, attempt: LoadAttempt) -> None:
        self._note_unloading(self.ready.get(attempt.key))
        self.ready[attempt.key] = attempt

    def remove_failed(self, attempt: LoadAttempt) -> None:
        """Removes a version that loaded and could not be swapped in."""
        if self.ready.get(attempt.key) is attempt:
            del self.ready[attempt.key]

    def drop(self, key: ModelKey) -> None:
        name, _ = key
        self.attempts.pop(key, None)
        ready = self.ready.pop(key, None)
        self._note_unloading(ready)
        serving = self.serving.get(name)
        if serving and serving.key == key:
            del self.serving[name]
        if ready:
            self.dropped.append(ready)

    def forget_freed(self) -> bool:
        """Returns whether a dropped model has left memory since the last call."""
        noted = self._unloading
        self._unloading = {key: model for key, model in noted.items() if model()}
        return len(self._unloading) < len(noted)

    def _note_unloading(self, attempt: LoadAttempt | None) -> None:
        if attempt and attempt.model:
            self._unloading[attempt.key] = weakref.ref(attempt.model)
