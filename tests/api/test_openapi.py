import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server import Server

INFER_STATUSES = {"200", "400", "401", "403", "404", "408", "413", "415", "422", "429", "500", "503", "504"}
INFER_PARAMETERS = {
    "model",
    "version",
    "top_k",
    "threshold",
    "normalize",
    "encoding",
    "predicted_depth",
    "X-Request-Timeout-Ms",
}

EXPLAIN_PARAMETERS = {
    "model",
    "version",
    "method",
    "label",
    "class_id",
    "box",
    "samples",
    "seed",
    "X-Request-Timeout-Ms",
}


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    response: dict[str, Any] = server.client.get("/openapi.json").json()
    return response


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each operation with its path."""
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def test_infer_documents_bodies_parameters_and_errors(document: dict[str, Any]) -> None:
    infer = document["paths"]["/infer"]["post"]
    assert set(infer["requestBody"]["content"]) == {
        "multipart/form-data", "application/json", "application/octet-stream",
    }  # fmt: skip
    assert set(infer["responses"]) == INFER_STATUSES | {"406"}
    assert set(infer["responses"]["200"]["content"]) == {"application/json", "image/jpeg", "image/png", "image/webp"}
    assert {parameter["name"] for parameter in infer["parameters"]} == INFER_PARAMETERS
    for name in ("unsupported_format", "unsupported_content_encoding"):
        assert name in infer["responses"]["415"]["description"]


def test_error_examples_have_the_status_of_their_response(document: dict[str, Any]) -> None:
    for _, operation in operations(document):
        for status, response in operation["responses"].items():
            problem = response.get("content", {}).get("application/problem+json", {})
            examples = problem.get("examples", {}).values()
            assert {str(example["value"]["status"]) for example in examples} <= {status}


def test_infer_batch_documents_its_form_and_both_response_types(document: dict[str, Any]) -> None:
    batch = document["paths"]["/infer/batch"]["post"]
    form = batch["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert form["images"]["items"]["format"] == "binary"
    assert set(batch["responses"]["200"]["content"]) == {"application/json", "application/x-ndjson"}
    assert set(batch["responses"]) == INFER_STATUSES
    assert {parameter["name"] for parameter in batch["parameters"]} == INFER_PARAMETERS | {"stream"}


def test_explain_documents_both_pictures_and_all_response_types(document: dict[str, Any]) -> None:
    explain = document["paths"]["/explain"]["post"]
    assert set(explain["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]) == {
        "image",
        "reference",
    }
    types = {"application/json", "image/png", "image/jpeg", "image/webp"}
    assert set(explain["responses"]["200"]["content"]) == types
    assert set(explain["responses"]) == INFER_STATUSES | {"406"}
    assert {parameter["name"] for parameter in explain["parameters"]} == EXPLAIN_PARAMETERS


@pytest.mark.parametrize("path", ["/infer", "/infer/batch"])
def test_model_is_a_plain_string_with_examples(document: dict[str, Any], path: str) -> None:
    """A client that is generated today can name a model that is added tomorrow."""
    parameters = document["paths"][path]["post"]["parameters"]
    items = next(parameter["schema"]["items"] for parameter in parameters if parameter["name"] == "model")
    assert items["type"] == "string"
    assert items["examples"]
    assert "enum" not in items


def test_infer_documents_both_key_headers(document: dict[str, Any]) -> None:
    used = {name for choice in document["paths"]["/infer"]["post"]["security"] for name in choice}
    assert used == set(document["components"]["securitySchemes"]) == {"bearer", "api_key"}


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    for name in set(re.findall(r"#/components/schemas/(\w+)", str(document))):
        assert name in document["components"]["schemas"]


def test_every_operation_has_a_readable_unique_id(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert {"infer", "infer_batch", "list_models", "get_model", "set_default_model", "set_active_version"} <= set(ids)
    assert not [one for one in ids if not re.fullmatch(r"[a-z]+(_[a-z]+){0,2}", one)]


def test_operations_parameters_and_schemas_have_descriptions(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    for path, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path
        assert set(operation["tags"]) <= tags
        assert all(response["description"] for response in operation["responses"].values()), path
        assert all(parameter["description"] for parameter in operation.get("parameters", [])), path
    assert [name for name, schema in document["components"]["schemas"].items() if not described(schema)] == []


def described(schema: dict[str, Any]) -> bool:
    return "description" in schema or "enum" in schema


def test_path_parameters_are_plain_strings(document: dict[str, Any]) -> None:
    for path, operation in operations(document):
        declared = {p["name"]: p for p in operation.get("parameters", []) if p["in"] == "path"}
        assert set(declared) == set(re.findall(r"\{(\w+)\}", path))
        assert all(parameter["schema"]["type"] == "string" for parameter in declared.values())


def test_document_is_independent_of_the_path_prefix(document: dict[str, Any]) -> None:
    assert [server["url"] for server in document["servers"]] == ["."]


def test_docs_page_has_relative_urls_to_local_files(server: Server) -> None:
    page = server.client.get("/docs")
    assert page.status_code == 200
    urls = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
    assert len(urls) == 4
    for url in urls:
        assert url.startswith("docs/")
        assert server.client.get(page.url.join(url)).status_code == 200
