"""The status and code of every problem, in real requests."""

import contextlib
import io
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from api.problems import KINDS, RequestError, problem_of
from engine.models.admin import ModelConflictError
from tests.conftest import Serve
from tests.pictures_by_colour import colour_picture
from tests.problems import assert_problem
from tests.server import Server, request_lines
from tests.tiny_models import add_model, colour_graph, not_a_number_graph, solid_png, stuck_on_red_graph

MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}

PART = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nxx'
NAMELESS = b"--b\r\nContent-Type: image/png\r\n\r\nxx\r\n--b--\r\n"
GIANT_HEADER = b"--b\r\nX: " + b"x" * 9000 + b"\r\n\r\nxx\r\n--b--\r\n"
GIANT_BOUNDARY = {"Content-Type": "multipart/form-data; boundary=" + "b" * 300}
HALF_A_JPEG = colour_picture("red", (64, 64), "JPEG")[:400]
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'

CASES: list[tuple[str, dict[str, str], bytes, int, str]] = [
    ("an empty body", {}, b"", 400, "empty_image"),
    ("text", {}, b"hello", 400, "undecodable_image"),
    ("half a picture", {}, HALF_A_JPEG, 400, "truncated_image"),
    ("a PDF", {}, b"%PDF-1.7\n", 415, "unsupported_format"),
    ("an SVG", {}, SVG, 415, "unsupported_format"),
    ("a JPEG XL", {}, b"\xff\x0a" + bytes(20), 415, "unsupported_format"),
    ("a form without its boundary", {"Content-Type": "multipart/form-data"}, b"x", 400, "malformed_multipart"),
    ("text as a form", MULTIPART, b"hello", 400, "malformed_multipart"),
    ("a form without its end", MULTIPART, PART, 400, "malformed_multipart"),
    ("a part without a name", MULTIPART, NAMELESS, 400, "malformed_multipart"),
    ("a part with a giant header", MULTIPART, GIANT_HEADER, 400, "malformed_multipart"),
    ("a giant boundary", GIANT_BOUNDARY, b"x", 400, "malformed_multipart"),
    ("an empty form", MULTIPART, b"--b--\r\n", 400, "no_picture"),
    ("a compressed body", {"Content-Encoding": "gzip"}, b"x", 415, "unsupported_content_encoding"),
]


@pytest.mark.parametrize(("headers", "body", "status", "code"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_invalid_body_has_its_status_and_code(
    server: Server, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    assert_problem(server.client.post("/infer", content=body, headers=headers), status, code)


def test_unknown_form_field_names_the_query_parameter(server: Server, red_png: bytes) -> None:
    response = server.client.post("/infer", files={"image": red_png}, data={"top_k": "3"})
    assert "(?top_k=3)" in assert_problem(response, 422, "unknown_field")


def test_two_pictures_in_one_form_are_rejected(server: Server, red_png: bytes) -> None:
    response = server.client.post("/infer", files=[("image", red_png), ("image", red_png)])
    assert_problem(response, 400, "no_picture")


@pytest.mark.parametrize(
    "query",
    [
        "top_k=0",
        "top_k=1001",
        "top_k=x",
        "threshold=1.5",
        "threshold=nan",
        "version=a/b",
        "encoding=hex",
        "normalize=2",
        "topk=3",
    ],
)
def test_parameter_out_of_range_is_named(server: Server, red_png: bytes, query: str) -> None:
    detail = assert_problem(server.client.post(f"/infer?{query}", content=red_png), 422, "invalid_parameter")
    assert query.split("=", maxsplit=1)[0] in detail


def test_unknown_path_is_404_and_wrong_method_is_405(server: Server) -> None:
    assert_problem(server.client.get("/nope"), 404, "not_found")
    assert_problem(server.client.get("/infer"), 405, "method_not_allowed")


def test_wrong_method_lists_all_allowed_methods(server: Server) -> None:
    response = server.client.patch("/models/colour/active")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "DELETE, PUT"
    assert server.client.post("/health").headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    ["/health", "/health/live", "/health/ready", "/models", "/models/colour", "/openapi.json", "/nope", "/infer"],
)
def test_head_has_the_headers_of_get(server: Server, path: str) -> None:
    get_response = server.client.get(path)
    head_response = server.client.head(path)
    assert (head_response.status_code, head_response.content) == (get_response.status_code, b"")
    changing = {"date", "x-request-id", "content-length"}
    assert {name: value for name, value in head_response.headers.items() if name not in changing} == {
        name: value for name, value in get_response.headers.items() if name not in changing
    }
    assert int(head_response.headers["content-length"]) > 0
    assert server.client.get("/health/live").json() == {"status": "alive"}


def test_picture_above_the_byte_limit_is_413_with_and_without_content_length(serve: Serve) -> None:
    limit = 10_000
    client = serve(max_upload_bytes=limit).client
    blue = colour_picture("blue", image_format="BMP")
    fits = blue + bytes(limit - len(blue))
    assert client.post("/infer", content=fits).status_code == 200
    assert client.post("/infer", files={"image": fits}).status_code == 200
    too_many = fits + b"\0"
    assert f"{limit:,}" in assert_problem(client.post("/infer", content=too_many), 413, "too_many_bytes")
    assert_problem(client.post("/infer", files={"image": too_many}), 413, "too_many_bytes")
    assert_problem(client.post("/infer", content=_in_chunks(too_many)), 413, "too_many_bytes")


def test_content_length_above_the_limit_is_rejected_before_the_body(serve: Serve) -> None:
    server = serve(max_upload_bytes=1000)
    head = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n"
    assert _talk(server.port, head).startswith(b"HTTP/1.1 413 ")


def test_too_many_pixels_are_413(serve: Serve) -> None:
    client = serve(max_image_pixels=32 * 24).client
    assert client.post("/infer", content=colour_picture("red")).status_code == 200
    detail = assert_problem(client.post("/infer", content=colour_picture("red", (33, 24))), 413, "too_many_pixels")
    assert "33 x 24" in detail


def test_truncated_jpeg_is_accepted_if_accept_truncated_is_set(serve: Serve) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((256, 256), 80).save(buffer, "JPEG")
    cut = buffer.getvalue()[:-200]
    assert_problem(serve().client.post("/infer", content=cut), 400, "truncated_image")
    assert serve(accept_truncated=True).client.post("/infer", content=cut).status_code == 200


def test_slow_body_is_408(serve: Serve) -> None:
    server = serve(body_timeout_s=0.2)
    head = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    answer = _talk(server.port, head + b"only this")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    assert b'"code":"body_too_slow"' in answer


def test_body_timeout_limits_the_whole_body(serve: Serve) -> None:
    server = serve(body_timeout_s=0.3)

    def drip() -> Iterator[bytes]:
        for _ in range(1000):  # 50 s
            yield b"x"
            time.sleep(0.05)  # slower than the limit allows, without a long pause

    with contextlib.suppress(httpx.WriteError):  # the server may close the connection first
        assert_problem(server.client.post("/infer", content=drip()), 408, "body_too_slow")


def test_missing_key_is_401_and_wrong_key_is_403(serve: Serve, red_png: bytes) -> None:
    client = serve(keys=("right",)).client
    no_key = client.post("/infer", content=red_png)
    assert_problem(no_key, 401, "no_key")
    assert no_key.headers["www-authenticate"] == "Bearer"
    assert_problem(client.post("/infer", content=red_png, headers={"X-API-Key": "wrong"}), 403, "wrong_key")


def test_requests_above_the_rate_limit_are_429(serve: Serve, red_png: bytes) -> None:
    client = serve(rate_limit="2/day").client
    statuses = [client.post("/infer", content=red_png).status_code for _ in range(2)]
    assert statuses == [200, 200]
    rejected = client.post("/infer", content=red_png)
    assert_problem(rejected, 429, "rate_limited")
    assert 1 <= int(rejected.headers["retry-after"]) <= 24 * 60 * 60


@pytest.fixture
def slow_models(tmp_path: Path) -> Path:
    add_model(tmp_path, "slow", stuck_on_red_graph())
    add_model(tmp_path, "colour", colour_graph())
    return tmp_path


def test_request_beyond_its_deadline_is_504(serve: Serve, slow_models: Path) -> None:
    client = serve(models_dir=slow_models, default_model="slow", request_timeout_ms=50).client
    assert "50 ms" in assert_problem(client.post("/infer", content=solid_png("red")), 504, "deadline_exceeded")
    assert client.get("/health/ready").status_code == 200


def test_model_that_fails_to_load_is_503_with_its_reason(serve: Serve, tmp_path: Path, red_png: bytes) -> None:
    folder = add_model(tmp_path, "broken", colour_graph())
    (folder / "1" / "model.onnx").write_bytes(b"not a graph")
    response = serve(models_dir=tmp_path, default_model="broken").client.post("/infer", content=red_png)
    assert_problem(response, 503, "model_unavailable")
    assert int(response.headers["retry-after"]) >= 5


def test_nan_scores_are_500(serve: Serve, tmp_path: Path) -> None:
    add_model(tmp_path, "nan", not_a_number_graph())
    client = serve(models_dir=tmp_path, default_model="nan").client
    assert client.post("/infer", content=colour_picture("black")).status_code == 200
    assert_problem(client.post("/infer", content=colour_picture("white")), 500, "invalid_model_output")


def test_unexpected_exception_is_500_without_details(
    serve: Serve, red_png: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()

    def bug(*_: object) -> None:
        raise KeyError("/secret/path")

    monkeypatch.setattr("engine.inference_engine.predict", bug)
    response = server.client.post("/infer", content=red_png)
    detail = assert_problem(response, 500, "internal_error")
    assert "secret" not in detail
    [line] = request_lines(caplog, response.json()["request_id"])
    assert isinstance(line["exception"], KeyError)


def test_client_that_disconnects_during_upload_affects_only_its_request(server: Server, red_png: bytes) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nonly this")
    assert server.client.post("/infer", content=red_png).status_code == 200


def test_connection_is_reused_after_a_rejected_body(server: Server, red_png: bytes) -> None:
    for _ in range(3):
        assert server.client.post("/infer?model=nope", content=b"x" * 500_000).status_code == 404
        assert server.client.post("/infer", content=red_png).status_code == 200


def test_every_request_error_has_a_problem_kind() -> None:
    missing = [error for error in RequestError.__subclasses__() if error not in KINDS]
    assert not missing


def test_conflict_is_409() -> None:
    problem = problem_of(ModelConflictError("the model is being loaded"))
    assert (problem.status, problem.code, problem.detail) == (409, "conflict", "the model is being loaded")


def _in_chunks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


def _talk(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            received = connection.recv(65_536)
            if not received:
                break
            answer += received
        return answer
