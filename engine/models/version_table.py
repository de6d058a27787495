"""The versions in memory: which are loading, which are ready, which of them serves each model."""

import weakref

from engine.models.load_attempt import LoadAttempt, ModelState, ModelStatus
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

    def status(self, key: ModelKey) -> ModelStatus:
        """READY with a reason: the version is loaded, but its changed files failed to load."""
        ready, attempt = self.ready.get(key), self.attempts.get(key)
        reason = self.explain(key, attempt.status.reason or "") if attempt and attempt.failed else None
        if ready:
            return ModelStatus(ModelState.READY, reason, ready.status.since)
        if attempt:
            return ModelStatus(attempt.status.state, reason, attempt.status.since)
        unloading = self._unloading.get(key)
        if unloading and unloading():
            return ModelStatus(ModelState.UNLOADING, "its last requests are running", None)
        return ModelStatus(ModelState.UNAVAILABLE, "not loaded; the next request for it loads it", None)

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
        if self.ready.get(attempt.key) is attempt and self.serving.get(attempt.version.name) is not attempt:
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
        freed = [key for key, model in self._unloading.items() if model() is None]
        for key in freed:
            del self._unloading[key]
        return bool(freed)

    def _note_unloading(self, attempt: LoadAttempt | None) -> None:
        if attempt:
            self._unloading[attempt.key] = weakref.ref(attempt.load.result())
