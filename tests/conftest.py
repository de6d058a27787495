import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from api.telemetry.logs import flush_logs
from loaders.image_loader import create_image_loader, image_loader_names
from loaders.images.base import ImageLoader
from tests.pictures_by_colour import colour_picture
from tests.server import Server, service_settings, serving
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


@pytest.hookimpl(wrapper=True, trylast=True)
def _with_flushed_logs() -> Iterator[None]:
    """A background thread writes the log: this waits for its lines while pytest still captures the output."""
    yield
    flush_logs()


pytest_runtest_setup = pytest_runtest_call = pytest_runtest_teardown = _with_flushed_logs


@pytest.fixture
def serve(tiny_models: Path) -> Iterator[Serve]:
    """Starts a real server with those settings; it ends with the test."""
    with ExitStack() as servers:

        def start(**settings: object) -> Server:
            return servers.enter_context(
                serving(service_settings(**{"models_dir": tiny_models, "default_model": "colour", **settings}))
            )

        yield start


@pytest.fixture(scope="session")
def server(tiny_models: Path) -> Iterator[Server]:
    """One server for all tests that change nothing about it; its settings are the defaults, but nothing is measured."""
    settings = service_settings(models_dir=tiny_models, default_model="colour")
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
