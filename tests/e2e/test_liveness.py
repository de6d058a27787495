"""The event loop stays free while pictures and models keep every core busy."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests import plain_http
from tests.process import running_service
from tests.server import until
from tests.tiny_models import add_model, slow_graph


@pytest.fixture
def slow_models(tmp_path: Path) -> Path:
    add_model(tmp_path, "slow", slow_graph(rounds=100))
    return tmp_path


def _big_jpeg() -> bytes:
    """Takes tens of milliseconds to decode."""
    buffer = io.BytesIO()
    Image.effect_noise((3000, 3000), 60).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def test_live_answers_while_inference_takes_every_core(slow_models: Path) -> None:
    picture = _big_jpeg()
    with (
        running_service(API_MODELS_DIR=str(slow_models), API_DEFAULT_MODEL="slow") as service,
        ThreadPoolExecutor(8) as clients,
        plain_http.Client(base_url=service.base_url, timeout=60) as client,
    ):
        base_url = service.base_url
        busy = [clients.submit(plain_http.post, f"{base_url}/infer", content=picture, timeout=60) for _ in range(24)]
        until(lambda: any(future.done() for future in busy))
        live = 0
        while not all(future.done() for future in busy):
            assert client.get("/health/live").status_code == 200
            live += 1
        assert [future.result().status_code for future in busy] == [200] * len(busy)
    assert live > 2 * len(busy), "an event loop that waits for pictures answers about once a picture"
