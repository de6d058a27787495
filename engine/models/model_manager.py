"""Which models are in memory, which version of each answers, and when versions are loaded and unloaded.

| event | reaction |
|---|---|
| a request for a version that is not loaded | the version is loaded; concurrent requests share one load |
| another version becomes active, or files change | the new version is loaded beside the old one, then swapped in |
| that load fails | the old version keeps serving; the failed version reports the reason |
| the active version fails and no version is serving | the next lower version that loads serves |
| an operator loads a version | every process loads it, now and at the next start |
| an operator unloads a version | it leaves the memory of every process; a later request loads it again |
| a version or model is deleted | it leaves memory |
| the whole folder vanishes | loaded models keep serving |
| more than `max_loaded` versions in memory | the least recently used are unloaded, never those of the default model |
| a version is idle for `idle_unload_s` | it is unloaded, except for the default model |

A dropped model stays in memory until the last request that runs on it has finished.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock, RLock
from time import monotonic

from engine.models.catalog_snapshot import CatalogSnapshot, ModelSnapshot, VersionStatus
from engine.models.followed_folder import FollowedFolder
from engine.models.load_attempt import LoadAttempt
from engine.models.load_policy import LoadPolicy
from engine.models.loaded_model import LoadedModel
from engine.models.version_table import VersionTable
from loaders.model_errors import ModelError
from loaders.repository.model_repository import Catalog, ModelKey, ModelRepository, ModelVersion
from loaders.repository.model_state import LoadChoice, ModelChoices
from utils.memory import release_free_memory

# Per pool: models that serve already have their own, so that slow loads of other models do not delay their swaps.
_LOADING_THREADS = 2

_log = logging.getLogger("fovea.models")


@dataclass(frozen=True, slots=True)
class ModelManagerOptions:
    """`max_loaded` (versions) and `idle_unload_s`: 0 means no limit."""

    default: str
    policy: LoadPolicy = LoadPolicy.DEFAULT
    max_loaded: int = 0
    idle_unload_s: float = 0.0


class ModelManager:
    """Finds models by name and version, and loads and unloads them. Thread-safe.

    `folder`: what is on disk, and what operators chose.
    """

    def __init__(
        self, repository: ModelRepository, load: Callable[[ModelVersion], LoadedModel], options: ModelManagerOptions
    ) -> None:
        self.folder = FollowedFolder(repository, options.default)
        self._load = load
        self._options = options
        self._threads = ThreadPoolExecutor(_LOADING_THREADS, thread_name_prefix="model-loader")
        self._swap_threads = ThreadPoolExecutor(_LOADING_THREADS, thread_name_prefix="model-swapper")
        self._closed = False
        self._lock = RLock()
        self._reconciling = Lock()
        self._table = VersionTable()
        self._released: set[ModelKey] = set()
        self._followed: dict[ModelKey, LoadChoice] = {}

    @property
    def default(self) -> str:
        """The name of the model that answers when a request names none; the model may not exist."""
        return self.folder.default.name

    @property
    def catalog(self) -> Catalog:
        return self.folder.catalog

    @property
    def folder_error(self) -> str:
        """Why the models folder or the state file cannot be followed at the moment; empty if it is followed."""
        return self.folder.error

    @property
    def loads_on_demand(self) -> bool:
        return self._options.policy is LoadPolicy.ON_DEMAND

    def request(self, name: str | None = None, selector: int | str | None = None) -> Future[LoadedModel]:
        """Returns the shared future of a version, which must not be cancelled; begins to load what is not loaded.

        Without a name the default model, without a selector the version that serves, or else the active one, or else
        the lower one that is being loaded because the active one has failed. The future fails with
        ModelUnavailableError. Raises UnknownModelError, and ModelUnavailableError for an invalid folder.
        """
        name = name or self.default
        attempt = self._table.serving.get(name) if selector is None else None
        if attempt is None:
            version = self.version(name, selector)
            with self._lock:
                attempt = self._table.ready(version.key) or self._table.attempts.get(version.key)
                if attempt is None or attempt.may_retry:
                    attempt = self._start(version)
                if attempt.failed and selector is None:
                    attempt = self._fallback(version) or attempt
        attempt.last_used = monotonic()
        return attempt.load

    def load(self, name: str, selector: int | str | None = None) -> Future[LoadedModel]:
        """As `request`, but without a selector always the active version, and a failed load is retried at once."""
        version = self.version(name, selector)
        with self._lock:
            attempt = self._load_of(version, retry=True)
        attempt.last_used = monotonic()
        return attempt.load

    def version(self, name: str, selector: int | str | None = None) -> ModelVersion:
        """Returns the version with a number or a label; without a selector the active one.

        Raises UnknownModelError, and ModelUnavailableError for an invalid folder.
        """
        return self.folder.version(name, selector)

    def ready(self, name: str | None = None, number: int | None = None) -> LoadedModel | None:
        """Returns the model if it is loaded; without a number the version that serves."""
        name = name or self.default
        attempt = self._table.serving.get(name) if number is None else self._table.ready((name, number))
        return attempt.model if attempt else None

    def serving(self, name: str) -> int | None:
        """Returns the number of the version that answers when none is named; None if none is loaded."""
        return self._table.serving_number(name)

    def status(self, name: str, number: int) -> VersionStatus:
        labels = self.folder.choices.labels.get(name, {})
        with self._lock:
            return self._table.status((name, number), sorted(label for label in labels if labels[label] == number))

    def model_status(self, name: str) -> VersionStatus:
        """Returns the status of the version that answers when none is named. Raises as `version`."""
        number = self.serving(name)
        return self.status(name, self.version(name).number if number is None else number)

    def report(self, name: str) -> ModelSnapshot:
        """Raises as `version`."""
        with self._lock:
            active = self.version(name).number
            versions = [self.status(name, number) for number in sorted(self.catalog[name])]
            pinned = self.folder.choices.active.get(name) == active
            return ModelSnapshot(name, name == self.default, active, pinned, self.serving(name), versions)

    def snapshot(self) -> CatalogSnapshot:
        """Returns a consistent report about all models."""
        with self._lock:
            models = [self.report(name) for name in sorted(self.catalog)]
            return CatalogSnapshot(self.default, models, dict(self.folder.invalid))

    def choose(self, change: Callable[[ModelChoices], object]) -> None:
        """Writes an operator's choice to the state file and follows it. Raises ModelStateError."""
        self.folder.state_file.update(change)
        self.reconcile()

    def reconcile(self, *, complete: bool = False) -> None:
        """Follows the models folder and the state file: starts loads without waiting for them, unloads, swaps.

        `complete`: changed files count at once; otherwise they count when they have stopped changing.
        """
        with self._reconciling:  # so that an older scan never overwrites a newer one
            try:
                self._reconcile(complete=complete)
            except Exception as error:
                self.folder.error = f"{type(error).__name__} while following the models folder; see the log"
                raise
        self._table.dropped.clear()

    def close(self) -> None:
        self._closed = True
        for threads in (self._threads, self._swap_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    def _reconcile(self, *, complete: bool) -> None:
        content = self.folder.read()
        if content is None:
            return
        with self._lock:
            self.folder.update(*content, complete=complete)
            self._drop_deleted()
            self._follow_choices()
            for name in self._preloaded():
                self._load_or_serve(self.version(name))
            self._evict()
            freed = self._table.forget_freed()
        if freed:
            release_free_memory()

    def _follow_choices(self) -> None:
        """Loads or unloads what operators have loaded or unloaded since the last call; at the start, loads only."""
        loads = self.folder.choices.loads
        self._followed = {key: choice for key, choice in self._followed.items() if key in loads}
        for (name, number), choice in loads.items():
            version = self.catalog.get(name, {}).get(number)
            if version is None or self._followed.get(version.key) == choice:
                continue
            self._followed[version.key] = choice
            if choice.loaded:
                self._load_of(version, retry=True)
            elif name != self.default or self.serving(name) != number:
                self._release(version.key)

    def _preloaded(self) -> list[str]:
        """Returns the models to keep in memory: those that serve, and those that the policy loads without a request."""
        names = [] if self.loads_on_demand else [self.default]
        names += self._table.serving
        if self._options.policy is LoadPolicy.ALL:
            names += [name for name in self.catalog if self.version(name).key not in self._released]
        known = [name for name in dict.fromkeys(names) if name in self.catalog]
        return known[: self._options.max_loaded or None]

    def _load_or_serve(self, version: ModelVersion) -> None:
        """Swaps the version in, or starts its load, unless these files have failed to load before."""
        attempt, name = self._load_of(version), version.name
        if attempt.model:
            self._serve(attempt)
        elif attempt.may_retry and name == self.default and name not in self._table.serving:
            self._start(version)  # no request arrives for a default model that is not ready

    def _load_of(self, version: ModelVersion, *, retry: bool = False) -> LoadAttempt:
        """Returns the load of exactly these files, begun now if there is none, or if it failed and `retry` is set."""
        for attempt in (self._table.ready(version.key), self._table.attempts.get(version.key)):
            if attempt and attempt.version.signature == version.signature and not (retry and attempt.failed):
                return attempt
        return self._start(version)

    def _start(self, version: ModelVersion) -> LoadAttempt:
        attempt = self._table.attempts[version.key] = LoadAttempt(version, self._table.ready(version.key))
        self._released.discard(version.key)
        swaps = version.name == self.default or version.name in self._table.serving
        task = (self._swap_threads if swaps else self._threads).submit(self._run, attempt)
        task.add_done_callback(lambda task: attempt.fail("the service is shutting down") if task.cancelled() else None)
        return attempt

    def _run(self, attempt: LoadAttempt) -> None:
        """Runs on a loading thread. Whatever a load raises is logged and becomes the version's reason."""
        try:
            attempt.begin()
            model = self._load(attempt.version)
            with self._lock:
                attempt.succeed(model)
                if self._table.attempts.get(attempt.key) is attempt:  # else it was deleted or unloaded during the load
                    self._choose_serving(attempt.version.name, attempt)
                if attempt.before:
                    self._table.forget(attempt.before)
                    attempt.before = None
            attempt.load.set_result(model)
        except BaseException as error:  # noqa: BLE001 - a bug must not leave requests waiting
            with self._lock:
                self._fail(attempt, error)
        else:
            _log_loaded(attempt, model)
            release_free_memory()  # of the session and the pictures of the warm-up
        self._table.dropped.clear()

    def _fail(self, attempt: LoadAttempt, error: BaseException) -> None:
        name, number = attempt.key
        serving = self.serving(name)
        expected = isinstance(error, ModelError)  # the text of others may contain paths
        reason = str(error) if expected else f"{type(error).__name__} while loading; see the log"
        if not self._closed:  # else the stop has interrupted it: nothing is wrong with the model
            _log.error(
                'model failed to load  model=%s  version=%s  serving=%s  detail="%s"',
                *(name, number, "none" if serving is None else serving, error),
                exc_info=None if expected else error,
            )
        attempt.fail(reason, self._table.explain(attempt.key, reason))
        if not self._closed:
            self._choose_serving(name, attempt)

    def _choose_serving(self, name: str, ended: LoadAttempt) -> None:
        """Serves the active version; while it has failed and none serves, loads and serves the next lower one."""
        if ended.model and ended.version.number == self.serving(name):
            self._serve(ended)
            return
        versions = self.catalog.get(name, {})
        active = self.version(name).number if versions else 0
        for number in sorted((number for number in versions if number <= active), reverse=True):
            ready, attempt = self._table.ready((name, number)), self._table.attempts.get((name, number))
            if ready:
                self._serve(ready)
            elif attempt is None and number != active:
                self._start(versions[number])
            if ready or attempt is None or not attempt.failed or name in self._table.serving:
                return

    def _fallback(self, version: ModelVersion) -> LoadAttempt | None:
        """Returns the load of the highest lower version that has not failed."""
        lower = (number for number in self.catalog[version.name] if number < version.number)
        attempts = (self._table.attempts.get((version.name, number)) for number in sorted(lower, reverse=True))
        return next((attempt for attempt in attempts if attempt and not attempt.failed), None)

    def _serve(self, attempt: LoadAttempt) -> None:
        name = attempt.version.name
        old = self._table.serving.get(name)
        self._table.serving[name] = attempt
        labelled = self.folder.choices.labels.get(name, {}).values()
        if old and old.key != attempt.key and old.version.number not in labelled:
            self._table.drop(old.key)

    def _drop_deleted(self) -> None:
        """Keeps the last version of an existing model serving until its replacement is ready."""
        for name, number in list(self._table.attempts):
            needed = self.serving(name) == number and name in self.catalog
            if number not in self.catalog.get(name, {}) and not needed:
                self._table.drop((name, number))
        self._released = {(name, number) for name, number in self._released if number in self.catalog.get(name, {})}

    def _evict(self) -> None:
        now, options = monotonic(), self._options
        ready = sorted(self._table.all_ready(), key=lambda attempt: attempt.last_used)
        others = [attempt for attempt in ready if attempt.version.name != self.default]
        surplus = len(ready) - options.max_loaded if options.max_loaded else 0
        for position, attempt in enumerate(others):
            idle = options.idle_unload_s and now - attempt.last_used > options.idle_unload_s
            if idle or position < surplus:
                self._release(attempt.key)

    def _release(self, key: ModelKey) -> None:
        """Unloads a version until a request or an operator asks for it."""
        self._released.add(key)
        self._table.drop(key)


def _log_loaded(attempt: LoadAttempt, model: LoadedModel) -> None:
    name, number = attempt.key
    providers = ",".join(model.session.providers)
    _log.info(
        "model loaded  model=%s  version=%s  providers=%s  seconds=%.2f", name, number, providers, attempt.seconds
    )
    for note in model.session.notes:
        _log.info(note)
