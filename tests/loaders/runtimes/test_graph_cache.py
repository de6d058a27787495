"""The folder of optimised graphs: publishing, pruning, trials."""

import os
from pathlib import Path

import pytest

from loaders.runtimes import graph_cache
from loaders.runtimes.graph_cache import GRAPH, CachedGraph, GraphCacheError
from tests.tiny_models import colour_graph


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "graphs").iterdir())


def publish(cached: CachedGraph, gain: float = 1.0) -> Path:
    with cached.new(1) as folder:
        (folder / GRAPH).write_bytes(colour_graph(gain=gain).SerializeToString())
    graph = cached.find()
    assert graph
    return graph


def test_least_recently_used_entries_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(colour_graph().SerializeToString())

    def keep(name: str, used: int) -> Path:
        folder = publish(CachedGraph(tmp_path, [name])).parent
        os.utime(folder, (used, used))
        return folder

    a, b, c = (keep(name, used) for name, used in (("a", 300), ("b", 100), ("c", 200)))
    monkeypatch.setattr(graph_cache, "MAX_BYTES", 3 * size)
    d = keep("d", 400)
    assert entries(tmp_path) == sorted([a, c, d])
    monkeypatch.setattr(graph_cache, "MAX_BYTES", 1)
    e = keep("e", 500)
    assert entries(tmp_path) == [e]
    assert not b.exists()


def test_unfinished_entries_are_removed_after_an_hour(tmp_path: Path) -> None:
    for name, used in ((".new-old", 0), (".new-young", None)):
        (tmp_path / "graphs" / name).mkdir(parents=True)
        if used is not None:
            os.utime(tmp_path / "graphs" / name, (used, used))
    publish(CachedGraph(tmp_path, ["key"]))
    assert ".new-old" not in [e.name for e in entries(tmp_path)]
    assert ".new-young" in [e.name for e in entries(tmp_path)]


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> None:
        with CachedGraph(tmp_path, ["key"]).new(1) as folder:
            (folder / GRAPH).touch()
            raise OSError(28, "No space left on device")

    with pytest.raises(GraphCacheError, match="No space left"):
        broken()
    assert not entries(tmp_path)


def test_entry_is_replaced_and_removed(tmp_path: Path) -> None:
    cached = CachedGraph(tmp_path, ["key"])
    first = publish(cached).read_bytes()
    assert publish(cached, gain=2.0).read_bytes() != first
    cached.remove()
    assert cached.find() is None
