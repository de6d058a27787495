"""The Dockerfile, executed step by step without a container engine, makes an image that serves as it should.

Debian bookworm stands in for `python:3.12-slim-bookworm`, so the image has Python 3.11 here (see `image.py`).
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.e2e.deploy.dockerfile import context_files, copy_context, read_steps
from tests.e2e.deploy.image import Builder, Image, StepError, make_base
from tests.e2e.services import WAIT_S, free_port, needs_root
from tests.paths import CAT, ROOT
from tests.raw_http import connected, read_answer
from tests.server import until

DOCKERFILE = ROOT / "Dockerfile"
needs_mmdebstrap = pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="needs mmdebstrap (Debian's package)")


@dataclass(frozen=True)
class Container:
    """A running image."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def logged(self, event: str) -> bool:
        return event in self.log.read_text()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}/health/ready", timeout=WAIT_S).status_code == 200
        return False

    def infer(self) -> dict[str, list[dict[str, object]]]:
        answer = httpx.post(f"http://127.0.0.1:{self.port}/infer", content=CAT.read_bytes(), timeout=WAIT_S)
        assert answer.status_code == 200, answer.text
        found: dict[str, list[dict[str, object]]] = answer.json()
        return found


@contextmanager
def running_container(builder: Builder, image: Image, log: Path, **variables: str) -> Iterator[Container]:
    port = free_port()
    command = builder.command(image, image.command, API_PORT=str(port), API_INTRA_OP_THREADS="1", **variables)
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    container = Container(process, port, log)
    try:
        until(container.is_ready)
        yield container
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    folder = tmp_path_factory.mktemp("build")
    (folder / "context").mkdir()
    (folder / "layers").mkdir()
    copy_context(ROOT, folder / "context")
    return Builder(make_base(ROOT / ".cache" / "deploy"), folder / "context", folder / "layers")


@pytest.fixture(scope="module")
def image(builder: Builder) -> Image:
    return builder.build(DOCKERFILE, {"REVISION": "0123abc"})


@pytest.fixture(scope="module")
def container(builder: Builder, image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with running_container(builder, image, tmp_path_factory.mktemp("run") / "log") as container:
        yield container


@needs_root
@needs_mmdebstrap
def test_the_container_answers_as_an_unprivileged_user_on_a_read_only_root(container: Container) -> None:
    assert container.infer()["predictions"][0]["label"] == "tiger cat"
    status = Path(f"/proc/{container.process.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == fields["Gid"].split() == ["10001"] * 4
    assert (int(fields["CapEff"], 16), int(fields["CapBnd"], 16), fields["NoNewPrivs"]) == (0, 0, "1")
    assert not container.logged('"level":"warning"')
    assert not container.logged('"level":"error"')


@needs_root
@needs_mmdebstrap
def test_the_health_check_tells_whether_the_service_is_alive(
    builder: Builder, image: Image, container: Container
) -> None:
    for port, status in ((container.port, 0), (free_port(), 1)):
        assert (
            subprocess.run(builder.command(image, image.health_check, API_PORT=str(port)), check=False).returncode
            == status
        )


@needs_root
@needs_mmdebstrap
def test_sigterm_ends_the_container_after_its_requests_are_answered(
    builder: Builder, image: Image, tmp_path: Path
) -> None:
    picture = CAT.read_bytes()
    with running_container(builder, image, tmp_path / "log") as container, connected(container.port) as client:
        head = f"POST /infer HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {len(picture)}\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(1024).startswith(b"HTTP/1.1 100 "), "it reads the body"
        container.process.terminate()
        until(lambda: container.logged("shutting down: draining"))
        client.sendall(picture)
        assert read_answer(client).status == 200
        assert container.process.wait(WAIT_S) == 0


@needs_root
@needs_mmdebstrap
def test_the_image_has_a_version_and_no_tools_to_build_with(builder: Builder, image: Image) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in image.labels.items()}
    assert (labels["version"], labels["licenses"]) == (project["version"], project["license"])
    assert (labels["revision"], labels["title"].lower()) == ("0123abc", project["name"])
    assert (image.user, image.stop_signal, image.ports) == ("10001:10001", "SIGTERM", ("8000",))
    for unwanted in ("command -v gcc cc ld make curl", "python -c 'import pip'"):
        done = subprocess.run(
            builder.command(image, ["sh", "-c", unwanted]), capture_output=True, text=True, check=False
        )
        assert done.returncode, done.stdout


@needs_root
@needs_mmdebstrap
def test_the_layers_have_the_sizes_that_the_guide_states(builder: Builder, image: Image) -> None:
    guide = (ROOT / "docs" / "container.md").read_text(encoding="utf-8")
    stated = {path: int(size) for path, size in re.findall(r"^\| `(/\w+)` \|.*\| (\d+) MB \|$", guide, re.MULTILINE)}
    sizes = {step.split()[-1]: size for step, size in builder.megabytes(image).items() if step.startswith("COPY")}
    assert stated == pytest.approx(sizes, rel=0.1, abs=1)


@needs_root
@needs_mmdebstrap
def test_the_openvino_variant_runs_models_by_openvino(builder: Builder, tmp_path: Path) -> None:
    image = builder.build(DOCKERFILE, {"EXTRAS": "openvino"})
    with running_container(builder, image, tmp_path / "log", API_MODEL_LOADER="openvino") as container:
        assert container.infer()["predictions"][0]["label"] == "tiger cat"
        model = httpx.get(f"http://127.0.0.1:{container.port}/models/efficientnet-lite0", timeout=WAIT_S).json()
        assert model["runtime"]["runtime"] == "openvino"


@needs_root
@needs_mmdebstrap
@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("RUN echo reason && exit 3", "reason"),
        ("COPY absent /app/", "absent is not in the context"),
        ("WORKDIR $ABSENT", "ABSENT"),
        ("VOLUME /models", "not supported"),
    ],
)
def test_a_broken_step_is_named(builder: Builder, tmp_path: Path, step: str, reason: str) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM python:3.12\nRUN true\n# a comment\n{step}\nRUN true\n")
    with pytest.raises(StepError, match=rf"(?s)Dockerfile, line 4: {re.escape(step)}\n.*{reason}"):
        builder.build(dockerfile)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_variant_has_wheels_for_the_images_python(machine: str, tmp_path: Path) -> None:
    """Python 3.12 on Debian bookworm (glibc 2.36)."""
    locks = [path for step in read_steps(DOCKERFILE) for path in step.text.split() if path.startswith("requirements")]
    assert "requirements/gpu.txt" in locks
    platform = ["--python-version", "3.12", "--python-platform", f"{machine}-manylinux_2_36", "--only-binary", ":all:"]
    options = ["--dry-run", "--no-config", "--no-deps", "--require-hashes", "--target", str(tmp_path)]
    command = [sys.executable, "-m", "uv", "pip", "install", *options, *platform]
    files = [word for lock in locks for word in ("-r", lock)]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_context_has_no_secrets_history_environments_or_tests(tmp_path: Path) -> None:
    kept = ["api/routes/infer.py", "models/net/1/model.onnx", "requirements.lock", "tools/predict/arguments.py"]
    secrets = [".env", ".git/config", "id_rsa", "models/fovea-state.json"]
    others = [".venv/bin/python", "api/__pycache__/a.pyc", "models/.cache/graph", "requirements/dev.txt", "tests/a.py"]
    for path in [*kept, *secrets, *others, "tools/tune.py"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    assert sorted(context_files(tmp_path)) == sorted(kept)


def test_the_context_has_only_what_is_copied() -> None:
    steps = [step for step in read_steps(DOCKERFILE) if step.name == "COPY" and "from" not in step.flags]
    copied = tuple(path for step in steps for path in step.text.split()[:-1])
    assert [path for path in context_files(ROOT) if not path.startswith(copied)] == []


def test_the_code_imports_no_package_that_is_not_copied() -> None:
    absent = {"models", "tests", "benchmarks", "deploy"}
    for package in ("api", "engine", "loaders", "tools/predict", "utils"):
        for file in (ROOT / package).rglob("*.py"):
            found = re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert not set(found) & absent, file
