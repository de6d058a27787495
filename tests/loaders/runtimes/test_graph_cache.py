"""The folder of optimised graphs: publishing, pruning, discarding."""

import os
from pathlib import Path

import pytest

from loaders.runtimes import graph_cache
from loaders.runtimes.graph_cache import GRAPH, GraphCache, GraphCacheError
from tests.tiny_models import colour_graph


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "graphs").iterdir())


def test_least_recently_used_entries_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = GraphCache(tmp_path)
    monkeypatch.setattr(graph_cache, "MAX_ENTRIES", 3)

    def keep(name: str, used: int) -> Path:
        with cache.new(1, name) as folder:
            (folder / GRAPH).write_bytes(colour_graph().SerializeToString())
        entry = cache.find(name)
        assert entry
        os.utime(entry.folder, (used, used))
        return entry.folder

    a, b, c = (keep(name, used) for name, used in (("a", 300), ("b", 100), ("c", 200)))
    d = keep("d", 400)
    assert entries(tmp_path) == sorted([a, c, d])
    monkeypatch.setattr(graph_cache, "MAX_BYTES", 1)
    e = keep("e", 500)
    assert entries(tmp_path) == [e]
    assert not b.exists()


def test_unfinished_entries_are_removed_after_an_hour(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path)
    for name, used in ((".new-old", 0), (".new-young", None)):
        (tmp_path / "graphs" / name).mkdir(parents=True)
        if used is not None:
            os.utime(tmp_path / "graphs" / name, (used, used))
    with cache.new(1, "key") as folder:
        (folder / GRAPH).write_bytes(colour_graph().SerializeToString())
    assert ".new-old" not in [e.name for e in entries(tmp_path)]
    assert ".new-young" in [e.name for e in entries(tmp_path)]


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> None:
        with GraphCache(tmp_path).new(1, "key") as folder:
            (folder / GRAPH).touch()
            raise OSError(28, "No space left on device")

    with pytest.raises(GraphCacheError, match="No space left"):
        broken()
    assert not entries(tmp_path)


def publish(cache: GraphCache, gain: float) -> None:
    with cache.new(1, "key") as folder:
        (folder / GRAPH).write_bytes(colour_graph(gain=gain).SerializeToString())


def test_whole_entry_of_another_process_stays(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path)
    publish(cache, gain=1.0)
    first = cache.find("key")
    publish(cache, gain=2.0)
    assert first
    assert cache.find("key") == first


def test_entry_that_another_process_has_replaced_is_not_discarded(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path)
    publish(cache, gain=1.0)
    first = cache.find("key")
    assert first
    cache.discard(first)
    assert cache.find("key") is None
    publish(cache, gain=2.0)
    cache.discard(first)
    assert cache.find("key")
