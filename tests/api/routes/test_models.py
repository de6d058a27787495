"""What there is, what it does and what decided it; one picture to several models."""

from pathlib import Path

import pytest

from api.schemas import InferManyResponse, ModelDetails, ModelList, TuningReport
from engine.scheduling import tuning as tuning_module
from tests.conftest import Serve
from tests.pictures_by_colour import colour_picture
from tests.problems import assert_problem
from tests.server import Server, until
from tests.tiny_models import add_model, colour_graph, slow_graph

RED = colour_picture("red")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    add_model(tmp_path, "colour", colour_graph())
    add_model(tmp_path, "colour", colour_graph(gain=5), version=2)
    add_model(tmp_path, "other", colour_graph(), labels=("r", "g", "b"))
    (add_model(tmp_path, "broken", colour_graph()) / "model.toml").write_text("task = 1\n")
    return tmp_path


@pytest.fixture
def server(serve: Serve, models: Path) -> Server:
    return serve(models_dir=models)


def test_the_list_tells_versions_and_states(server: Server) -> None:
    listed = ModelList.model_validate(server.client.get("/models").json())
    assert listed.default == "colour"
    assert [(m.name, m.default, m.active, m.serving) for m in listed.models] == [
        ("broken", False, 1, None),
        ("colour", True, 2, 2),
        ("other", False, 1, None),
    ]
    colour = listed.models[1]
    assert [(v.version, v.state) for v in colour.versions] == [(1, "UNAVAILABLE"), (2, "READY")]


def test_the_etag_stays_until_something_changes(server: Server) -> None:
    first = server.client.get("/models")
    headers = {"If-None-Match": first.headers["etag"]}
    second = server.client.get("/models", headers=headers)
    assert (second.status_code, second.content) == (304, b"")
    server.client.post("/infer?model=other", content=RED)
    assert server.client.get("/models", headers=headers).status_code == 200


def test_every_field_tells_what_decided_it(server: Server) -> None:
    details = ModelDetails.model_validate(server.client.get("/models/colour").json())
    assert details.spec["preprocess.size"].decided_by == "model.toml"
    assert details.spec["preprocess.size"].value == [8, 8]
    assert details.spec["labels"].decided_by == "labels.txt"
    assert details.spec["input"].decided_by == "graph"
    assert details.providers == ["CPUExecutionProvider"]


def test_how_it_runs_here_is_shown_with_what_decided_it(
    serve: Serve, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning_module, "_MIN_EFFICIENCY", 0.0)  # conclusive on a busy machine, too
    add_model(models, "colour", slow_graph(2), version=3)  # long enough to be measured
    server = serve(models_dir=models, cache_dir=tmp_path / "cache", intra_op_threads=0, max_batch=0)
    tuning = tuning_of(server)
    assert tuning.level == "quick"
    assert tuning.measured_at
    assert all(row.ms > 0 and row.pictures_per_s > 0 for row in tuning.measured)
    assert set(tuning.plan.intra_op_threads) <= {row.threads for row in tuning.measured}
    fixed = tuning_of(serve(models_dir=models, cache_dir=tmp_path / "cache", intra_op_threads=1, max_batch=0))
    assert fixed.plan.intra_op_threads == (1,)
    assert fixed.reason.startswith("fixed by settings")
    assert fixed.measured == tuning.measured


def test_without_measuring_the_plan_is_shown_all_the_same(server: Server) -> None:
    tuning = tuning_of(server)
    assert (tuning.level, tuning.reason, tuning.measured) == (None, "nothing was measured", [])
    assert tuning.plan.intra_op_threads[0] == 1
    assert ModelDetails.model_validate(server.client.get("/models/other").json()).tuning is None


def tuning_of(server: Server) -> TuningReport:
    tuning = ModelDetails.model_validate(server.client.get("/models/colour").json()).tuning
    assert tuning
    return tuning


def test_a_model_that_cannot_be_understood_says_why(server: Server) -> None:
    details = ModelDetails.model_validate(server.client.get("/models/broken").json())
    assert details.spec == {}
    assert "task" in details.warnings[0]
    assert_problem(server.client.get("/models/nope"), 404, "unknown_model")


def test_several_models_answer_about_one_picture(server: Server) -> None:
    response = server.client.post("/infer?model=colour&model=other", content=RED)
    answer = InferManyResponse.model_validate(response.json())
    told = [(r.model.name, r.predictions[0].label) for r in answer.results]  # type: ignore[union-attr]  # both classify
    assert told == [("colour", "red"), ("other", "r")]
    decodes = {result.timings_ms.decode for result in answer.results}
    assert len(decodes) == 1, "it is decoded once"


def test_two_versions_of_one_model_are_compared(server: Server) -> None:
    response = server.client.post("/infer?model=colour&version=1&version=2", content=RED)
    results = InferManyResponse.model_validate(response.json()).results
    assert [(r.model.name, r.model.version) for r in results] == [("colour", 1), ("colour", 2)]
    assert results[0].predictions != results[1].predictions


@pytest.mark.parametrize(
    "query", ["model=colour&model=other&version=1", "model=" + "&model=".join("colour" for _ in range(9))]
)
def test_versions_that_do_not_fit_the_models_are_told(server: Server, query: str) -> None:
    assert_problem(server.client.post(f"/infer?{query}", content=RED), 422, "invalid_parameter")


def test_one_unknown_model_of_several_is_404(server: Server) -> None:
    assert_problem(server.client.post("/infer?model=colour&model=nope", content=RED), 404, "unknown_model")


def test_a_model_dropped_into_the_folder_is_served_without_a_restart(server: Server, models: Path) -> None:
    (models / "bare.onnx").write_bytes(colour_graph().SerializeToString())
    until(lambda: server.client.post("/infer?model=bare", content=RED).status_code == 200)
    answer = server.client.post("/infer?model=bare", content=RED).json()
    assert answer["predictions"][0]["class_id"] == 0
    details = ModelDetails.model_validate(server.client.get("/models/bare").json())
    assert any("mean" in warning for warning in details.warnings)
