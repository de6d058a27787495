"""deploy/ray/serve.yaml, which `serve deploy` and KubeRay read."""

from typing import Any

import pytest
from ray.serve.schema import ServeDeploySchema
from ruamel.yaml import YAML

from api.settings import PREFIX, ApiSettings
from deploy.ray.app import Arguments, app
from tests.paths import ROOT


@pytest.fixture(scope="module")
def application() -> Any:  # noqa: ANN401 - ray's ServeApplicationSchema
    config = YAML(typ="safe").load(ROOT / "deploy/ray/serve.yaml")
    [found] = ServeDeploySchema.model_validate(config).applications
    return found


def test_it_names_the_deployments_of_the_application(application: Any) -> None:  # noqa: ANN401 - as above
    assert application.import_path == "deploy.ray.app:app"
    assert application.args == {}
    assert [deployment.name for deployment in application.deployments] == ["fovea"]
    assert app(Arguments()) is not None


def test_its_variables_are_settings(application: Any) -> None:  # noqa: ANN401 - as above
    names = {PREFIX + name.upper() for name in ApiSettings.model_fields}
    assert application.runtime_env["env_vars"].keys() <= names
