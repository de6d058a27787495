"""One picture has the same answer through every dialect, bit for bit."""

from typing import Any

import httpx
import numpy as np

from tests.pictures_by_colour import colour_picture

RED = colour_picture("red")
CORNERS = ("xmin", "ymin", "xmax", "ymax")
Row = tuple[str, float, tuple[float, ...]]


def by_infer(client: httpx.Client, model: str) -> list[dict[str, Any]]:
    return list(client.post(f"/infer?model={model}", content=RED).json()["predictions"])


def by_v2(client: httpx.Client, model: str) -> list[Row]:
    headers = {"Inference-Header-Content-Length": "0", "Accept": "application/json"}
    answer = client.post(f"/v2/models/{model}/infer", content=RED, headers=headers).json()
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    boxes = np.reshape(outputs.get("box", np.zeros((len(outputs["label"]), 0))), (len(outputs["label"]), -1))
    return list(zip(outputs["label"], outputs["score"], map(tuple, boxes.tolist()), strict=True))


def by_hugging_face(client: httpx.Client, model: str) -> list[Row]:
    answer = client.post(f"/hf/{model}", content=RED).json()
    return [(one["label"], one["score"], tuple(one.get("box", {}).get(c) for c in CORNERS)) for one in answer]


def by_deepstack(client: httpx.Client, model: str) -> list[Row]:
    answer = client.post(f"/v1/vision/custom/{model}", files={"image": RED}).json()["predictions"]
    return [(one["label"], one["confidence"], tuple(one[f"{c[0]}_{c[1:]}"] for c in CORNERS)) for one in answer]


def test_boxes_are_the_same(client: httpx.Client) -> None:
    """The dialects that have whole pixels drop the fraction; FP32 of the Open Inference Protocol rounds it."""
    wanted = by_infer(client, "boxes")
    exact = [(one["label"], one["score"], tuple(one["box"][c] for c in CORNERS)) for one in wanted]
    whole = [(label, score, tuple(map(int, box))) for label, score, box in exact]
    assert by_hugging_face(client, "boxes") == by_deepstack(client, "boxes") == whole
    for (label, score, box), (label_v2, score_v2, box_v2) in zip(exact, by_v2(client, "boxes"), strict=True):
        assert (label, np.float32(score)) == (label_v2, np.float32(score_v2))
        assert np.array_equal(np.array(box, np.float32), np.array(box_v2, np.float32))


def test_labels_and_scores_are_the_same(client: httpx.Client) -> None:
    wanted = [(one["label"], np.float32(one["score"])) for one in by_infer(client, "colour")]
    for found in (by_v2(client, "colour"), by_hugging_face(client, "colour")):
        assert [(label, np.float32(score)) for label, score, _ in found] == wanted


def test_vectors_are_the_same(client: httpx.Client) -> None:
    [wanted] = by_infer(client, "vector")
    headers = {"Inference-Header-Content-Length": "0", "Accept": "application/json"}
    [output] = client.post("/v2/models/vector/infer", content=RED, headers=headers).json()["outputs"]
    assert np.array_equal(np.array(output["data"], np.float32), np.array(wanted["embedding"], np.float32))
    assert client.post("/hf/vector", content=RED).json() == [wanted["embedding"]]
