"""The clients of docs/clients.md behind Serve's proxy, as tests/e2e runs them against one process."""

import pytest

from tests.cluster.serve_cluster import HA_PROXY
from tests.e2e.open_inference.test_other_clients import test_kserve_in_every_call  # noqa: F401 - pytest runs it here, too
from tests.e2e.open_inference.test_tritonclient import (  # noqa: F401 - as above
    results,
    test_every_call_succeeds_or_fails_as_documented,
    test_values_are_those_of_infer,
)
from tests.e2e.test_dialects import test_client_works_unmodified  # noqa: F401 - as above

pytestmark = pytest.mark.skipif(not HA_PROXY, reason="test_answers.py compares answers behind both proxies")

HTTP_KINDS = ("http", "http.aio")


@pytest.fixture(scope="module", params=HTTP_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def grpc_port() -> int:
    """gRPC does not pass through the proxy, see docs/scale.md."""
    return 0
