"""Unmodified clients of other services. docs/clients.md lists each call that is recorded here."""

import base64
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import requests
from deepstack.core import DeepstackException, DeepstackFace, DeepstackObject
from huggingface_hub import InferenceClient, close_session
from huggingface_hub.errors import BadRequestError, HfHubHTTPError
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests import plain_http
from tests.e2e.client_table import ROW
from tests.e2e.services import CAT
from tests.engine.tasks.real_models import PHOTOS, YUNET
from tests.engine.tasks.test_detectors_on_photos import FILES
from tests.pages import blocks
from tests.paths import ROOT
from tests.process import Service, running_service
from tests.tiny_models import add_model

WAIT_S = 120.0
CAT_URI = f"data:image/jpeg;base64,{base64.b64encode(CAT).decode()}"
CLIP_SPEC = """task = "image-feature-extraction"
normalize = true
[preprocess]
resize = "shortest-edge"
size = [64, 64]
mean = [0.48145466, 0.4578275, 0.40821073]
std = [0.26862954, 0.26130258, 0.27577711]
"""


def clip_tower(width: int = 32) -> Any:  # noqa: ANN401 - onnx.ModelProto
    """Patches of 16 pixels, a mean over them, and a projection named as CLIP's."""
    rng = np.random.default_rng(0)
    weights = {
        "patch": rng.normal(size=(width, 3, 16, 16)).astype(np.float32),
        "projection": rng.normal(size=(width, 16)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pixel_values", "patch"], ["patches"], strides=[16, 16]),
        helper.make_node("Relu", ["patches"], ["tokens"]),
        helper.make_node("ReduceMean", ["tokens"], ["pooled"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["pooled", "projection"], ["image_embeds"]),
    ]
    graph = helper.make_graph(
        nodes,
        "clip",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, 64, 64])],
        [helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["batch", 16])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    models = write_client_models(tmp_path_factory.mktemp("models"))
    patient = {"API_LOAD": "all", "API_REQUEST_TIMEOUT_MS": "120000"}  # the models load on a busy machine
    with running_service(API_MODELS_DIR=str(models), **patient) as started:
        yield started
        close_session()  # of huggingface_hub


def write_client_models(models: Path) -> Path:
    """The repository's models, a face detector and a CLIP-style vision tower."""
    for folder in (ROOT / "models").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            shutil.copytree(folder, models / folder.name)
    add_model(models, "clip", clip_tower(), spec=CLIP_SPEC, labels=None)
    yunet = add_model(models, "yunet", clip_tower(), spec='task = "object-detection"\nhead = "yunet"', labels=["face"])
    (yunet / "1" / "model.onnx").write_bytes(YUNET.read_bytes())
    return models


def predictions(service: Service, model: str, query: str = "") -> list[dict[str, Any]]:
    """What /infer answers about the cat."""
    response = plain_http.post(f"{service.base_url}/infer?model={model}{query}", content=CAT, timeout=WAIT_S)
    assert response.status_code == 200, response.text
    return list(response.json()["predictions"])


# Hugging Face


def hugging_face(service: Service, model: str) -> InferenceClient:
    url = f"{service.base_url}/hf/{model}"
    return InferenceClient(provider="hf-inference", model=url, token="hf_none", timeout=WAIT_S)


def classify(service: Service) -> None:
    client = hugging_face(service, "efficientnet-lite0")
    wanted = [(one["label"], one["score"]) for one in predictions(service, "efficientnet-lite0")]
    assert [(one.label, one.score) for one in client.image_classification(CAT)] == wanted
    assert [(one.label, one.score) for one in client.image_classification(CAT, top_k=2)] == wanted[:2]


def detect(service: Service) -> None:
    found = hugging_face(service, "picodet-s-416").object_detection(CAT, threshold=0.3)
    wanted = predictions(service, "picodet-s-416", "&threshold=0.3")
    assert [(one.label, one.score) for one in found] == [(one["label"], one["score"]) for one in wanted]
    assert [vars(one.box) for one in found] == [
        {corner: int(value) for corner, value in one["box"].items()} for one in wanted
    ]


def segment(service: Service) -> None:
    [found] = hugging_face(service, "u2netp").image_segmentation(CAT)
    [wanted] = predictions(service, "u2netp")
    mask = Image.open(BytesIO(base64.b64decode(wanted["mask"])))
    assert np.array_equal(np.asarray(found.mask), np.asarray(mask))


def check_health(service: Service) -> None:
    assert hugging_face(service, "efficientnet-lite0").health_check()
    assert not hugging_face(service, "nope").health_check()


def hf_errors(service: Service) -> None:
    client = hugging_face(service, "efficientnet-lite0")
    with pytest.raises(BadRequestError, match="not a picture"):
        client.image_classification(b"hello")
    with pytest.raises(HfHubHTTPError, match="function_to_apply is not a parameter"):
        client.image_classification(CAT, function_to_apply="softmax")
    with pytest.raises(HfHubHTTPError, match="no model 'nope'"):
        hugging_face(service, "nope").image_classification(CAT)


# OpenAI


def open_ai(service: Service) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="none", max_retries=0, timeout=WAIT_S)


def embed(service: Service, **more: Any) -> list[list[float]]:  # noqa: ANN401 - of the client's own types
    with open_ai(service) as client:
        answer = client.embeddings.create(**{"model": "clip", "input": CAT_URI, **more})
    assert answer.usage.total_tokens == 0
    return [item.embedding for item in answer.data]


def embed_one(service: Service) -> None:
    """The client asks for base64, and returns numbers."""
    [wanted] = predictions(service, "clip")
    assert np.array_equal(np.array(embed(service), np.float32), np.array([wanted["embedding"]], np.float32))
    assert embed(service, encoding_format="float") == [wanted["embedding"]]
    assert np.linalg.norm(wanted["embedding"]) == pytest.approx(1, abs=1e-6)


def embed_list(service: Service) -> None:
    first, second = embed(service, input=[CAT_URI, CAT_URI])
    assert np.allclose(first, second, atol=1e-6)


def list_models(service: Service) -> None:
    with open_ai(service) as client:
        assert "clip" in [model.id for model in client.models.list()]
        assert client.models.retrieve("clip").owned_by == "fovea"


def openai_errors(service: Service) -> None:
    for changed, kind, message in (
        ({"input": "a text"}, openai.BadRequestError, "not text"),
        ({"input": "https://example.com/cat.jpg"}, openai.BadRequestError, "is a URL"),
        ({"dimensions": 2}, openai.BadRequestError, "dimensions must be 16"),
        ({"model": "nope"}, openai.NotFoundError, "no model 'nope'"),
    ):
        with pytest.raises(kind, match=message):
            embed(service, **changed)


# DeepStack


def deepstack(kind: type[Any], service: Service, **more: Any) -> Any:  # noqa: ANN401 - the client has no types
    host, _, port = service.base_url.removeprefix("http://").partition(":")
    return kind(ip=host, port=int(port), timeout=WAIT_S, **more)


def boxes(service: Service, threshold: float) -> list[dict[str, Any]]:
    """What /infer answers, as DeepStack has it."""
    return [
        {"label": one["label"], "confidence": one["score"]}
        | {f"{corner[0]}_{corner[1:]}": int(value) for corner, value in one["box"].items()}
        for one in predictions(service, "picodet-s-416", f"&threshold={threshold}")
    ]


def detect_objects(service: Service) -> None:
    wanted = boxes(service, 0.3)
    assert deepstack(DeepstackObject, service, min_confidence=0.3).detect(CAT) == wanted
    custom = deepstack(DeepstackObject, service, min_confidence=0.3, custom_model="picodet-s-416")
    assert custom.detect(CAT) == wanted


def detect_faces(service: Service) -> None:
    found = deepstack(DeepstackFace, service).detect((PHOTOS / FILES[0]).read_bytes())
    assert {"confidence", "x_min", "y_min", "x_max", "y_max"} <= found[0].keys()


def deepstack_errors(service: Service) -> None:
    with pytest.raises(DeepstackException, match="status code: 400"):
        deepstack(DeepstackObject, service).detect(b"hello")


def frigate(service: Service) -> None:
    """The request and the reading of the answer of Frigate's deepstack detector."""
    frame = BytesIO()
    Image.open(BytesIO(CAT)).resize((320, 320)).save(frame, "JPEG")
    url = f"{service.base_url}/v1/vision/detection"
    answer = requests.post(url, data={"api_key": ""}, files={"image": frame.getvalue()}, timeout=WAIT_S).json()
    assert answer.get("predictions") is not None
    detections = np.zeros((20, 6), np.float32)
    for n, one in enumerate(answer["predictions"][:20]):
        if one["confidence"] < 0.4:  # they are sorted
            break
        places = (one["y_min"], one["x_min"], one["y_max"], one["x_max"])
        detections[n] = [15, one["confidence"], *(place / 320 for place in places)]
    assert detections[0, 1] > 0.9
    assert detections.max(axis=0)[2:].max() <= 1


HF, OPENAI, DEEPSTACK, FRIGATE = "huggingface_hub", "openai", "deepstack-python", "Frigate"
CALLS: dict[tuple[str, str], Callable[[Service], None]] = {
    (HF, "`image_classification`, with and without `top_k`"): classify,
    (HF, "`object_detection`, with `threshold`"): detect,
    (HF, "`image_segmentation`"): segment,
    (HF, "`health_check`"): check_health,
    (HF, "errors: picture, parameter, model"): hf_errors,
    (OPENAI, "`embeddings.create`, one picture, both encodings"): embed_one,
    (OPENAI, "`embeddings.create`, a list"): embed_list,
    (OPENAI, "`models.list`, `models.retrieve`"): list_models,
    (OPENAI, "errors: text, URL, dimensions, model"): openai_errors,
    (DEEPSTACK, "`DeepstackObject.detect`, also with `custom_model`"): detect_objects,
    (DEEPSTACK, "`DeepstackFace.detect`"): detect_faces,
    (DEEPSTACK, "errors: picture"): deepstack_errors,
    (FRIGATE, "the request of its deepstack detector"): frigate,
}


@pytest.mark.parametrize(("client", "call"), CALLS)
def test_client_works_unmodified(
    service: Service, client: str, call: str, record_property: Callable[[str, object], None]
) -> None:
    CALLS[client, call](service)
    assert not service.bugs()
    shown = "Frigate, rewritten" if client == FRIGATE else f"{client} {version(client)}"
    record_property(ROW, [shown, "result", call, "works"])


def test_search_of_the_page_finds_the_photo(service: Service, tmp_path: Path) -> None:
    """100 crops of ten photos: the nearest neighbours of another crop are from its own photo."""
    (tmp_path / "photos").mkdir()
    originals = ROOT / "tests" / "data" / "photos"
    for file in sorted(originals.glob("*_world_*.webp")) + sorted(originals.glob("*_monuments_*.webp"))[:4]:
        photo = Image.open(file).convert("RGB")
        for n in range(11):
            edge = n / 100
            left, top = int(photo.width * edge), int(photo.height * edge)
            crop = photo.crop((left, top, photo.width - left, photo.height - top))
            query = n == 5 and "panda" in file.name
            crop.save(tmp_path / ("query.jpg" if query else f"photos/{file.stem}-{n}.jpg"))
    [code] = [block.text for block in blocks(ROOT / "docs" / "embeddings.md") if block.language == "python"]
    code = code.replace("http://127.0.0.1:8000", service.base_url)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1].rpartition("-")[0] for line in done.stdout.splitlines()] == ["gcompris_world_panda"] * 5
