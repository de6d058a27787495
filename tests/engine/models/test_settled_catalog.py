"""Changes on disk count once they have lasted."""

from pathlib import Path
from time import monotonic

import pytest

from engine.models import settled_catalog
from engine.models.settled_catalog import SettledCatalog
from loaders.repository.model_repository import ModelRepository
from tests.tiny_models import add_model, colour_graph


def test_a_version_that_was_there_for_long_may_be_missing_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled_catalog, "SETTLE_S", 0.5)
    clock = [monotonic()]
    monkeypatch.setattr(settled_catalog, "monotonic", lambda: clock[0])
    add_model(tmp_path, "m", colour_graph())
    repository, settled = ModelRepository(tmp_path), SettledCatalog()
    for _ in range(3):
        assert list(settled.update(repository.scan().catalog)) == ["m"]
        clock[0] += 1
    (tmp_path / "m" / "1" / "model.onnx").unlink()
    assert list(settled.update(repository.scan().catalog)) == ["m"]
    clock[0] += 1
    assert not settled.update(repository.scan().catalog)
