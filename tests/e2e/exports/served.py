"""A running Fovea's answers about the pictures, from a bare drop."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.exports.case import MOST_OBJECTS, Case
from tests.e2e.exports.pictures import PICTURES_FOLDER
from tests.e2e.exports.predictions import Predictions
from tests.paths import ROOT
from tests.process import running
from tests.server import until

_PYTHON = ROOT / ".venv" / "bin" / "python"
_LOAD_S = 300  # on a busy machine
_SETTINGS = {"API_RATE_LIMIT": "", "API_REQUEST_TIMEOUT_MS": "120000"}


@dataclass(slots=True)
class Served:
    """`rejected`: why the model is not served. `answers`: predictions by picture, or the error's detail."""

    task: str = ""
    warnings: list[str] = field(default_factory=list)
    rejected: str = ""
    answers: dict[str, Predictions | str] = field(default_factory=dict)


def serve(case: Case, models: Path, *, exact: bool = False) -> Served:
    """`exact`: with API_EXACT_DECODE."""
    with _service(case, models, {"API_EXACT_DECODE": str(exact).lower()}) as client:
        until(lambda: _has_started(client), _LOAD_S)
        listed = client.get("/models").json()
        rejections = {entry["name"]: entry["reason"] for entry in listed["not_served"]}
        if case.name in rejections:
            return Served(rejected=rejections[case.name])
        first = client.post(
            "/infer", params={"model": case.name}, content=(PICTURES_FOLDER / case.pictures[0]).read_bytes()
        )
        if first.status_code == 503:
            return Served(rejected=first.json()["detail"])
        report = client.get(f"/models/{case.name}").json()
        answers = {picture: _ask(client, case, picture) for picture in case.pictures}
        return Served(report["spec"]["task"]["value"], report["warnings"], answers=answers)


def _has_started(client: httpx.Client) -> bool:
    """Whether the default model is loaded or has failed."""
    parts = client.get("/health").json().get("parts", {})
    return bool(parts) and all(part["status"] != "starting" for part in parts.values())


@contextmanager
def _service(case: Case, models: Path, further: dict[str, str]) -> Iterator[httpx.Client]:
    settings = {**_SETTINGS, **further, "API_MODELS_DIR": str(models), "API_DEFAULT_MODEL": case.name}
    with (
        running(settings, (str(_PYTHON), "main.py"), wait=False) as service,
        httpx.Client(base_url=service.base_url, timeout=180) as client,
    ):
        yield client


def _ask(client: httpx.Client, case: Case, picture: str) -> Predictions | str:
    params: dict[str, Any] = {"model": case.name, "top_k": MOST_OBJECTS}
    if case.threshold is not None:
        params["threshold"] = case.threshold
    response = client.post("/infer", params=params, content=(PICTURES_FOLDER / picture).read_bytes())
    body: dict[str, Any] = response.json()
    if response.status_code != 200:
        return str(body.get("detail", body))
    predictions: Predictions = body["predictions"]
    return predictions
