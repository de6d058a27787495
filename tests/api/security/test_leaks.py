"""Keys are never logged, and responses never show internals of the service."""

import base64
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import plain_http
from tests.conftest import Serve
from tests.problems import LEAKS
from tests.process import running_service
from tests.server import Server, service_settings, serving, until

KEY, WRONG = "s3cr3t-k3y-of-ours", "wr0ng-k3y-of-theirs"
ADMIN = {"X-API-Key": "boss"}

MALFORMED_VALUES = (
    "../../etc/passwd",
    "%00",
    "a" * 3000,
    "-1",
    "nan",
    "9" * 30,
    "{}",
    "${7*7}",
    "%F0%9F%92%A9",
    "%ED%A0%BD",
)
MALFORMED_BODIES = (
    b"",
    b"\0" * 100,
    b"{" * 5000,
    b'{"name": {"a": []}, "version": 1e999}',
    b'{"name": "../../etc"}',
    b"--x\r\nContent-Disposition: form-data; name=../../etc\r\n\r\n",
    b"\x89PNG\r\n\x1a\n" + bytes(50),
    b"\x08\x07" * 50,
)
MALFORMED_TYPES = ("application/json", "multipart/form-data; boundary=x", "multipart/form-data", "image/png", "\x01")


@pytest.mark.slow
def test_keys_are_never_logged(tiny_models: Path, red_png: bytes) -> None:
    settings = {"API_MODELS_DIR": str(tiny_models), "API_DEFAULT_MODEL": "colour", "API_WORKERS": "1"}
    settings |= {"API_LOG_LEVEL": "debug", "API_KEYS": KEY, "API_ADMIN_KEYS": KEY + "-admin"}
    with running_service(**settings) as service, plain_http.Client(base_url=service.base_url, timeout=30) as client:
        for key in (KEY, WRONG):
            basic = base64.b64encode(f"user:{key}".encode()).decode()
            for headers in (
                {"X-API-Key": key},
                {"Authorization": f"Bearer {key}"},
                {"Authorization": f"Basic {basic}"},
                {"Cookie": f"key={key}"},
                {"X-Request-ID": "fine", "X-API-Key": key + "\xff"},
            ):
                sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
                client.post(f"/infer?key={key}&api_key={key}", content=red_png, headers=sent)
                client.get(f"/models?token={key}", headers=sent)
                client.put("/models/default", content=f'{{"name": "{key}"}}', headers=sent)
        until(lambda: sum(" request  status=" in line for line in service.log) >= 30)
    written = "".join(service.log)
    assert "k3y" not in written
    assert basic not in written


@pytest.fixture(scope="module")
def open_server(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without keys for inference, with models that its requests may change."""
    models = tmp_path_factory.mktemp("open") / "models"
    (models / "colour" / "1").mkdir(parents=True)
    for name in ("model.toml", "labels.txt", "1/model.onnx"):
        (models / "colour" / name).write_bytes((tiny_models / "colour" / name).read_bytes())
    settings = service_settings(models_dir=models, default_model="colour", admin_keys=("boss",))
    with serving(settings) as running:
        yield running


def test_malformed_requests_are_not_500_and_show_no_internals(open_server: Server) -> None:
    document = open_server.client.get("/openapi.json").json()
    routes = [(path, method) for path, methods in document["paths"].items() for method in methods]
    assert len(routes) > 15
    problems = 0
    for number, ((path, method), value) in enumerate(itertools.product(routes, MALFORMED_VALUES)):
        place = re.sub(r"\{\w+\}", value, path)
        answer = open_server.client.request(
            method,
            f"{place}?model={value}&top_k={value[:20]}",
            content=MALFORMED_BODIES[number % len(MALFORMED_BODIES)],
            headers=[*ADMIN.items(), ("Content-Type", MALFORMED_TYPES[number % len(MALFORMED_TYPES)])],
        )
        if answer.status_code >= 400:
            problems += 1
            assert answer.status_code != 500, (method, place, answer.text)
            assert not LEAKS.search(answer.text.replace("../", "")), (method, place, answer.text)
    assert problems > len(routes)


@pytest.mark.parametrize("path", ["/nothing", "/infer/x", "/docs/x", "/%2e%2e/%2e%2e/etc/passwd", "/infer%00"])
def test_unknown_paths_and_methods_show_no_internals(server: Server, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "TRACE", "PROPFIND"):
        answer = server.client.request(method, path)
        assert answer.status_code in (404, 405)
        assert not LEAKS.search(answer.text)


def test_unexpected_exceptions_show_no_internals(serve: Serve, red_png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise KeyError("/etc/secret of onnxruntime 1.2.3")

    client = serve(admin_keys=("boss",)).client
    monkeypatch.setattr("engine.inference_engine.predict", bug)
    answers = [
        client.post("/infer", content=red_png),
        client.post("/infer/batch", files=[("images", ("a.png", red_png))]),
        client.post("/infer/batch?stream=true", files=[("images", ("a.png", red_png))]),
    ]
    for answer in answers:
        assert '"code":"internal_error"' in answer.text
        assert not LEAKS.search(answer.text)
