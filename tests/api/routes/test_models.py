"""GET /models and GET /models/{name}, and several models for one picture."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.schemas import InferManyResponse, ModelDetails, ModelList, TuningReport
from engine.scheduling import tuning as tuning_module
from engine.scheduling.run_plan import TuneLevel
from tests.conftest import Serve
from tests.pictures_by_colour import colour_picture
from tests.problems import assert_problem
from tests.server import Server, service_settings, serving, until
from tests.tiny_models import add_model, colour_graph, slow_graph

RED = colour_picture("red")


def add_models(models: Path) -> Path:
    add_model(models, "colour", colour_graph())
    add_model(models, "colour", colour_graph(gain=5), version=2)
    add_model(models, "other", colour_graph(), labels=("r", "g", "b"))
    (add_model(models, "broken", colour_graph()) / "model.toml").write_text("task = 1\n")
    return models


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return add_models(tmp_path)


@pytest.fixture
def fresh(serve: Serve, models: Path) -> Server:
    """A server of this test: only its default model is loaded."""
    return serve(models_dir=models)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that are independent of what is loaded."""
    models = add_models(tmp_path_factory.mktemp("models"))
    with serving(service_settings(models_dir=models, default_model="colour")) as running:
        yield running


def test_model_list_has_versions_and_states(fresh: Server) -> None:
    listed = ModelList.model_validate(fresh.client.get("/models").json())
    assert listed.default == "colour"
    assert [(m.name, m.default, m.active, m.serving) for m in listed.models] == [
        ("broken", False, 1, None),
        ("colour", True, 2, 2),
        ("other", False, 1, None),
    ]
    colour = listed.models[1]
    assert [(v.version, v.state) for v in colour.versions] == [(1, "UNAVAILABLE"), (2, "READY")]


def test_openvino_serves_a_model(serve: Serve) -> None:
    server = serve(model_loader="openvino")
    answer = server.client.post("/infer", content=RED).json()
    assert answer["predictions"][0]["label"] == "red"
    assert server.client.get("/models/colour").json()["providers"] == ["CPU"]


def test_etag_is_unchanged_until_a_model_changes(fresh: Server) -> None:
    first = fresh.client.get("/models")
    headers = {"If-None-Match": first.headers["etag"]}
    second = fresh.client.get("/models", headers=headers)
    assert (second.status_code, second.content) == (304, b"")
    fresh.client.post("/infer?model=other", content=RED)
    assert fresh.client.get("/models", headers=headers).status_code == 200


def test_spec_fields_have_their_sources(server: Server) -> None:
    details = ModelDetails.model_validate(server.client.get("/models/colour").json())
    assert details.spec["preprocess.size"].decided_by == "model.toml"
    assert details.spec["preprocess.size"].value == [8, 8]
    assert details.spec["labels"].decided_by == "labels.txt"
    assert details.spec["input"].decided_by == "graph"
    assert details.providers == ["CPUExecutionProvider"]


def test_measured_tuning_is_shown_with_its_reason(
    serve: Serve, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning_module, "_MIN_EFFICIENCY", 0.0)  # conclusive on a busy machine, too
    monkeypatch.setitem(tuning_module._BUDGET_S, TuneLevel.QUICK, 60.0)  # enough there, too
    add_model(models, "colour", slow_graph(2), version=3)  # long enough to be measured
    settings = {"models_dir": models, "cache_dir": tmp_path / "cache", "model_loader": "onnxruntime", "max_batch": 0}
    server = serve(**settings, intra_op_threads=0)
    tuning = tuning_of(server)
    assert tuning.level == "quick"
    assert tuning.measured_at
    assert all(row.ms > 0 and row.pictures_per_s > 0 for row in tuning.measured)
    assert set(tuning.plan.intra_op_threads) <= {row.threads for row in tuning.measured}
    fixed = tuning_of(serve(**settings, intra_op_threads=1))
    assert fixed.plan.intra_op_threads == (1,)
    assert fixed.reason.startswith("fixed by settings") == (tuning.plan.intra_op_threads != (1,))
    assert fixed.measured == tuning.measured


def test_plan_without_measurement_is_shown(fresh: Server) -> None:
    tuning = tuning_of(fresh)
    assert (tuning.level, tuning.reason, tuning.measured) == (None, "nothing was measured", [])
    assert tuning.plan.intra_op_threads[0] == 1
    assert ModelDetails.model_validate(fresh.client.get("/models/other").json()).tuning is None


def tuning_of(server: Server) -> TuningReport:
    tuning = ModelDetails.model_validate(server.client.get("/models/colour").json()).tuning
    assert tuning
    return tuning


def test_note_of_a_loaded_model_is_a_warning(serve: Serve, models: Path) -> None:
    add_model(models, "colour", colour_graph(batch=4), version=3)
    server = serve(models_dir=models, default_model="colour")
    assert server.client.post("/infer", content=RED).json()["predictions"][0]["label"] == "red"
    warnings = server.client.get("/models/colour").json()["warnings"]
    assert "its batch is fixed at 4: each run computes 4 pictures for one; export it with batch=1" in warnings


def test_model_with_an_invalid_spec_has_a_warning(server: Server) -> None:
    details = ModelDetails.model_validate(server.client.get("/models/broken").json())
    assert details.spec == {}
    assert "task" in details.warnings[0]
    assert_problem(server.client.get("/models/nope"), 404, "unknown_model")


def test_several_models_answer_for_one_picture(server: Server) -> None:
    response = server.client.post("/infer?model=colour&model=other", content=RED)
    answer = InferManyResponse.model_validate(response.json())
    labels = [(r.model.name, r.predictions[0].label) for r in answer.results]  # type: ignore[union-attr]  # both classify
    assert labels == [("colour", "red"), ("other", "r")]
    decodes = {result.timings_ms.decode for result in answer.results}
    assert len(decodes) == 1  # decoded once


def test_two_versions_of_one_model_are_compared(server: Server) -> None:
    response = server.client.post("/infer?model=colour&version=1&version=2", content=RED)
    results = InferManyResponse.model_validate(response.json()).results
    assert [(r.model.name, r.model.version) for r in results] == [("colour", 1), ("colour", 2)]
    assert results[0].predictions != results[1].predictions


@pytest.mark.parametrize(
    "query", ["model=colour&model=other&version=1", "model=" + "&model=".join("colour" for _ in range(9))]
)
def test_versions_that_do_not_match_the_models_are_422(server: Server, query: str) -> None:
    assert_problem(server.client.post(f"/infer?{query}", content=RED), 422, "invalid_parameter")


def test_one_unknown_model_of_several_is_404(server: Server) -> None:
    assert_problem(server.client.post("/infer?model=colour&model=nope", content=RED), 404, "unknown_model")


def test_new_model_file_is_served_without_a_restart(fresh: Server, models: Path) -> None:
    (models / "bare.onnx").write_bytes(colour_graph().SerializeToString())
    until(lambda: fresh.client.post("/infer?model=bare", content=RED).status_code == 200)
    answer = fresh.client.post("/infer?model=bare", content=RED).json()
    assert answer["predictions"][0]["class_id"] == 0
    details = ModelDetails.model_validate(fresh.client.get("/models/bare").json())
    assert any("mean" in warning for warning in details.warnings)
