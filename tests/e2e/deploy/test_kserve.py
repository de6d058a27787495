"""deploy/kserve: the manifests fit KServe's models, and the runtime serves the folders that KServe makes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from ruamel.yaml import YAML

from tests.e2e.deploy import manifests as common
from tests.e2e.deploy.manifests import DEPLOY, Manifest, Manifests, changed, environment, of_kind, render
from tests.e2e.services import RED, free_port
from tests.paths import ROOT
from tests.process import Service, running
from tests.tiny_models import COLOURS, SPEC, add_model, colour_graph

KSERVE = ROOT / ".clients/kserve/bin/python"
KSERVE_MODELS = Path(__file__).with_name("kserve_models.py")
# Kubernetes' default.
GRACE_PERIOD_S = 30
NAME = "flowers"
GRAPH = colour_graph().SerializeToString()
FOLDER = DEPLOY / "kserve"
RUNTIME: Manifest = YAML(typ="safe").load((FOLDER / "base/serving-runtime.yaml").read_text(encoding="utf-8"))
[CONTAINER] = RUNTIME["spec"]["containers"]
SETTINGS = {name: value.replace("{{.Name}}", NAME) for name, value in environment([], CONTAINER).items()}
MISTAKES = [
    ("ServingRuntime", "spec.containers.0.readinessProb", {}),
    ("ServingRuntime", "spec.containers.0.ports.0.containerPort", "8080"),
    ("ServingRuntime", "spec.supportedModelFormat", []),
    ("ServingRuntime", "spec.protocolVersions", "v2"),
    ("ServingRuntime", "spec.containers", None),
    ("InferenceService", "spec.predictor.canaryTraffic", 10),
    ("InferenceService", "spec.predictor.model.storageUri", ["pvc://models"]),
    ("InferenceService", "spec.predictor.model.modelFormat", None),
]


def labelled(folder: Path) -> None:
    (folder / "model.toml").write_text(SPEC)
    (folder / "labels.txt").write_text("\n".join(COLOURS))


def one_file(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(GRAPH)
    labelled(folder)


def file_with_a_name(folder: Path) -> None:
    (folder / "exported-2026.onnx").write_bytes(GRAPH)
    labelled(folder)


def version_folders(folder: Path) -> None:
    for version in ("1", "2"):
        (folder / version).mkdir()
        (folder / version / "model.onnx").write_bytes(GRAPH)
    labelled(folder)


def subfolder_of_an_export(folder: Path) -> None:
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(GRAPH)
    labelled(folder)


def triton(folder: Path) -> None:
    add_model(folder, NAME, colour_graph())
    add_model(folder, "roses", colour_graph())


LAYOUTS = [one_file, file_with_a_name, version_folders, subfolder_of_an_export, triton]


@pytest.fixture(scope="module")
def rendered() -> list[Manifests]:
    """The InferenceService with its runtime, and its canary."""
    return [render(FOLDER / overlay) for overlay in ("base", "canary")]


@pytest.fixture(scope="module", params=LAYOUTS, ids=lambda layout: layout.__name__)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The runtime's command and environment, with folders and a port of the test's; it ends without draining."""
    layout: Callable[[Path], None] = request.param
    models, tmp = tmp_path_factory.mktemp("mnt"), tmp_path_factory.mktemp("tmp")
    layout(models)
    port = str(free_port())

    def placed(text: str) -> str:
        text = text.replace("8080", port).replace("{{.Name}}", NAME).replace("/mnt/models", str(models))
        return text.replace("/tmp/models", f"{tmp}/models").replace("/tmp/cache", f"{tmp}/cache")

    command = [placed(word) for word in CONTAINER["command"] + CONTAINER["args"]]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {name: placed(value) for name, value in SETTINGS.items()} | {"API_DRAIN_SECONDS": "0", "PATH": path}
    with running(settings, command) as started:
        assert started.port == int(port)
        yield started


def test_serves_the_folder_under_the_name_of_the_inference_service(service: Service) -> None:
    data = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(RED) + 4}}
    header = json.dumps({"inputs": [data]}).encode()
    body = header + len(RED).to_bytes(4, "little") + RED
    binary = {"Inference-Header-Content-Length": str(len(header)), "Content-Type": "application/octet-stream"}
    with httpx.Client(base_url=service.base_url, timeout=60) as client:
        for path in ("/v2/health/ready", f"/v2/models/{NAME}", f"/v2/models/{NAME}/ready"):
            assert client.get(path).status_code == 200, path
        answer = client.post(f"/v2/models/{NAME}/infer", content=body, headers=binary)
    assert answer.status_code == 200, answer.text
    assert '"red"' in answer.text
    assert not service.bugs()


def test_probes_and_port_are_the_services(service: Service) -> None:
    probes = [CONTAINER[f"{kind}Probe"]["httpGet"] for kind in ("readiness", "liveness")]
    [port] = CONTAINER["ports"]
    assert {probe["port"] for probe in probes} == {port["containerPort"]} == {int(SETTINGS["API_PORT"])}
    annotations = RUNTIME["spec"]["annotations"]
    assert annotations["prometheus.kserve.io/port"] == SETTINGS["API_PORT"]
    for path in (*(probe["path"] for probe in probes), annotations["prometheus.kserve.io/path"]):
        assert httpx.get(service.base_url + path, timeout=60).status_code == 200, path


def test_settings_fit_pod_and_grace_period() -> None:
    assert common.setting_problems(SETTINGS) == []
    assert common.memory_problems(SETTINGS, CONTAINER["resources"]["limits"]) == []
    assert common.security_problems(CONTAINER, {}) == []
    settings = common.settings_of(SETTINGS)
    assert settings.drain_seconds + settings.request_timeout_ms / 1000 < GRACE_PERIOD_S


def test_inference_services_use_the_runtime(rendered: list[Manifests]) -> None:
    for manifests in rendered:
        model = predictor(manifests)["model"]
        assert model["runtime"] == RUNTIME["metadata"]["name"]
        assert model["modelFormat"]["name"] in {each["name"] for each in RUNTIME["spec"]["supportedModelFormats"]}
        assert model["protocolVersion"] in RUNTIME["spec"]["protocolVersions"]
        assert of_kind(manifests, "ServingRuntime")[0]["spec"]["containers"][0]["image"] == "fovea:latest"


def test_canary_changes_the_model_and_the_share_of_requests(rendered: list[Manifests]) -> None:
    before, after = map(predictor, rendered)
    assert after["canaryTrafficPercent"] == 10
    assert after["model"]["storageUri"] != before["model"]["storageUri"]


def test_manifests_fit_the_models_of_kserve_and_mistakes_do_not(rendered: list[Manifests]) -> None:
    base, canary = rendered
    wrong = [of_kind(changed(canary, *mistake), mistake[0])[0] for mistake in MISTAKES]
    found = schema_problems([*base, *canary, *wrong])
    right = len(base) + len(canary)
    assert found[:right] == [[]] * right
    assert [mistake for mistake, problems in zip(MISTAKES, found[right:], strict=True) if not problems] == []


def predictor(manifests: Manifests) -> Manifest:
    [service] = of_kind(manifests, "InferenceService")
    found: Manifest = service["spec"]["predictor"]
    return found


def schema_problems(manifests: list[Manifest]) -> list[list[str]]:
    """Of each manifest. kserve's package needs an environment of its own."""
    command = [KSERVE, KSERVE_MODELS]
    done = subprocess.run(command, input=json.dumps(manifests), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    problems: list[list[str]] = json.loads(done.stdout)
    return problems
