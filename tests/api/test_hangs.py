"""What never ends by itself costs its own request only."""

from pathlib import Path
from threading import Event

import pytest

from api.settings import ApiSettings
from engine import scheduler
from engine.run_plan import TuneLevel
from loaders.image_loader import ImageLoaderOptions, LeastSize, Picture
from loaders.opencv_loader import OpenCVImageLoader
from tests.api.test_metrics import value
from tests.conftest import Serve
from tests.server import serving, until
from tests.tiny_models import add_model, solid_png, stuck_on_red_graph

HURRY = {"X-Request-Timeout-Ms": "300"}


def test_a_run_of_hours_is_stopped_at_its_deadline_and_its_lane_goes_on(serve: Serve, tmp_path: Path) -> None:
    add_model(tmp_path, "stuck", stuck_on_red_graph())
    client = serve(models_dir=tmp_path, default_model="stuck", lanes=1).client
    for _ in range(2):
        problem = client.post("/infer", content=solid_png("red"), headers=HURRY)
        assert (problem.status_code, problem.json()["code"]) == (504, "deadline_exceeded")
        assert client.post("/infer", content=solid_png("black"), timeout=10).status_code == 200
    assert value(client, "fovea_requests_running", model="stuck") == 0


class Hanging(OpenCVImageLoader):
    """The default loader, but pictures of one row it never decodes."""

    def __init__(self) -> None:
        super().__init__(ImageLoaderOptions())
        self.end = Event()

    def load(self, data: bytes, at_least: LeastSize = None) -> Picture:
        if self.probe(data).height == 1:
            assert self.end.wait(60)
        return super().load(data, at_least)


def test_a_decoder_that_hangs_costs_a_thread_and_no_lane(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tiny_models: Path
) -> None:
    monkeypatch.setattr(scheduler, "LOST_AFTER_S", 0.2)
    settings = ApiSettings(_env_file=None, models_dir=tiny_models, default_model="colour", tune=TuneLevel.OFF, lanes=1)
    loader = Hanging()
    with serving(settings, image_loader=loader) as server:
        for _ in range(2):
            problem = server.client.post("/infer", content=solid_png("red", 9, 1), headers=HURRY)
            assert problem.json()["code"] == "deadline_exceeded"
            until(lambda: "a lane hangs" in caplog.text)
            caplog.clear()
            assert server.client.post("/infer", content=solid_png("red"), timeout=10).status_code == 200
        loader.end.set()
