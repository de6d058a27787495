import base64
import gzip
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from tests.conftest import Serve
from tests.pictures_by_colour import colour_picture
from tests.server import Server, service_settings, serving
from tests.tiny_models import SPEC, add_model, colour_graph, two_output_graph, wide_graph

HEADER = "Inference-Header-Content-Length"
RED, BLUE = colour_picture("red"), colour_picture("blue")
OPEN_SPEC = SPEC.replace("[8, 8]", "[48, 48]")


@pytest.fixture(scope="module")
def v2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("models")
    add_model(models, "colour", colour_graph())
    add_model(models, "two", two_output_graph(), spec=SPEC.replace("image-classification", "tensor"), labels=None)
    add_model(models, "wide", wide_graph(16), spec=OPEN_SPEC)
    settings = {"models_dir": models, "default_model": "colour", "admin_keys": ("boss",), "max_upload_bytes": 100_000}
    with serving(service_settings(**settings, max_batch_images=3)) as server:
        yield server


def infer(
    server: Server, message: object, rest: bytes = b"", *, model: str = "colour", **headers: str
) -> httpx.Response:
    header = orjson.dumps(message)
    if rest:
        headers[HEADER] = str(len(header))
    return server.client.post(f"/v2/models/{model}/infer", content=header + rest, headers=headers)


def error(response: httpx.Response, status: int, code: str) -> str:
    """The message of an error, which is problem details with `error`."""
    problem = response.json()
    assert response.status_code == problem["status"] == status, response.text
    assert problem["code"] == code
    assert problem["error"] == problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    return str(problem["error"])


def elements(*pictures: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(picture)) + picture for picture in pictures)


def pictures(*data: bytes, shape: list[int] | None = None, **members: object) -> tuple[dict[str, Any], bytes]:
    raw = elements(*data)
    entry = {"name": "image", "shape": shape or [len(data)], "datatype": "BYTES"}
    return {"inputs": [{**entry, "parameters": {"binary_data_size": len(raw)}}], **members}, raw


def tensors(array: NDArray[Any], **members: object) -> dict[str, Any]:
    entry = {"name": "image", "shape": list(array.shape), "datatype": "FP32", "data": array.tolist()}
    return {"inputs": [entry], **members}


def by_name(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return {output["name"]: output for output in response.json()["outputs"]}


def test_answers_are_those_of_infer(v2: Server) -> None:
    outputs = by_name(infer(v2, *pictures(RED, BLUE, shape=[2, 1])))
    for row, picture in enumerate((RED, BLUE)):
        predictions = v2.client.post("/infer", content=picture).json()["predictions"]
        columns = {name: output["data"][row * 3 : row * 3 + 3] for name, output in outputs.items() if name != "count"}
        assert columns == {name: [p[name] for p in predictions] for name in ("label", "class_id", "score")}
    assert outputs["count"]["data"] == [3, 3]


def test_pictures_in_json_are_base64_or_data_uris(v2: Server) -> None:
    text = base64.b64encode(RED).decode()
    for data in (text, f"data:image/png;base64,{text}"):
        message = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [data]}]}
        assert by_name(infer(v2, message))["label"]["data"][0] == "red"
    message = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["https://x/y.png"]}]}
    assert "element 0 of input 'image' is a URL" in error(infer(v2, message), 400, "no_picture")


def test_raw_body_is_the_picture_or_tensor(v2: Server) -> None:
    address = "/v2/models/{}/infer"
    raw = {HEADER: "0", "Accept": "*/*"}
    response = v2.client.post(address.format("colour"), content=RED, headers=raw)
    assert response.headers["content-type"] == "application/octet-stream"
    header = orjson.loads(response.content[: int(response.headers[HEADER])])
    assert [output["parameters"] for output in header["outputs"]][-1] == {"binary_data_size": 4}
    as_json = {**raw, "Accept": "application/json"}
    assert by_name(v2.client.post(address.format("colour"), content=RED, headers=as_json))["label"]["data"][0] == "red"
    tensor = np.ones((3, 8, 8), np.float32).tobytes()
    response = v2.client.post(address.format("colour.tensor"), content=tensor, headers=as_json)
    assert by_name(response)["logits"]["data"] == [10, 10, 10]
    assert "bytes" in error(
        v2.client.post(address.format("colour.tensor"), content=b"1", headers=raw), 400, "invalid_request"
    )


def test_tensor_face_runs_each_row_of_the_tensor(v2: Server) -> None:
    batch = np.linspace(0, 1, 2 * 3 * 8 * 8, dtype=np.float32).reshape(2, 3, 8, 8)
    both = by_name(infer(v2, tensors(batch), model="two.tensor"))
    assert both["opposite"]["data"] == [-value for value in both["logits"]["data"]]
    for row in range(2):
        alone = by_name(infer(v2, tensors(batch[row : row + 1]), model="two.tensor"))
        assert alone["logits"]["data"] == both["logits"]["data"][row * 3 : row * 3 + 3]


def test_picture_face_of_a_tensor_model_has_the_outputs_of_the_graph(v2: Server) -> None:
    outputs = by_name(infer(v2, *pictures(RED, RED), model="two"))
    assert {name: output["shape"] for name, output in outputs.items()} == {"logits": [2, 3], "opposite": [2, 3]}
    described = v2.client.get("/v2/models/two").json()["outputs"]
    assert described == [{"name": name, "datatype": "FP32", "shape": [-1, 3]} for name in outputs]


def test_classification_extension_names_the_best_classes(v2: Server) -> None:
    wanted = [{"name": "score", "parameters": {"classification": 2}}, {"name": "class_id"}]
    outputs = by_name(infer(v2, *pictures(RED, outputs=wanted, parameters={"top_k": 1})))
    assert outputs["score"]["shape"] == [1, 2]
    assert outputs["score"]["data"][0].endswith(":0:red")
    assert outputs["class_id"]["data"] == [0]
    logits = [{"name": "logits", "parameters": {"classification": 9}}]
    batch = np.zeros((1, 3, 8, 8), np.float32)
    batch[0, 2] = 1
    outputs = by_name(infer(v2, tensors(batch, outputs=logits), model="colour.tensor"))
    assert outputs["logits"]["data"] == ["10.0:2:blue", "0.0:0:red", "0.0:1:green"]
    assert by_name(infer(v2, tensors(batch, outputs=logits), model="two.tensor"))["logits"]["data"][0] == "10.0:2"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_are_compressed_both_ways(v2: Server, coding: str) -> None:
    message, raw = pictures(RED)
    header = orjson.dumps(message)
    compress = gzip.compress if coding == "gzip" else zlib.compress
    headers = {HEADER: str(len(header)), "Content-Encoding": coding, "Accept-Encoding": coding}
    response = v2.client.post("/v2/models/colour/infer", content=compress(header + raw), headers=headers)
    assert response.headers["content-encoding"] == coding
    assert by_name(response)["label"]["data"][0] == "red"
    plain = infer(v2, message, raw, **{"Accept-Encoding": "gzip, deflate, br"})
    assert "content-encoding" not in plain.headers


def test_decompressed_size_is_limited(v2: Server) -> None:
    bomb = gzip.compress(bytes(3_000_000))
    headers = {"Content-Encoding": "gzip"}
    response = v2.client.post("/v2/models/colour/infer", content=bomb, headers=headers)
    error(response, 413, "too_many_bytes")
    for broken in (b"x", bomb[:-9], bomb[:100], bomb + b"x"):
        response = v2.client.post("/v2/repository/index", content=broken, headers=headers)
        assert response.status_code in (400, 413)
    response = v2.client.post("/v2/models/colour/infer", content=b"x", headers={"Content-Encoding": "br"})
    error(response, 415, "unsupported_content_encoding")


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (pictures(RED, b"x", RED), 400, "Picture 1, counted from 0"),
        (pictures(RED, b"", RED), 400, "Picture 1, counted from 0"),
        (pictures(RED, RED, RED, RED), 413, "more than 3 pictures"),
        (pictures(bytes(100_001)), 413, "100,000 bytes"),
        (pictures(RED, RED, shape=[1, 2]), 400, "[N] or [N,1]"),
        (pictures(shape=[0]), 400, "got BYTES of shape [0]"),
        ((tensors(np.ones(1)), b""), 400, "'colour.tensor' takes the tensor"),
        (pictures(RED, outputs=[{"name": "y"}]), 400, "unexpected inference output 'y' for model 'colour'"),
        (pictures(RED, outputs=[{"name": "y", "parameters": {"classification": 1}}]), 400, "'y'"),
        (pictures(RED, parameters={"top_k": 0}), 422, "top_k=0"),
        (pictures(RED, parameters={"threshold": "high"}), 422, "threshold=high"),
        (pictures(RED, parameters={"timeout": -1}), 400, "microseconds"),
        (pictures(RED, parameters={"timeout": 1}), 504, "0.001 ms"),
        (({"inputs": [1]}, b""), 400, "'inputs'"),
    ],
)
def test_errors_of_the_picture_face(v2: Server, sent: tuple[dict[str, Any], bytes], status: int, text: str) -> None:
    response = infer(v2, *sent)
    assert text in error(response, status, response.json()["code"])


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (tensors(np.ones((1, 3, 8, 9))), "Expected [-1, 3, 8, 8], got [1, 3, 8, 9]"),
        (tensors(np.ones((0, 3, 8, 8))), "got [0, 3, 8, 8]"),
        (tensors(np.ones((3, 8, 8))), "got [3, 8, 8]"),
        ({"inputs": [{"name": "image", "shape": [1], "datatype": "INT32", "data": [1]}]}, "expects 'FP32'"),
        ({"inputs": [{"name": "zzz", "shape": [1], "datatype": "INT32", "data": [1]}]}, "'zzz'"),
    ],
)
def test_errors_of_the_tensor_face(v2: Server, message: object, text: str) -> None:
    assert text in error(infer(v2, message, model="colour.tensor"), 400, "invalid_request")


def test_an_input_that_the_graph_rejects_is_an_error_of_the_client(v2: Server) -> None:
    message = tensors(np.ones((1, 3, 48, 8), np.float32))
    assert "cannot run on this input" in error(infer(v2, message, model="wide.tensor"), 400, "invalid_request")


def test_infinite_outputs_are_sent_as_bytes_only(v2: Server) -> None:
    raw = np.full((1, 3, 8, 8), np.inf, np.float32).tobytes()
    entry = {"name": "image", "shape": [1, 3, 8, 8], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    assert "binary_data" in error(infer(v2, {"inputs": [entry]}, raw, model="colour.tensor"), 400, "invalid_request")
    binary = {"inputs": [entry], "parameters": {"binary_data_output": True}}
    assert infer(v2, binary, raw, model="colour.tensor").content.endswith(struct.pack("<f", np.inf))


def test_metadata_and_config_describe_both_faces(v2: Server) -> None:
    colour, tensor = (v2.client.get(f"/v2/models/{name}").json() for name in ("colour", "colour.tensor"))
    assert colour["versions"] == tensor["versions"] == ["1"]
    assert colour["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1, 1]}]
    assert tensor["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 8, 8]}]
    assert tensor["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}]
    config = v2.client.get("/v2/models/colour.tensor/versions/1/config").json()
    assert config["max_batch_size"] == 3
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [3, 8, 8], "format": "FORMAT_NCHW"}]
    assert v2.client.get("/v2/models/colour/config").json()["input"][0]["data_type"] == "TYPE_STRING"


def test_statistics_count_pictures_and_failures(v2: Server) -> None:
    def counts() -> tuple[int, int]:
        [entry] = v2.client.get("/v2/models/colour/versions/1/stats").json()["model_stats"]
        return entry["inference_count"], entry["inference_stats"]["fail"]["count"]

    before = counts()
    infer(v2, *pictures(RED, RED))
    infer(v2, *pictures(b"x"))
    assert counts() == (before[0] + 2, before[1] + 1)
    names = [entry["name"] for entry in v2.client.get("/v2/models/stats").json()["model_stats"]]
    assert sorted(names) == ["colour", "two", "wide"]


def test_unknown_models_addresses_and_methods(v2: Server) -> None:
    for path in ("nope", "nope.tensor", "colour/versions/9", "colour/versions/x/ready"):
        error(v2.client.get(f"/v2/models/{path}"), 404, "unknown_model")
    for path in ("/v2/nope", "/v2/models/colour/generate", "/v2/repository/models/colour/delete"):
        error(v2.client.get(path), 404, "not_found")
    response = v2.client.get("/v2/models/colour/infer")
    error(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_parts_of_triton_that_are_not_offered(v2: Server) -> None:
    for path in ("logging", "trace/setting", "models/colour/trace/setting"):
        error(v2.client.get(f"/v2/{path}"), 501, "not_supported")
        error(v2.client.post(f"/v2/{path}", content=b"{}"), 501, "not_supported")
    assert v2.client.get("/v2/systemsharedmemory/status").json() == []
    error(v2.client.post("/v2/cudasharedmemory/region/r/register", content=b"{}"), 501, "not_supported")


def test_repository_index_and_admin_key(v2: Server) -> None:
    boss = {"X-API-Key": "boss"}
    load, unload = "/v2/repository/models/two/load", "/v2/repository/models/two/unload"
    error(v2.client.post(load), 401, "no_key")
    assert v2.client.post(load, headers=boss).status_code == 200
    ready = v2.client.post("/v2/repository/index", json={"ready": True}).json()
    assert {"name": "two", "version": "1", "state": "READY", "reason": ""} in ready
    assert v2.client.get("/v2/models/two/ready").json() == {"name": "two", "ready": True}
    assert v2.client.post(unload, headers=boss, json={"parameters": {"unload_dependents": False}}).status_code == 200
    error(v2.client.get("/v2/models/two/ready"), 503, "not_ready")
    assert [model["name"] for model in v2.client.post("/v2/repository/index").json()] == ["colour", "two", "wide"]
    error(v2.client.post("/v2/repository/index", json={"ready": 1}), 400, "invalid_request")
    error(v2.client.post(load, headers=boss, json={"parameters": {"config": "{}"}}), 501, "not_supported")


def test_health_needs_no_key_and_the_rest_does(serve: Serve) -> None:
    server = serve(keys=("secret",))
    assert server.client.get("/v2/health/live").json() == {"live": True}
    assert server.client.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2", "/v2/models/colour", "/v2/models/stats"):
        error(server.client.get(path), 401, "no_key")
    error(infer(server, *pictures(RED)), 401, "no_key")
    assert by_name(infer(server, *pictures(RED), Authorization="Bearer secret"))["label"]["data"][0] == "red"
