"""The catalog of the models folder, without files that are being written."""

from collections.abc import Collection, Iterator
from time import monotonic, time

from loaders.repository.model_repository import Catalog, ModelKey, ModelVersion

# A change counts once it has lasted this long: a file that is being copied grows, one that is replaced may be missing
# for a moment.
SETTLE_S = 0.5
# Files that were last modified this long ago count at once.
_OLD_S = 2.0

# A version's key with its signature; with None if the version is missing.
_Change = tuple[ModelKey, object]


class SettledCatalog:
    """Keeps the settled catalog between two scans."""

    def __init__(self) -> None:
        self._catalog: Catalog = {}
        self._first_seen: dict[_Change, float] = {}
        self._started = False

    def update(self, found: Catalog, invalid: Collection[str] = (), *, complete: bool = False) -> Catalog:
        """Returns the settled catalog. With `complete`, and at the first call, every change counts at once.

        A model whose folder has become invalid stays as it was.
        """
        at_once = complete or not self._started
        self._started = True
        seen, self._first_seen = self._first_seen, {}
        settled: Catalog = {}
        for version in _versions(found):
            before = self._catalog.get(version.name, {}).get(version.number)
            lasts = self._lasts(seen, (version.key, version.signature), at_once=at_once or _is_old(version))
            known = version if lasts else before
            if known:
                settled.setdefault(version.name, {})[version.number] = known
        for version in _versions(self._catalog):
            if version.number in found.get(version.name, {}):
                continue
            if version.name in invalid or not self._lasts(seen, (version.key, None), at_once=at_once):
                settled.setdefault(version.name, {})[version.number] = version
        self._catalog = settled
        return settled

    def _lasts(self, seen: dict[_Change, float], change: _Change, *, at_once: bool) -> bool:
        now = monotonic()
        first = self._first_seen[change] = seen.get(change, now)
        return at_once or now - first >= SETTLE_S


def _versions(catalog: Catalog) -> Iterator[ModelVersion]:
    for versions in catalog.values():
        yield from versions.values()


def _is_old(version: ModelVersion) -> bool:
    newest_ns = max((mtime_ns for _, _, mtime_ns in version.signature), default=0)
    return abs(time() - newest_ns / 1e9) >= _OLD_S
