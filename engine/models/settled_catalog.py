"""The catalog of the models folder, without files that are being written."""

from collections.abc import Collection
from time import monotonic, time

from loaders.repository.model_repository import Catalog, ModelKey, ModelVersion

# A change counts once it has lasted this long: a file that is being copied grows, one that is replaced may be missing
# for a moment.
SETTLE_S = 0.5
# Files that were last modified this long ago count at once.
_OLD_S = 2.0


class SettledCatalog:
    """Keeps the settled catalog between two scans."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        # By a version's key and signature; a signature of None stands for a version that is missing.
        self._first_seen: dict[tuple[ModelKey, object], float] = {}

    def update(self, found: Catalog, invalid: Collection[str] = (), *, complete: bool = False) -> Catalog:
        """Returns the settled catalog. With `complete`, and at the first call, every change counts at once.

        A model whose folder has become invalid stays as it was.
        """
        at_once, now = complete or self._catalog is None, monotonic()
        scanned, known = _by_key(found), _by_key(self._catalog or {})
        seen, self._first_seen = self._first_seen, {}
        settled: Catalog = {}
        for key in scanned | known:
            version, before = scanned.get(key), known.get(key)
            change = key, version.signature if version else None
            first = self._first_seen[change] = seen.get(change, now)
            lasts = at_once or now - first >= SETTLE_S or (version is not None and _is_old(version))
            if version is None and key[0] in invalid:
                lasts = False
            if kept := version if lasts else before:
                settled.setdefault(kept.name, {})[kept.number] = kept
        self._catalog = settled
        return settled


def _by_key(catalog: Catalog) -> dict[ModelKey, ModelVersion]:
    return {version.key: version for versions in catalog.values() for version in versions.values()}


def _is_old(version: ModelVersion) -> bool:
    newest_ns = max((mtime_ns for _, _, mtime_ns in version.signature), default=0)
    return abs(time() - newest_ns / 1e9) >= _OLD_S
