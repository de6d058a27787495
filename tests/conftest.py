import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from api.telemetry.logs import flush_logs
from loaders.image_loader import create_image_loader, image_loader_names
from loaders.images.base import ImageLoader
from tests.pictures_by_colour import colour_picture
from tests.server import Server, service_settings, serving
from tests.tiny_models import add_model, colour_graph

Serve = Callable[..., Server]

# Other inputs in each run. `make fuzz` searches the parsers for longer.
settings.register_profile("short", max_examples=40, deadline=None)
settings.load_profile("short")


def pytest_collection_finish() -> None:
    """The garbage collector skips what lives until the end: libraries and the collected tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache folder of all services in this test process: each model is checked and optimised once."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("API_CACHE_DIR", str(cache))
        yield cache


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one model, `colour`."""
    models = tmp_path_factory.mktemp("models")
    add_model(models, "colour", colour_graph())
    return models


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Disables the garbage collector, so that memory is freed by reference counts only."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.hookimpl(wrapper=True, trylast=True)
def _with_flushed_logs() -> Iterator[None]:
    """Writes the log lines of the background thread while pytest still captures the output."""
    yield
    flush_logs()


pytest_runtest_setup = pytest_runtest_call = pytest_runtest_teardown = _with_flushed_logs


@pytest.fixture
def serve(tiny_models: Path) -> Iterator[Serve]:
    """Starts a real server with the given settings; stops it after the test."""
    with ExitStack() as servers:

        def start(**settings: object) -> Server:
            return servers.enter_context(
                serving(service_settings(**{"models_dir": tiny_models, "default_model": "colour", **settings}))
            )

        yield start


@pytest.fixture(scope="session")
def server(tiny_models: Path) -> Iterator[Server]:
    """One server with default settings and without tuning, for all tests that leave its state unchanged."""
    settings = service_settings(models_dir=tiny_models, default_model="colour")
    with serving(settings) as running:
        yield running


@pytest.fixture(scope="session")
def red_png() -> bytes:
    return colour_picture("red")


@pytest.fixture(params=image_loader_names())
def name(request: pytest.FixtureRequest) -> str:
    """The name of each image loader."""
    return str(request.param)


@pytest.fixture
def loader(name: str) -> ImageLoader:
    return create_image_loader(name)
