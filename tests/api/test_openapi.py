import re
from typing import Any

import pytest

from tests.server import Server

INFER_STATUSES = {"200", "400", "401", "403", "404", "408", "413", "415", "422", "429", "500", "503", "504"}


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    answer: dict[str, Any] = server.client.get("/openapi.json").json()
    return answer


def test_infer_documents_bodies_examples_and_every_error(document: dict[str, Any]) -> None:
    infer = document["paths"]["/infer"]["post"]
    assert set(infer["requestBody"]["content"]) == {"multipart/form-data", "application/octet-stream", "image/*"}
    assert set(infer["responses"]) == INFER_STATUSES
    for status, response in infer["responses"].items():
        if status != "200":
            examples = response["content"]["application/problem+json"]["examples"].values()
            assert {str(example["value"]["status"]) for example in examples} == {status}
    names = {parameter["name"] for parameter in infer["parameters"]}
    assert names == {"model", "version", "top_k", "threshold", "normalize", "encoding", "X-Request-Timeout-Ms"}


def test_infer_documents_the_keys(document: dict[str, Any]) -> None:
    used = {name for choice in document["paths"]["/infer"]["post"]["security"] for name in choice}
    assert used == set(document["components"]["securitySchemes"]) == {"bearer", "api_key"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for name in set(re.findall(r"#/components/schemas/(\w+)", str(document))):
        assert name in document["components"]["schemas"]


def test_the_docs_page_asks_nobody_outside(server: Server) -> None:
    page = server.client.get("/docs")
    assert page.status_code == 200
    sources = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
    assert len(sources) >= 2
    for source in sources:
        assert source.startswith("/")
        assert server.client.get(source).status_code == 200


def test_the_root_leads_to_the_docs(server: Server) -> None:
    assert server.client.get("/", follow_redirects=True).url.path == "/docs"


def test_a_batch_documents_its_form_and_both_kinds_of_answer(document: dict[str, Any]) -> None:
    batch = document["paths"]["/infer/batch"]["post"]
    form = batch["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert form["images"]["items"] == {"type": "string", "format": "binary"}
    assert set(batch["responses"]["200"]["content"]) == {"application/json", "application/x-ndjson"}
    assert set(batch["responses"]) == INFER_STATUSES
    offered = {parameter["name"]: parameter["schema"] for parameter in batch["parameters"]}
    assert set(offered) == {
        "model",
        "version",
        "top_k",
        "threshold",
        "normalize",
        "encoding",
        "stream",
        "X-Request-Timeout-Ms",
    }
    assert offered["model"]["items"]["enum"] == ["colour"]
