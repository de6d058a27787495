from pathlib import Path
from types import SimpleNamespace

import pytest

from api.health import Health, Part, PartStatus
from api.schemas import HealthReport
from tests.conftest import Serve
from tests.problems import assert_problem
from tests.server import Server
from tests.tiny_models import add_model, colour_graph


def test_healthy_service_reports_its_parts_versions_and_providers(server: Server) -> None:
    response = server.client.get("/health")
    assert response.status_code == 200
    report = HealthReport.model_validate(response.json())
    assert {name: part.status for name, part in report.parts.items()} == {
        "image_loader": "ok",
        "model_loader": "ok",
        "model": "ok",
        "models_folder": "ok",
        "disk": "ok",
    }
    assert report.reason is None
    assert report.providers == ["CPUExecutionProvider"]
    assert {"python", "onnxruntime", "opencv-python-headless"} <= set(report.versions)
    assert report.uptime_s > 0
    assert server.client.get("/health/ready").json() == {"status": "ready"}


def test_missing_default_model_is_live_but_not_ready(serve: Serve, tmp_path: Path) -> None:
    for name in ("colour", "other"):
        add_model(tmp_path, name, colour_graph())
    client = serve(models_dir=tmp_path, default_model="missing").client
    assert client.get("/health/live").json() == {"status": "alive"}
    detail = assert_problem(client.get("/health/ready"), 503, "not_ready")
    assert "missing" in detail
    assert "colour" in detail
    report = client.get("/health")
    assert report.status_code == 503
    assert report.json()["parts"]["model"]["status"] == "failed"
    assert report.json()["parts"]["image_loader"]["status"] == "ok"


def test_broken_default_model_is_reported_with_its_reason(serve: Serve, tmp_path: Path) -> None:
    folder = add_model(tmp_path, "broken", colour_graph())
    (folder / "model.toml").write_text('task = "image-classification"\nactivation = "soft"\n')
    client = serve(models_dir=tmp_path, default_model="broken").client
    assert "activation" in assert_problem(client.get("/health/ready"), 503, "not_ready")


def test_default_model_in_ambiguous_folder_is_reported_with_the_remedy(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "pair").mkdir()
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / "pair" / name).write_bytes(bytes(colour_graph().SerializeToString()))
    client = serve(models_dir=tmp_path, default_model="pair").client
    assert "a.onnx and b.onnx" in assert_problem(client.get("/health/ready"), 503, "not_ready")
    assert client.get("/models").status_code == 200


def test_unavailable_provider_is_not_ready_without_fallback(serve: Serve) -> None:
    client = serve(providers=("cuda",)).client
    assert "CUDAExecutionProvider did not come up" in assert_problem(client.get("/health/ready"), 503, "not_ready")


def test_failed_image_loader_is_reported_as_one_failed_part(
    serve: Serve, red_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file /usr/lib")

    monkeypatch.setattr("api.inference_api.create_image_loader", missing)
    client = serve().client
    parts = client.get("/health").json()["parts"]
    assert parts["image_loader"]["status"] == parts["model"]["status"] == "failed"
    assert parts["model_loader"]["status"] == "ok"
    assert "image_loader" in assert_problem(client.post("/infer", content=red_png), 503, "not_ready")


def test_health_before_start_is_not_ready() -> None:
    assert Health().not_ready_reason() is not None


def test_since_is_unchanged_while_the_state_is(server: Server) -> None:
    first, second = (server.client.get("/health").json()["parts"] for _ in range(2))
    assert first == second


def test_one_failed_part_is_not_ready() -> None:
    health = Health()
    health.set("good", Part(PartStatus.OK))
    assert health.not_ready_reason() is None
    health.set("bad", Part(PartStatus.FAILED, "because"))
    assert health.not_ready_reason() == "bad failed: because"


def test_full_disk_is_reported_while_the_service_stays_ready(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5 * 2**20))
    report = server.client.get("/health")
    assert report.status_code == 200
    assert "5 MiB left" in report.json()["parts"]["disk"]["reason"]
