"""Machines without network, memory, file descriptors, a steady clock, or a reader of the log."""

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests import plain_http
from tests.e2e.services import (
    RED,
    WAIT_S,
    answers,
    cpu_share,
    eventually,
    free_port,
    label,
    make_models,
    needs_root,
    own_models,
    service_under,
)
from tests.paths import ROOT

MIB = 1 << 20


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return make_models(tmp_path / "models")


def large_png() -> bytes:
    """98 megapixels, within the limits; decoding takes 280 MiB, and as much again for a copy."""
    buffer = io.BytesIO()
    Image.new("RGB", (9900, 9900), "red").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def test_a_picture_too_large_for_memory_is_503_and_the_next_is_answered(models: Path) -> None:
    limit = ("prlimit", f"--as={1300 * MIB}")
    with service_under(*limit, models=models, API_WORKERS="1") as service:
        response = plain_http.post(f"{service.base_url}/infer", content=large_png(), timeout=60)
        assert (response.status_code, response.json()["code"]) == (503, "out_of_memory"), response.text
        assert response.headers["retry-after"]
        assert label(service) == "red"


@contextmanager
def memory_group(megabytes: int) -> Iterator[Path]:
    """A cgroup (version 1) that limits the memory of its processes together."""
    root = Path("/sys/fs/cgroup/memory")
    if not os.access(root, os.W_OK) or not (root / "memory.limit_in_bytes").exists():
        pytest.skip("no memory cgroup of version 1 that this process may divide")
    group = root / f"fovea-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(megabytes * MIB))
        yield group
    finally:
        eventually(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@needs_root
def test_a_worker_that_the_kernel_kills_for_its_memory_is_replaced(models: Path) -> None:
    """As in a container with a limit: the kernel kills the largest process, and its requests in flight are lost."""
    with memory_group(600) as group:
        into = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
        with service_under(*into, models=models, API_WORKERS="2") as service:
            eventually(lambda: len(service.workers()) == 2)
            before = set(service.workers())
            with pytest.raises(httpx.TransportError):
                plain_http.post(f"{service.base_url}/infer", content=large_png(), timeout=60)
            eventually(lambda: len(service.workers()) == 2 and set(service.workers()) != before)
            assert [label(service) for _ in range(6)] == ["red"] * 6


@needs_root
def test_it_starts_and_answers_without_any_network(models: Path) -> None:
    """Only the loopback interface exists."""
    alone = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    with service_under(*alone, models=models, wait=False) as service:
        ask = ["nsenter", "-t", str(service.pid), "-n", "curl", "-sf", "--data-binary", "@-"]

        def answer() -> str:
            command = [*ask, f"{service.base_url}/infer"]
            return subprocess.run(command, input=RED, capture_output=True, check=False).stdout.decode()

        eventually(lambda: '"label":"red"' in answer())
        page = subprocess.run([*ask[:-2], f"{service.base_url}/docs"], capture_output=True, check=True)
        assert b"swagger" in page.stdout.lower()


def test_idle_connections_that_take_every_descriptor_cost_no_cpu_and_the_service_recovers(
    models: Path,
) -> None:
    with service_under("prlimit", "--nofile=96", models=models) as service:
        idle = [socket.create_connection(("127.0.0.1", service.port), timeout=WAIT_S) for _ in range(400)]
        eventually(lambda: cpu_share(service.pid) < 0.5)  # it does not spin
        for connection in idle:
            connection.close()
        eventually(lambda: answers(service))
        assert [label(service) for _ in range(20)] == ["red"] * 20


@pytest.mark.parametrize("log", ["closed", "full", "stalled"])
def test_a_log_that_cannot_be_written_costs_its_lines_and_nothing_else(models: Path, log: str) -> None:
    port, read, write = free_port(), None, None
    if log == "full":
        write = os.open("/dev/full", os.O_WRONLY)
    else:
        read, write = os.pipe()
        if log == "closed":
            os.close(read)
    environment = {**os.environ, **own_models(models), "API_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "main.py"], cwd=ROOT, env=environment, stdout=write, stderr=write)
    os.close(write)
    try:
        with plain_http.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S) as client:
            eventually(lambda: client.get("/health/ready").status_code == 200)
            headers = {"X-Request-ID": "x" * 128}  # about 400 bytes a line: more in all than a pipe holds
            for _ in range(500 if log == "stalled" else 20):
                assert client.get("/models", headers=headers).status_code == 200
            assert client.post("/infer", content=RED).status_code == 200
    finally:
        process.terminate()
        assert process.wait(WAIT_S) in (0, -signal.SIGTERM)
        if log == "stalled":
            assert read is not None
            os.close(read)


@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs Debian's faketime")
def test_a_clock_that_jumps_breaks_no_deadline_and_no_model(tmp_path: Path, models: Path) -> None:
    """A day ahead, a day back and ten years ahead, while it serves. Deadlines use the monotonic clock."""
    [library] = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    offset = tmp_path / "offset"
    offset.write_text("+0")
    clock: dict[str, Any] = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "API_REQUEST_TIMEOUT_MS": "60000",
        "API_BODY_TIMEOUT_S": "60",
    }
    with service_under(models=models, **clock) as service:
        for jump, name in (("+1d", "a"), ("-1d", "b"), ("+3650d", "c")):
            offset.write_text(jump)
            assert [label(service) for _ in range(10)] == ["red"] * 10
            assert plain_http.get(f"{service.base_url}/health", timeout=WAIT_S).json()["status"] == "ok"
            shutil.copytree(models / "colour", models / name)
            eventually(partial(answers, service, query=f"?model={name}"))
        assert len(set(re.findall(r"\b20\d\d-", service.log_text))) > 1, "no clock has jumped"
