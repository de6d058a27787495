"""API_DIALECTS: which dialects are there."""

import re

import pytest
from starlette.routing import Match

from api.inference_api import InferenceAPI
from tests.paths import ROOT
from tests.server import service_settings

ADDRESSES = {"hf": "/hf/colour", "openai": "/v1/embeddings", "deepstack": "/v1/vision/detection"}


@pytest.mark.parametrize("chosen", [(), ("hf",), ("openai", "deepstack"), ("v2", "hf", "openai", "deepstack")])
def test_only_the_chosen_dialects_have_routes(chosen: tuple[str, ...]) -> None:
    routes = InferenceAPI(service_settings(dialects=chosen)).app.routes
    found = {
        name
        for name, address in ADDRESSES.items()
        for route in routes
        if route.matches({"type": "http", "method": "POST", "path": address, "root_path": "", "headers": []})[0]
        is Match.FULL
    }
    assert found == set(chosen) & ADDRESSES.keys()


def test_registry_imports_a_dialect_only_when_it_is_created() -> None:
    source = (ROOT / "api" / "dialects" / "registry.py").read_text(encoding="utf-8")
    assert re.findall(r"^(?:from|import) (api\S+)", source, re.MULTILINE) == ["api.dialects.dialect"]
