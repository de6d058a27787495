"""deploy/kubernetes: kustomize renders each overlay, and what it renders fits Kubernetes and the service.

Each check returns problems. It finds none in what is shipped, and at least one in a manifest with a mistake.
"""

import re
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from tests.e2e.deploy import manifests as common
from tests.e2e.deploy.manifests import DEPLOY, Manifest, Manifests, changed, environment, of_kind, render
from tests.e2e.services import RED, own_models
from tests.paths import ROOT
from tests.process import running
from tests.tiny_models import add_model, colour_graph

FOLDER = DEPLOY / "kubernetes"
ADAPTER = YAML(typ="safe").load((FOLDER / "prometheus-adapter.yaml").read_text(encoding="utf-8"))
RULES = DEPLOY / "prometheus" / "rules.yaml"
IMAGES = {"cpu": "fovea:latest", "gpu": "fovea:nvidia"}
VARIANTS = {
    "": ("# components:", "# components:"),
    " with components": ("# components:", "components:"),
    " with a models image": ("# components:.*components/models,", "components: [../../components/models-image,"),
}
OVERLAYS = [f"{overlay}{variant}" for overlay in IMAGES for variant in VARIANTS]
DIGEST = "sha256:" + "0" * 64
CONTAINER = "spec.template.spec.containers.0"

Check = Callable[[Manifests, httpx.Client], list[str]]


def schema(manifests: Manifests, _service: httpx.Client) -> list[str]:
    return common.schema_problems(manifests)


def settings(manifests: Manifests, _service: httpx.Client) -> list[str]:
    return common.setting_problems(variables(manifests))


def volumes(manifests: Manifests, _service: httpx.Client) -> list[str]:
    """Every mount has a volume, and every volume is mounted."""
    containers = [container(manifests), *pod(manifests).get("initContainers", [])]
    mounted = {mount["name"] for each in containers for mount in each["volumeMounts"]}
    return sorted(mounted ^ {volume["name"] for volume in pod(manifests)["volumes"]})


def memory(manifests: Manifests, _service: httpx.Client) -> list[str]:
    return common.memory_problems(variables(manifests), container(manifests)["resources"]["limits"])


def security(manifests: Manifests, _service: httpx.Client) -> list[str]:
    token = [] if pod(manifests).get("automountServiceAccountToken") is False else ["service account token"]
    containers = [container(manifests), *pod(manifests).get("initContainers", [])]
    return token + [problem for each in containers for problem in common.security_problems(each, pod(manifests))]


def cpu_budget(manifests: Manifests, _service: httpx.Client) -> list[str]:
    """Whole cores, all of them reserved."""
    requested, limit = (container(manifests)["resources"][bound]["cpu"] for bound in ("requests", "limits"))
    return [] if requested == limit and limit.isdecimal() else [f"{requested} of {limit}"]


def grace_period(manifests: Manifests, _service: httpx.Client) -> list[str]:
    """A hook's time comes off the grace period, so there is none."""
    used = common.settings_of(variables(manifests))
    needed = used.drain_seconds + used.body_timeout_s + used.request_timeout_ms / 1000
    short = pod(manifests)["terminationGracePeriodSeconds"] <= needed
    return ["too short"] * short + ["lifecycle hook"] * ("lifecycle" in container(manifests))


def references(manifests: Manifests, _service: httpx.Client) -> list[str]:
    """Names and labels by which one manifest finds another."""
    [deployment] = of_kind(manifests, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    [service] = of_kind(manifests, "Service")
    selectors = [(deployment["spec"]["selector"]["matchLabels"], labels), (service["spec"]["selector"], labels)]
    for spec in (each["spec"] for each in of_kind(manifests, "PodDisruptionBudget", "NetworkPolicy")):
        selectors.append((spec.get("podSelector", spec.get("selector"))["matchLabels"], labels))
    for spread in pod(manifests)["topologySpreadConstraints"]:
        selectors.append((spread["labelSelector"]["matchLabels"], labels))
    for monitor in of_kind(manifests, "ServiceMonitor"):
        selectors.append((monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"]))
    problems = [f"{wanted} is not in {labels}" for wanted, labels in selectors if not wanted.items() <= labels.items()]
    named = {(each["kind"], each["metadata"]["name"]) for each in manifests}
    target = scaler(manifests)["scaleTargetRef"]
    used = [(target["kind"], target["name"])]
    for source in container(manifests)["envFrom"]:
        for kind, ref in (("ConfigMap", source.get("configMapRef")), ("Secret", source.get("secretRef"))):
            used += [(kind, ref["name"])] if ref and not ref.get("optional") else []
    return problems + [f"no {kind} {name}" for kind, name in used if (kind, name) not in named]


def ports(manifests: Manifests, _service: httpx.Client) -> list[str]:
    """The container's port is the service's; others name it."""
    [port] = container(manifests)["ports"]
    [service] = of_kind(manifests, "Service")
    [exposed] = service["spec"]["ports"]
    targets = [exposed["targetPort"], *(probe["port"] for probe in probes(manifests))]
    for policy in of_kind(manifests, "NetworkPolicy"):
        targets += [each["port"] for rule in policy["spec"]["ingress"] for each in rule["ports"]]
    wrong = [f"no port {name}" for name in targets if name != port["name"]]
    monitors = [end for each in of_kind(manifests, "ServiceMonitor") for end in each["spec"]["endpoints"]]
    wrong += [f"the Service has no port {end['port']}" for end in monitors if end["port"] != exposed["name"]]
    served = common.settings_of(variables(manifests)).port
    return wrong + [f"port {port['containerPort']}"] * (port["containerPort"] != served)


def paths(manifests: Manifests, service: httpx.Client) -> list[str]:
    used = {probe["path"] for probe in probes(manifests)}
    for monitor in of_kind(manifests, "ServiceMonitor"):
        used |= {end["path"] for end in monitor["spec"]["endpoints"]}
    return [path for path in used if service.get(path).status_code != 200]


def custom_metric(manifests: Manifests, service: httpx.Client) -> list[str]:
    """The autoscaler's metric is the adapter's, which reads series of /metrics."""
    [rule] = ADAPTER["rules"]["custom"]
    used = [metric["pods"]["metric"]["name"] for metric in scaler(manifests)["metrics"] if metric["type"] == "Pods"]
    served = service.get("/metrics").text
    read = set(re.findall(r'(fovea_\w+)\{stage="queue"', rule["seriesQuery"] + rule["metricsQuery"]))
    missing = [series for series in read if not re.search(rf'^{series}{{.*stage="queue"', served, re.MULTILINE)]
    return missing + [f"unknown metric {name}" for name in used if name != rule["name"]["as"]] + ["none"] * (not used)


def images(manifests: Manifests, _service: httpx.Client) -> list[str]:
    """Only pods with a GPU use the image for it."""
    overlay = "gpu" if "nvidia.com/gpu" in container(manifests)["resources"]["limits"] else "cpu"
    return [image for image in [container(manifests)["image"]] if image != IMAGES[overlay]]


def scaling(manifests: Manifests, _service: httpx.Client) -> list[str]:
    """The processor's load says nothing about a GPU's; a number of replicas would undo the autoscaler's."""
    [deployment] = of_kind(manifests, "Deployment")
    by_cpu = [metric for metric in scaler(manifests)["metrics"] if metric["type"] == "Resource"]
    has_gpu = "nvidia.com/gpu" in container(manifests)["resources"]["limits"]
    return ["CPU"] * (bool(by_cpu) == has_gpu) + ["replicas"] * ("replicas" in deployment["spec"])


CHECKS: list[Check] = [
    schema, settings, volumes, memory, security, cpu_budget, grace_period, references, ports, paths, custom_metric,
    images, scaling,
]  # fmt: skip
MISTAKES: list[tuple[Check, str, str, object]] = [
    (schema, "Deployment", f"{CONTAINER}.readinessProb", {}),
    (schema, "Deployment", f"{CONTAINER}.ports.0.containerPort", "http"),
    (schema, "HorizontalPodAutoscaler", "spec.metrics.0.pods.target.averageUtilisation", 70),
    (schema, "NetworkPolicy", "apiVersion", "networking.k8s.io/v1beta2"),
    (schema, "ServiceMonitor", "spec.endpoints.0.intervall", "15s"),
    (schema, "ServiceMonitor", "spec.selector", None),
    (settings, "ConfigMap", "data.API_DRAIN_SECOND", "10"),
    (settings, "ConfigMap", "data.API_DRAIN_SECONDS", "soon"),
    (settings, "ConfigMap", "data.DRAIN_SECONDS", "10"),
    (schema, "PrometheusRule", "spec.groups.0.rules.0.exp", "up == 0"),
    (volumes, "Deployment", f"{CONTAINER}.volumeMounts.0.name", "caches"),
    (memory, "ConfigMap", "data.API_MAX_IMAGE_PIXELS", "100000000"),
    (memory, "Deployment", f"{CONTAINER}.resources.limits.memory", "1Gi"),
    (security, "Deployment", f"{CONTAINER}.securityContext.readOnlyRootFilesystem", False),
    (security, "Deployment", "spec.template.spec.securityContext.runAsUser", 0),
    (security, "Deployment", "spec.template.spec.automountServiceAccountToken", True),
    (cpu_budget, "Deployment", f"{CONTAINER}.resources.limits.cpu", "2500m"),
    (grace_period, "Deployment", "spec.template.spec.terminationGracePeriodSeconds", 60),
    (grace_period, "ConfigMap", "data.API_DRAIN_SECONDS", "60"),
    (grace_period, "Deployment", f"{CONTAINER}.lifecycle", {"preStop": {"sleep": {"seconds": 10}}}),
    (references, "Service", "spec.selector", {"app": "fovea"}),
    (references, "PodDisruptionBudget", "spec.selector.matchLabels", {"app": "fovea"}),
    (references, "NetworkPolicy", "spec.podSelector.matchLabels", {"app": "fovea"}),
    (references, "ServiceMonitor", "spec.selector.matchLabels", {"app": "fovea"}),
    (references, "HorizontalPodAutoscaler", "spec.scaleTargetRef.name", "fovea-gpu"),
    (references, "Deployment", f"{CONTAINER}.envFrom.0.configMapRef.name", "settings"),
    (ports, "Deployment", f"{CONTAINER}.ports.0.containerPort", 8080),
    (ports, "ConfigMap", "data.API_PORT", "8080"),
    (ports, "Deployment", f"{CONTAINER}.livenessProbe.httpGet.port", "web"),
    (ports, "Service", "spec.ports.0.targetPort", "web"),
    (ports, "NetworkPolicy", "spec.ingress.0.ports.0.port", "web"),
    (ports, "ServiceMonitor", "spec.endpoints.0.port", "metrics"),
    (paths, "Deployment", f"{CONTAINER}.startupProbe.httpGet.path", "/healthz"),
    (paths, "ServiceMonitor", "spec.endpoints.0.path", "/metric"),
    (custom_metric, "HorizontalPodAutoscaler", "spec.metrics.0.pods.metric.name", "fovea_queue_wait"),
    (images, "Deployment", f"{CONTAINER}.image", "fovea:gpu"),
    (scaling, "Deployment", "spec.replicas", 2),
    (scaling, "HorizontalPodAutoscaler", "spec.metrics.1.type", "Pods"),
]


def pod(manifests: Manifests) -> Manifest:
    [deployment] = of_kind(manifests, "Deployment")
    spec: Manifest = deployment["spec"]["template"]["spec"]
    return spec


def container(manifests: Manifests) -> Manifest:
    [only] = pod(manifests)["containers"]
    found: Manifest = only
    return found


def scaler(manifests: Manifests) -> Manifest:
    [autoscaler] = of_kind(manifests, "HorizontalPodAutoscaler")
    spec: Manifest = autoscaler["spec"]
    return spec


def variables(manifests: Manifests) -> dict[str, str]:
    return environment(manifests, container(manifests))


def probes(manifests: Manifests) -> list[Manifest]:
    return [container(manifests)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifests]:
    """Each overlay as it is, and with the components that its file names in a comment, models in both ways."""
    copy = tmp_path_factory.mktemp("deploy") / "kubernetes"
    shutil.copytree(FOLDER, copy)
    keys = (copy / "components/keys/keys.env.example").read_text(encoding="utf-8").replace("sha256:replace", DIGEST)
    (copy / "components/keys/keys.env").write_text(keys, encoding="utf-8")
    found = {}
    for overlay in IMAGES:
        file = copy / "overlays" / overlay / "kustomization.yaml"
        text = file.read_text(encoding="utf-8")
        for variant, (comment, components) in VARIANTS.items():
            changed_text, times = re.subn(comment, components, text)
            assert times == 1
            file.write_text(changed_text, encoding="utf-8")
            found[f"{overlay}{variant}"] = render(file.parent)
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that has answered a picture."""
    models = tmp_path_factory.mktemp("models")
    add_model(models, "colour", colour_graph())
    with (
        running(own_models(models)) as started,
        httpx.Client(base_url=started.base_url, timeout=60) as client,
    ):
        assert client.post("/infer", content=RED).status_code == 200
        yield client


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_have_no_problem(
    rendered: dict[str, Manifests], service: httpx.Client, overlay: str, check: Check
) -> None:
    assert check(rendered[overlay], service) == []


@pytest.mark.parametrize(("check", "kind", "path", "value"), MISTAKES, ids=lambda part: getattr(part, "__name__", None))
def test_checks_find_mistakes(
    rendered: dict[str, Manifests], service: httpx.Client, check: Check, kind: str, path: str, value: object
) -> None:
    assert check(changed(rendered["cpu with components"], kind, path, value), service)


def test_components_add_keys_models_and_scrapes(rendered: dict[str, Manifests]) -> None:
    manifests = rendered["cpu with components"]
    assert {"API_KEYS": DIGEST, "API_ADMIN_KEYS": DIGEST}.items() <= variables(manifests).items()
    [mount] = [mount for mount in container(manifests)["volumeMounts"] if mount["mountPath"] == "/models"]
    assert mount["readOnly"] is True
    assert {volume["name"] for volume in pod(manifests)["volumes"]} == {"cache", "tmp", "models"}
    assert of_kind(manifests, "ServiceMonitor")
    [alerts] = of_kind(manifests, "PrometheusRule")
    assert alerts["spec"] == YAML(typ="safe").load(RULES.read_text(encoding="utf-8"))


def test_init_container_copies_models_into_the_folder_that_the_service_reads(
    rendered: dict[str, Manifests], tmp_path: Path
) -> None:
    spec = pod(rendered["cpu with a models image"])
    [init], [fovea] = spec["initContainers"], spec["containers"]
    [copied] = init["volumeMounts"]
    [read] = [mount for mount in fovea["volumeMounts"] if mount["mountPath"] == "/models"]
    assert (read["name"], read["readOnly"]) == (copied["name"], True)
    source, target = tmp_path / "models", tmp_path / "copy"
    add_model(source, "colour", colour_graph())
    target.mkdir()
    folders = {"/models/.": f"{source}/.", f"{copied['mountPath']}/": f"{target}/"}
    subprocess.run([folders.get(word, word) for word in init["command"]], check=True)
    assert subprocess.run(["diff", "-r", source, target], check=False).returncode == 0


def test_example_keys_do_not_start_a_service() -> None:
    lines = (FOLDER / "components/keys/keys.env.example").read_text(encoding="utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert example.keys() == {"API_KEYS", "API_ADMIN_KEYS"}
    with pytest.raises(ValidationError, match="64 lower-case hexadecimal digits"):
        common.settings_of(example)


def test_keys_are_ignored_by_git() -> None:
    command = ["git", "check-ignore", "--quiet", str(FOLDER / "components/keys/keys.env")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_queue_wait_is_the_mean_wait_of_each_pod(tmp_path: Path) -> None:
    """Of all its models together; 0 for an idle pod."""
    [rule] = ADAPTER["rules"]["custom"]
    query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", 'pod=~"busy|idle"')
    series = 'fovea_stage_duration_seconds_{}{{stage="{}",pod="{}",model="{}"}}'
    growth = [
        ("sum", "queue", "busy", "a", "0+6x10"), ("count", "queue", "busy", "a", "0+60x10"),
        ("sum", "queue", "busy", "b", "0+0x10"), ("count", "queue", "busy", "b", "0+60x10"),
        ("sum", "decode", "busy", "a", "0+60x10"), ("count", "decode", "busy", "a", "0+60x10"),
        ("sum", "queue", "idle", "a", "7x10"), ("count", "queue", "idle", "a", "70x10"),
    ]  # fmt: skip
    expected = [{"labels": f'{{pod="{pod}"}}', "value": wait} for pod, wait in (("busy", 0.05), ("idle", 0))]
    test = {
        "interval": "1m",
        "input_series": [{"series": series.format(*names), "values": values} for *names, values in growth],
        "promql_expr_test": [{"expr": query, "eval_time": "10m", "exp_samples": expected}],
    }
    file = tmp_path / "test.yaml"
    YAML(typ="safe").dump({"tests": [test]}, file)
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_prometheus_rule_is_rules_yaml_indented() -> None:
    manifest = (FOLDER / "components" / "monitoring" / "prometheus-rule.yaml").read_text(encoding="utf-8")
    assert manifest.partition("\nspec:\n")[2] == textwrap.indent(RULES.read_text(encoding="utf-8"), "  ")
