"""Which models are in memory, which of them answers, and how they come and go.

| what happens | what follows |
|---|---|
| a version is asked for and not loaded | it is loaded; all who ask wait for the same load |
| another version becomes active, or files change | it is loaded beside the old one, then swapped in |
| that load fails | the old one goes on serving; the failed version says why |
| the active version fails and nothing is serving | the next lower version that loads serves |
| a version or model is deleted | it leaves memory |
| the whole folder vanishes | what is loaded goes on serving |
| more than `max_loaded` in memory | the least recently used leave memory; never the default |
| one idle for `idle_unload_s` | it leaves memory; never the default |

A model leaves memory when nobody holds it any more: a running request holds what it runs on, so nothing needs to drain.
"""

import logging
import re
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock, RLock
from time import monotonic

from engine.models.load_policy import LoadPolicy
from engine.models.loaded_model import LoadedModel
from engine.models.settled_catalog import SettledCatalog
from engine.models.slot import ModelState, ModelStatus, ModelUnavailableError, Slot
from loaders.model_errors import ModelError, UnknownModelError
from loaders.repository.model_repository import Catalog, ModelRepository, ModelVersion, find_version
from loaders.repository.model_state import ModelChoices, ModelStateFile
from utils.memory import release_free_memory

# Of each kind: new models must not hold up those that serve already, however long their loading takes.
_LOADING_THREADS = 2
# What is longer is no version's number, and a label is none of digits alone.
_NUMBER = re.compile(r"[0-9]{1,9}")

Key = tuple[str, int]

_log = logging.getLogger("fovea.models")


@dataclass(frozen=True, slots=True)
class ModelManagerOptions:
    """`max_loaded` and `idle_unload_s`: 0 is no limit."""

    default: str
    policy: LoadPolicy = LoadPolicy.DEFAULT
    max_loaded: int = 0
    idle_unload_s: float = 0.0


class ModelManager:
    """Finds a model by name and version and loads it when it is needed. May be used from many threads."""

    def __init__(
        self, repository: ModelRepository, load: Callable[[ModelVersion], LoadedModel], options: ModelManagerOptions
    ) -> None:
        self.state_file = ModelStateFile(repository.root)
        self._repository = repository
        self._load = load
        self._options = options
        self._threads = ThreadPoolExecutor(_LOADING_THREADS, thread_name_prefix="model-loader")
        self._urgent_threads = ThreadPoolExecutor(_LOADING_THREADS, thread_name_prefix="model-loader-urgent")
        self._lock = RLock()
        self._reconciling = Lock()
        self._let_go: set[str] = set()
        self._trash: list[Slot] = []
        self._settled = SettledCatalog()
        self._attempts: dict[Key, Slot] = {}
        self._ready: dict[Key, Slot] = {}
        self._serving: dict[str, Slot] = {}
        self._leaving: dict[Key, weakref.ref[LoadedModel]] = {}
        self.catalog: Catalog = {}
        self.unclear: dict[str, str] = {}
        self.trouble = ""  # with the models folder or the state file, while it lasts
        self.choices = ModelChoices()

    @property
    def default(self) -> str:
        """The operators' choice where that model exists, else the setting's."""
        chosen = self.choices.default
        return chosen if chosen in self.catalog else self._options.default

    @property
    def loads_on_demand(self) -> bool:
        return self._options.policy is LoadPolicy.ON_DEMAND

    def request(self, name: str | None = None, selector: int | str | None = None) -> Future[LoadedModel]:
        """The model, ready or still loading: by name or the default, by version or label or the one serving.

        Shared by all who ask, so it must not be cancelled. It fails with ModelUnavailableError.
        Raises UnknownModelError at once.
        """
        name = name or self.default
        slot = self._serving.get(name) if selector is None else None
        if slot is None:
            slot = self._slot_for(self.version(name, selector))
        slot.last_used = monotonic()
        return slot.load

    def version(self, name: str, selector: int | str | None = None) -> ModelVersion:
        """By number or label; without one the active version.

        Raises UnknownModelError; ModelUnavailableError for a folder that is not clear.
        """
        if name not in self.catalog and name in self.unclear:
            raise ModelUnavailableError(name, self.unclear[name])
        if selector is None:
            return find_version(self.catalog, name, self._active(name))
        if isinstance(selector, str) and not _NUMBER.fullmatch(selector):
            labels = self.choices.labels.get(name, {})
            if name in self.catalog and selector not in labels:
                known = [*(f"version {n}" for n in sorted(self.catalog[name])), *sorted(labels)]
                raise UnknownModelError(f"version {selector!r} of {name}", known)
            return find_version(self.catalog, name, labels.get(selector))
        return find_version(self.catalog, name, int(selector))

    def ready(self, name: str | None = None, number: int | None = None) -> LoadedModel | None:
        """The model if it could run right now."""
        name = name or self.default
        slot = self._serving.get(name) if number is None else self._ready.get((name, number))
        return slot.load.result() if slot else None

    def serving(self, name: str) -> int | None:
        """The number of the version that answers when none is named."""
        slot = self._serving.get(name)
        return slot.version.number if slot else None

    def status(self, name: str, number: int) -> ModelStatus:
        """Of one version. READY with a reason: it serves, but its newer files could not be loaded."""
        key = (name, number)
        ready, attempt = self._ready.get(key), self._attempts.get(key)
        if ready:
            failed = attempt and attempt.status.state is ModelState.UNAVAILABLE
            reason = attempt.status.reason if attempt and failed else None
            return ModelStatus(ModelState.READY, reason, ready.status.since)
        if attempt:
            return attempt.status
        leaving = self._leaving.get(key)
        if leaving and leaving():
            return ModelStatus(ModelState.UNLOADING, "its last requests are running", None)
        return ModelStatus(ModelState.UNAVAILABLE, "not loaded; it is when it is asked for", None)

    def model_status(self, name: str) -> ModelStatus:
        """Of what answers when no version is named. Raises UnknownModelError."""
        number = self.serving(name)
        return self.status(name, self.version(name).number if number is None else number)

    def unload(self, name: str, number: int) -> None:
        """Takes a version out of memory; it comes back when it is asked for."""
        with self._lock:
            self._let_go.add(name)
            self._drop((name, number))
        self._trash.clear()

    def choose(self, change: Callable[[ModelChoices], ModelChoices]) -> None:
        """Writes an operator's choice down and follows it. Raises ModelStateError."""
        self.state_file.update(change)
        self.reconcile()

    def reconcile(self, *, complete: bool = False) -> None:
        """Brings memory in line with the disk and the state file; loads start, nothing waits for them.

        `complete`: whoever calls knows that no file is still growing.
        """
        with self._reconciling:  # else one that looked earlier could come later
            self._reconcile(complete=complete)
        self._trash.clear()

    def _reconcile(self, *, complete: bool) -> None:
        trouble, choices = "", self.choices
        try:
            found = self._repository.scan()
        except OSError as error:
            self._tell_once(f"the models folder cannot be read ({error.strerror}); what is loaded goes on serving")
            return
        try:
            choices = self.state_file.read()
        except OSError as error:
            trouble = f"what operators have chosen cannot be read ({error.strerror}); it stays as it was"
        self._tell_once(trouble)
        with self._lock:
            self.choices = choices
            self.catalog = self._settled.update(found.catalog, found.unclear, complete=complete)
            self._tell_unclear(found.unclear)
            self._drop_deleted()
            for name in self._wanted():
                self._ensure(self.version(name))
            self._evict()
            gone = self._note_gone()
        if gone:
            release_free_memory()

    def close(self) -> None:
        for threads in (self._threads, self._urgent_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    def _active(self, name: str) -> int | None:
        """None is the highest; so is a choice that is no longer on disk."""
        chosen = self.choices.active.get(name)
        return chosen if chosen in self.catalog.get(name, {}) else None

    def _tell_once(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            _log.warning(trouble)
        self.trouble = trouble

    def _tell_unclear(self, unclear: dict[str, str]) -> None:
        for name, reason in unclear.items():
            if self.unclear.get(name) != reason:
                _log.warning("%s is not served: %s", name, reason)
        self.unclear = unclear

    def _slot_for(self, version: ModelVersion) -> Slot:
        with self._lock:
            key = (version.name, version.number)
            slot = self._ready.get(key) or self._attempts.get(key)
            return self._start(version) if slot is None or slot.may_retry else slot

    def _start(self, version: ModelVersion, *, is_fallback: bool = False) -> Slot:
        slot = Slot(version, is_fallback=is_fallback)
        self._attempts[slot.key] = slot
        self._let_go.discard(version.name)
        serves_already = version.name == self.default or version.name in self._serving
        (self._urgent_threads if serves_already else self._threads).submit(self._fill, slot)
        return slot

    def _fill(self, slot: Slot) -> None:
        """Runs on a loading thread."""
        slot.begin()
        name, number = slot.key
        try:
            model = self._load(slot.version)
        except Exception as error:  # noqa: BLE001 - whatever a model's files make the runtime raise, the model is at fault
            _log.warning("model %s version %s was not loaded: %s", name, number, error, exc_info=_unforeseen(error))
            with self._lock:
                slot.fail(_reason(error))
                self._fall_back(slot)
            return
        with self._lock:
            slot.succeed(model)
            if self._attempts.get(slot.key) is slot:  # else it was deleted or unloaded meanwhile
                self._take_in(slot)
        self._trash.clear()
        _log.info("ready: %s version %s on %s", name, number, ", ".join(model.session.providers))
        for note in model.session.notes:
            _log.info(note)

    def _take_in(self, slot: Slot) -> None:
        name, number = slot.key
        self._note_leaving(self._ready.get(slot.key))
        self._ready[slot.key] = slot
        serving = self._serving.get(name)
        replaces = serving is not None and serving.key == slot.key
        stands_in = serving is None and slot.is_fallback
        if replaces or stands_in or number == self.version(name).number:
            self._serve(slot)

    def _serve(self, slot: Slot) -> None:
        name = slot.version.name
        old = self._serving.get(name)
        self._serving[name] = slot
        if old and old.key != slot.key and old.version.number not in self.choices.labels.get(name, {}).values():
            self._drop(old.key)

    def _fall_back(self, failed: Slot) -> None:
        """After a restart a broken active version must not leave its model without any: the next lower one serves."""
        name, number = failed.key
        versions = self.catalog.get(name, {})
        is_active = number in versions and number == self.version(name).number
        if name in self._serving or not (is_active or failed.is_fallback):
            return
        for lower in sorted((n for n in versions if n < number), reverse=True):
            ready, attempt = self._ready.get((name, lower)), self._attempts.get((name, lower))
            if ready:
                self._serve(ready)
            elif attempt is None:
                self._start(versions[lower], is_fallback=True)
            elif attempt.status.state is ModelState.LOADING:
                attempt.is_fallback = True
            else:
                continue
            return

    def _drop_deleted(self) -> None:
        """The last version of a model that stays goes on serving until the one to replace it is ready."""
        for name, number in {*self._ready, *self._attempts}:
            slot = self._serving.get(name)
            needed = slot is not None and slot.version.number == number and name in self.catalog
            if number not in self.catalog.get(name, {}) and not needed:
                self._drop((name, number))

    def _wanted(self) -> list[str]:
        """Models to have in memory before anybody asks, and those that are there already."""
        wanted = [] if self._options.policy is LoadPolicy.ON_DEMAND else [self.default]
        wanted += self._serving
        if self._options.policy is LoadPolicy.ALL:
            wanted += [name for name in self.catalog if name not in self._let_go]
        known = [name for name in dict.fromkeys(wanted) if name in self.catalog]
        return known[: self._options.max_loaded or None]

    def _ensure(self, version: ModelVersion) -> None:
        """Loads it unless it is there, is on its way, or has failed with these very files."""
        key = (version.name, version.number)
        ready, attempt = self._ready.get(key), self._attempts.get(key)
        if ready and ready.version.signature == version.signature:
            if self._serving.get(version.name) is not ready:
                self._serve(ready)
        elif attempt is None or attempt.version.signature != version.signature or self._is_due_again(attempt):
            self._start(version)

    def _is_due_again(self, attempt: Slot) -> bool:
        """The default model is tried again though nobody asks: while it is not ready, nobody will."""
        return attempt.may_retry and attempt.version.name == self.default and attempt.version.name not in self._serving

    def _evict(self) -> None:
        now, options = monotonic(), self._options
        others = sorted((s for s in self._ready.values() if s.version.name != self.default), key=lambda s: s.last_used)
        surplus = len(self._ready) - options.max_loaded if options.max_loaded else 0
        for place, slot in enumerate(others):
            idle = options.idle_unload_s and now - slot.last_used > options.idle_unload_s
            if idle or place < surplus:
                self._let_go.add(slot.version.name)
                self._drop(slot.key)

    def _drop(self, key: Key) -> None:
        name, number = key
        self._attempts.pop(key, None)
        ready = self._ready.pop(key, None)
        self._note_leaving(ready)
        slot = self._serving.get(name)
        if slot and slot.version.number == number:
            del self._serving[name]
        if ready:
            self._trash.append(ready)  # freed by whoever holds the lock, but only after letting go of it

    def _note_leaving(self, slot: Slot | None) -> None:
        if slot:
            self._leaving[slot.key] = weakref.ref(slot.load.result())

    def _note_gone(self) -> bool:
        """Whether any has left memory since the last look."""
        gone = [key for key, model in self._leaving.items() if model() is None]
        for key in gone:
            del self._leaving[key]
        return bool(gone)


def _unforeseen(error: Exception) -> bool:
    return not isinstance(error, ModelError)


def _reason(error: Exception) -> str:
    """Our own errors are fit to be shown; of others only the class, since their text may hold paths."""
    return f"{type(error).__name__} while loading; the log has more" if _unforeseen(error) else str(error)
