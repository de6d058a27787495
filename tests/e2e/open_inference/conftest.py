from collections.abc import Iterator

import pytest

from tests.e2e.services import free_port, make_models, own_models
from tests.process import Service, running


@pytest.fixture(scope="module")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, grpc_port: int) -> Iterator[Service]:
    """A service with gRPC; its log has no error of ours."""
    models = make_models(tmp_path_factory.mktemp("models"))
    settings = own_models(models) | {"API_GRPC_PORT": str(grpc_port)}
    with running(settings) as started:
        yield started
        assert not started.bugs()
