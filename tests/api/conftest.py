import pytest

from engine.models.check import ModelCheck
from engine.models.load import load_model
from engine.models.samples import check_samples
from loaders.image_loader import create_image_loader
from loaders.model_errors import ModelCheckError, ModelError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelVersion
from loaders.runtimes.base import SessionOptions


@pytest.fixture(autouse=True)
def checks_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are checked without a separate process, whose start takes half a second of processor time.

    tests/test_readme.py and tests/e2e have the separate process.
    """
    monkeypatch.setattr(ModelCheck, "examine", _examine)


def _examine(check: ModelCheck, version: ModelVersion) -> None:
    options = SessionOptions(check.providers, threads=1, cache=check.cache)
    try:
        loader = create_model_loader(check.model_loader)
        model = load_model(version, loader, options, exact_decode=check.exact_decode)
        check_samples(model, version, create_image_loader())
    except ModelError as error:
        raise ModelCheckError(str(error)) from error
