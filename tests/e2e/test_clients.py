"""Clients that people use: each reads the 413 to a 200 MB upload, which the service rejects before it has all of it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.services import SERVERS, WAIT_S, label, own_models
from tests.pictures_by_colour import colour_picture
from tests.process import Service, running
from tests.tiny_models import add_model, colour_graph

UPLOAD_BYTES = 200_000_000
MOST_GROWTH_MB = 100

CURL = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "{url}"]
HTTPX = "import httpx, sys; url, file = sys.argv[1:]; print(httpx.post(url, timeout=60, {body}).status_code)"
REQUESTS = "import requests, sys; url, file = sys.argv[1:]; print(requests.post(url, timeout=60, {body}).status_code)"
AIOHTTP = """
import asyncio, aiohttp, sys

async def main(url, file):
    async with aiohttp.ClientSession() as session, session.post(url, data={body}) as answer:
        print(answer.status)

asyncio.run(main(*sys.argv[1:]))
"""
NODE = """
const [url, file] = process.argv.slice(1);
const blob = await (await import("node:fs")).openAsBlob(file);
const form = new FormData();
form.append("image", blob, "large.bin");
console.log((await fetch(url, {method: "POST", body: {body}})).status);
"""


def python(program: str, body: str) -> list[str]:
    return [sys.executable, "-c", program.replace("{body}", body), "{url}", "{file}"]


def node(body: str) -> list[str]:
    return ["node", "--input-type=module", "-e", NODE.replace("{body}", body), "{url}", "{file}"]


CLIENTS = {
    "curl": [*CURL, "--data-binary", "@{file}"],
    "curl, form": [*CURL, "-F", "image=@{file}"],
    "curl, no Expect": [*CURL, "-H", "Expect:", "-F", "image=@{file}"],
    "curl, chunked": [*CURL, "-H", "Expect:", "-H", "Transfer-Encoding: chunked", "-F", "image=@{file}"],
    "curl, upload": [*CURL, "-X", "POST", "--http2", "-T", "{file}"],
    "httpx": python(HTTPX, "content=open(file, 'rb')"),
    "httpx, form": python(HTTPX, "files={'image': open(file, 'rb')}"),
    "requests": python(REQUESTS, "data=open(file, 'rb')"),
    "requests, form": python(REQUESTS, "files={'image': open(file, 'rb')}"),
    "aiohttp": python(AIOHTTP, "open(file, 'rb')"),
    "aiohttp, form": python(AIOHTTP, "{'image': open(file, 'rb')}"),
    "node": node("blob"),
    "node, form": node("form"),
}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("upload") / "large.bin"
    with file.open("wb") as made:
        made.truncate(UPLOAD_BYTES)
    return file


@pytest.fixture(scope="module", params=["main", "uvicorn"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    models = tmp_path_factory.mktemp("models")
    add_model(models, "colour", colour_graph())
    settings = own_models(models)
    with running(settings, SERVERS[request.param].with_port()) as started:
        yield started


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_reads_the_413_to_its_large_upload(service: Service, large: Path, client: str) -> None:
    before = service.rss_mb()
    url = f"{service.base_url}/infer"
    command = [word.replace("{url}", url).replace("{file}", str(large)) for word in CLIENTS[client]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "413"), done.stderr[-2000:]
    assert label(service) == "red"
    assert service.rss_mb() < before + MOST_GROWTH_MB
    assert not service.bugs()


def test_curl_that_offers_http_2_is_answered_by_1_1(tmp_path: Path) -> None:
    """Twice on one connection. Under a foreign server with httptools the parser drops the body of such a request."""
    add_model(tmp_path / "models", "colour", colour_graph())
    picture = tmp_path / "red.png"
    picture.write_bytes(colour_picture("red"))
    with running(own_models(tmp_path / "models")) as service:
        ask = ["-s", "--http2", "-F", f"image=@{picture}", f"{service.base_url}/infer"]
        done = subprocess.run(["curl", *ask, "--next", *ask], capture_output=True, text=True, check=False)
    assert done.stdout.count('"label":"red","class_id":0') == 2
