"""Kubernetes manifests: how kustomize renders them, what is in them, and whether they fit their published schemas."""

import base64
import copy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from pydantic import ValidationError
from ruamel.yaml import YAML

from api.settings import PREFIX, ApiSettings
from tests.paths import ROOT

KUBECTL = Path(sys.executable).with_name("kubectl")
DEPLOY = ROOT / "deploy"
# The oldest and the newest whose schemas kubernetes-validate has.
KUBERNETES_VERSIONS = ("1.25", "1.37")

Manifest = dict[str, Any]
Manifests = list[Manifest]


def render(folder: Path) -> Manifests:
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(YAML(typ="safe").load_all(done.stdout))


def of_kind(manifests: Manifests, *kinds: str) -> Manifests:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def changed(manifests: Manifests, kind: str, path: str, value: object) -> Manifests:
    """A copy with one field of the first manifest of that kind set. `path`: names and indices, "spec.ports.0.port"."""
    manifests = copy.deepcopy(manifests)
    node: Any = of_kind(manifests, kind)[0]
    *parents, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    for part in parents:
        node = node[part]
    node[last] = value
    return manifests


def environment(manifests: Manifests, container: Manifest) -> dict[str, str]:
    """The variables of a container, from its ConfigMaps, its Secrets and its own list."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        for kind, ref in (("ConfigMap", source.get("configMapRef")), ("Secret", source.get("secretRef"))):
            for manifest in of_kind(manifests, kind):
                if ref and manifest["metadata"]["name"] == ref["name"]:
                    found |= manifest["data"] if kind == "ConfigMap" else _decoded(manifest["data"])
    return found | {variable["name"]: variable["value"] for variable in container.get("env", [])}


def settings_of(variables: Mapping[str, str]) -> ApiSettings:
    """Raises ValidationError for an unknown setting or a bad value."""
    values: dict[str, Any] = {name.removeprefix(PREFIX).lower(): value for name, value in variables.items()}
    return ApiSettings(_env_file=None, **values)


def setting_problems(variables: Mapping[str, str]) -> list[str]:
    try:
        settings_of(variables)
    except ValidationError as error:
        return [str(error)]
    return [f"not a setting: {name}" for name in variables if not name.startswith(PREFIX)]


def memory_problems(variables: Mapping[str, str], limits: Mapping[str, str]) -> list[str]:
    """Pictures being decoded, uploads in progress, and 256 MiB for the process and its models (docs/security.md)."""
    settings = settings_of(variables)
    needed = settings.max_image_pixels * 15 * int(limits["cpu"]) + (settings.max_arriving_mb + 256) * 2**20
    limit = int(limits["memory"].removesuffix("Gi")) * 2**30
    return [f"memory limit {limit}, needed {needed}"] if limit < needed else []


def security_problems(container: Manifest, pod: Manifest) -> list[str]:
    """Of the Pod Security Standard "restricted", and a read-only root file system."""
    context = pod.get("securityContext", {}) | container.get("securityContext", {})
    expected = {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return [f"{name}: {context.get(name)}" for name, value in expected.items() if context.get(name) != value]


def schema_problems(manifests: Manifests) -> list[str]:
    return [problem for manifest in manifests for problem in _schema_problems(manifest)]


def _schema_problems(manifest: Manifest) -> list[str]:
    if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
        return _prometheus_operator_problems(manifest)
    try:
        for version in KUBERNETES_VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return [f"{manifest['kind']}: {error}"]
    return []


def _prometheus_operator_problems(manifest: Manifest) -> list[str]:
    """These models drop unknown fields, so what comes back must be what went in."""
    try:
        model = getattr(prometheus_operator, manifest["kind"]).model_validate(manifest)
    except ValidationError as error:
        return [str(error)]
    known = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [] if known == manifest else [f"unknown fields: {manifest} is read as {known}"]


def _decoded(data: Mapping[str, str]) -> dict[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in data.items()}
