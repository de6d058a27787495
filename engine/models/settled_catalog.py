"""What is on disk, without changes that are still under way."""

from collections.abc import Collection, Iterator
from time import monotonic, time

from loaders.repository.model_repository import Catalog, ModelVersion

# A file that is being copied grows, one that is replaced may be gone for a moment: a change counts once it has
# lasted so long.
SETTLE_S = 0.5
# Files that nobody has touched for so long count at once.
_OLD_S = 2.0

# A version's key, with its signature or, where it is gone, with None.
_Mark = tuple[tuple[str, int], object]


class SettledCatalog:
    """Holds what counts between two looks at the disk."""

    def __init__(self) -> None:
        self._catalog: Catalog = {}
        self._first_seen: dict[_Mark, float] = {}
        self._started = False

    def update(self, found: Catalog, unclear: Collection[str] = (), *, complete: bool = False) -> Catalog:
        """What counts from now on; with `complete`, and the first time, all that was found.

        A model whose folder has become `unclear` stays as it was.
        At the start there is nothing to protect: a graph that is cut does not load, and is tried again when it grows.
        """
        at_once = complete or not self._started
        self._started = True
        seen, self._first_seen = self._first_seen, {}
        settled: Catalog = {}
        for version in _versions(found):
            before = self._catalog.get(version.name, {}).get(version.number)
            lasts = self._lasts(seen, (_key(version), version.signature), at_once=at_once or _is_old(version))
            known = version if lasts else before
            if known:
                settled.setdefault(version.name, {})[version.number] = known
        for version in _versions(self._catalog):
            is_gone = version.number not in found.get(version.name, {})
            stays = version.name in unclear or not self._lasts(seen, (_key(version), None), at_once=at_once)
            if is_gone and stays:
                settled.setdefault(version.name, {})[version.number] = version
        self._catalog = settled
        return settled

    def _lasts(self, seen: dict[_Mark, float], mark: _Mark, *, at_once: bool) -> bool:
        now = monotonic()
        first = self._first_seen[mark] = seen.get(mark, now)
        return at_once or now - first >= SETTLE_S


def _versions(catalog: Catalog) -> Iterator[ModelVersion]:
    for versions in catalog.values():
        yield from versions.values()


def _key(version: ModelVersion) -> tuple[str, int]:
    return version.name, version.number


def _is_old(version: ModelVersion) -> bool:
    newest_ns = max((mtime_ns for _, _, mtime_ns in version.signature), default=0)
    return abs(time() - newest_ns / 1e9) >= _OLD_S
