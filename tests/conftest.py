import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from api.settings import ApiSettings
from loaders.image_loader import create_image_loader, image_loader_names
from loaders.images.base import ImageLoader
from tests.pictures_by_colour import colour_picture
from tests.server import FIXED_RUN, Server, serving
from tests.tiny_models import add_model, colour_graph

Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one model, `colour`."""
    models = tmp_path_factory.mktemp("models")
    add_model(models, "colour", colour_graph())
    return models


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What leaves memory in the test does so by itself."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def no_log_into_what_is_closed() -> Iterator[None]:
    """A service made while a test captures its output logs there, and nowhere once that is over."""
    yield
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not _is_closed(handler)]


def _is_closed(handler: logging.Handler) -> bool:
    return bool(getattr(getattr(handler, "stream", None), "closed", False))


@pytest.fixture
def serve(tiny_models: Path) -> Iterator[Serve]:
    """Starts a real server with those settings; it ends with the test."""
    with ExitStack() as servers:

        def start(**settings: object) -> Server:
            chosen = {"models_dir": tiny_models, "default_model": "colour", **FIXED_RUN, **settings}
            return servers.enter_context(serving(ApiSettings(_env_file=None, **chosen)))  # type: ignore[arg-type]  # pydantic checks

        yield start


@pytest.fixture(scope="session")
def server(tiny_models: Path) -> Iterator[Server]:
    """One server for all tests that change nothing about it; its settings are the defaults, but nothing is measured."""
    settings = ApiSettings(_env_file=None, models_dir=tiny_models, default_model="colour", **FIXED_RUN)
    with serving(settings) as running:
        yield running


@pytest.fixture(scope="session")
def red_png() -> bytes:
    return colour_picture("red")


@pytest.fixture(params=image_loader_names())
def name(request: pytest.FixtureRequest) -> str:
    """Of each image loader in turn."""
    return str(request.param)


@pytest.fixture
def loader(name: str) -> ImageLoader:
    return create_image_loader(name)
