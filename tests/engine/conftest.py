from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.models import settled_catalog
from engine.models.load_policy import LoadPolicy
from engine.models.model_manager import ModelManager, ModelManagerOptions
from loaders.repository.model_repository import ModelRepository
from tests.engine.models.loading import CountedLoad, Make
from tests.tiny_models import add_model, colour_graph


@pytest.fixture
def load() -> CountedLoad:
    return CountedLoad()


@pytest.fixture
def make(tmp_path: Path, load: CountedLoad) -> Iterator[Make]:
    """A `ModelManager` on a folder with `colours` 1 and 2, `other` and `broken`; changed files count at once."""
    add_model(tmp_path, "colours", colour_graph())
    add_model(tmp_path, "colours", colour_graph(gain=5), version=2)
    add_model(tmp_path, "other", colour_graph())
    (add_model(tmp_path, "broken", colour_graph()) / "1" / "model.onnx").write_bytes(b"no graph")
    made: list[ModelManager] = []

    def build(policy: str = "on-demand", **options: float) -> ModelManager:
        models = ModelManager(
            ModelRepository(tmp_path),
            load,
            ModelManagerOptions("colours", LoadPolicy(policy), **options),  # type: ignore[arg-type]  # the tests' own
        )
        models.reconcile()
        made.append(models)
        return models

    yield build
    load.go.set()
    for models in made:
        models.close()


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settled_catalog, "SETTLE_S", -1.0)
