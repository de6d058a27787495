"""Builds an image without a container engine: each step of a Dockerfile is executed in a chroot.

A step's changes are the upper folder of an overlay file system, so layers, their sizes and the reuse of equal steps are
those of an engine. mmdebstrap's Debian bookworm with Python 3.11 stands in for `python:3.12-slim-bookworm`.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.e2e.deploy.dockerfile import Step, read_steps

# As in the image that it stands in for, there is apt, and with it the C++ library.
_BASE = (
    "--mode=root",
    "--variant=minbase",
    "--include=ca-certificates,python3,python3-pip",
    "--dpkgopt=force-unsafe-io",
)
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
_BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_MIRROR = "http://deb.debian.org/debian"
_STEP_LIMIT_S = 600
# pip's settings that say where packages are.
_INDEX = re.compile(r"^(?:global|:env:)\.(index-url|trusted-host|proxy|default-timeout)='(.*)'$", re.MULTILINE)
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_DEVICES = "mount -t proc proc root/proc; mount --rbind /dev root/dev; "
_NETWORK = f"for f in /etc/resolv.conf /{_CERTIFICATES}; do if test -e $f; then mount --bind $f root$f; fi; done; "


class StepError(Exception):
    """A step of the Dockerfile failed; the message names it and has the end of its output."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What a step added or changed: a folder below the build's, and the step."""

    folder: str
    step: str


@dataclass(frozen=True, slots=True)
class Image:
    """A stage of the build: its layers, the lowest first, and its configuration."""

    layers: tuple[Layer, ...] = ()
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _BASE_PATH})
    arguments: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    command: tuple[str, ...] = ()
    health_check: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    stop_signal: str = "SIGTERM"


def make_base(cache: Path) -> Path:
    """Returns a root file system with Debian bookworm and `python`, made once per cache folder."""
    root = cache / f"bookworm-{hashlib.sha256(repr(_BASE).encode()).hexdigest()[:8]}"
    if root.exists():
        return root
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = cache / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    command = ["mmdebstrap", *_BASE, "bookworm", str(unfinished), _mirror()]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    (unfinished / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    (unfinished / "etc/resolv.conf").touch()
    return unfinished.rename(root)


def _mirror() -> str:
    """The Debian mirror of this machine, or Debian's own."""
    sites = ["apt-get", "indextargets", "--format", "$(LABEL) $(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    found = subprocess.run(sites, capture_output=True, text=True, check=False).stdout
    mirrors = [line.split()[2] for line in found.splitlines() if line.startswith("Debian bookworm ")]
    return mirrors[0] if mirrors else _MIRROR


class Builder:
    """Executes Dockerfiles with one base and one context. `folder` holds the layers."""

    def __init__(self, base: Path, context: Path, folder: Path) -> None:
        self._base, self._context, self._folder = base, context, folder
        self._index = _index_settings()

    def build(self, dockerfile: Path, arguments: Mapping[str, str] | None = None) -> Image:
        """Returns the last stage. `arguments` are those of `--build-arg`. Raises StepError."""
        given, defaults = arguments or {}, dict[str, str]()
        stages: dict[str, Image] = {}
        name = ""
        for step in read_steps(dockerfile):
            try:
                if step.name == "FROM":
                    source, _, name = expand(step.text, defaults).partition(" AS ")
                    assert source.startswith("python:"), "only Python's image has a stand-in here"
                    stages[name] = Image()
                elif stages:
                    stages[name] = self._apply(step, stages[name], stages, defaults, given)
                else:
                    defaults |= _argument(step.text, given, {})
            except (AssertionError, KeyError, OSError, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
                raise StepError(f"{dockerfile.name}, {step}\n{error}") from error
        return stages[name]

    def command(self, image: Image, command: Sequence[str], **variables: str) -> list[str]:
        """A command line that runs `command` in the image as an engine does with `--read-only --cap-drop ALL`,
        `--security-opt no-new-privileges` and a tmpfs at /tmp and /cache. It keeps its process id.
        """
        user, _, group = image.user.partition(":")
        mounts = f"cd {self._folder}; {self._mount(image.layers, 'root')}{_DEVICES}"
        mounts += f"mount -t tmpfs tmpfs root/tmp; mount -t tmpfs -o uid={user},gid={group} tmpfs root/cache; "
        inside = ["chroot", "root", "setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        inside += ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        inside += [*_env(image.environment | variables, image.workdir), *command]
        return ["unshare", "--mount", "bash", "-ec", f"{mounts}exec {shlex.join(inside)}"]

    def megabytes(self, image: Image) -> dict[str, float]:
        """The sizes of the image's layers by their steps, without the base."""
        return {layer.step: _bytes(self._folder / layer.folder) / 1e6 for layer in image.layers}

    def _apply(
        self,
        step: Step,
        image: Image,
        stages: Mapping[str, Image],
        defaults: Mapping[str, str],
        given: Mapping[str, str],
    ) -> Image:
        known = image.arguments | image.environment
        text = step.text if step.name in {"RUN", "CMD", "HEALTHCHECK"} else expand(step.text, known)
        match step.name:
            case "ARG":
                made = replace(image, arguments=image.arguments | _argument(text, given, defaults))
            case "ENV":
                made = replace(image, environment=image.environment | _pairs(text))
            case "LABEL":
                made = replace(image, labels=image.labels | _pairs(text))
            case "RUN":
                inside = ["chroot", f"--userspec={image.user}", "root", *_env(self._index | known, image.workdir)]
                script = f"{_DEVICES}{_NETWORK}exec {shlex.join([*inside, '/bin/sh', '-c', text])}"
                made = self._layer(step, image, repr(known), script)
            case "COPY":
                origin = stages[step.flags["from"]] if "from" in step.flags else None
                made = self._layer(step, image, repr(origin), self._copy(text.split(), step.flags, origin))
            case "WORKDIR":
                made = replace(self._layer(step, image, "", f"mkdir -p root{text}"), workdir=text)
            case "CMD":
                made = replace(image, command=tuple(json.loads(text)))
            case "HEALTHCHECK":
                made = replace(image, health_check=tuple(json.loads(text.removeprefix("CMD "))))
            case "USER":
                made = replace(image, user=text)
            case "EXPOSE":
                made = replace(image, ports=(*image.ports, text))
            case "STOPSIGNAL":
                made = replace(image, stop_signal=text)
            case _:
                raise ValueError("this instruction is not supported here")
        return made

    def _copy(self, words: list[str], flags: Mapping[str, str], origin: Image | None) -> str:
        """Copies into a folder: files, and what is in folders."""
        *sources, target = words
        owner = re.fullmatch(r"(\d+):(\d+)", flags.get("chown", "0:0"))
        assert owner, "--chown takes two numbers here"
        assert target.startswith("/"), "the target is a path from the root here"
        script = f"mkdir -p root{target}; {self._mount(origin.layers, 'stage') if origin else ''}"
        for source in sources:
            path = (Path("stage") if origin else self._context) / source.lstrip("/")
            assert origin or path.exists(), f"{source} is not in the context"
            script += (
                f"if test -d {path}; then set -- {path} .; else set -- {path.parent} {path.name}; fi; "
                f'tar -C "$1" --owner=+{owner[1]} --group=+{owner[2]} -cf - "$2" | tar -C root{target} -xpf -; '
            )
        return script

    def _layer(self, step: Step, image: Image, inputs: str, script: str) -> Image:
        """Adds the layer that `script` makes. That of an equal step with equal inputs on equal layers is reused."""
        chain = f"{image.layers} {step.name} {step.flags} {step.text} {inputs}"
        layer = Layer(hashlib.sha256(chain.encode()).hexdigest()[:12], f"{step.name} {step.text}")
        if not (self._folder / layer.folder).exists():
            for name in ("upper", "work", "root", "stage"):
                shutil.rmtree(self._folder / name, ignore_errors=True)
                (self._folder / name).mkdir()
            mount = self._mount(image.layers, "root", ",upperdir=upper,workdir=work")
            namespace = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
            done = subprocess.run(
                [*namespace, "bash", "-e", "-o", "pipefail", "-c", mount + script],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=_STEP_LIMIT_S,
            )
            if done.returncode:
                raise RuntimeError(f"ended with status {done.returncode}\n{done.stdout[-2000:]}")
            (self._folder / "upper").rename(self._folder / layer.folder)
        return replace(image, layers=(*image.layers, layer))

    def _mount(self, layers: Sequence[Layer], at: str, options: str = "") -> str:
        lower = ":".join([*(layer.folder for layer in reversed(layers)), str(self._base)])
        return f"mount -t overlay overlay -o lowerdir={lower}{options} {at}; "


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces `$NAME` and `${NAME}`. Raises KeyError for an unknown name."""
    return string.Template(text).substitute(variables)


def _pairs(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(text))


def _argument(text: str, given: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    name, has_default, default = text.partition("=")
    value = "".join(shlex.split(default)) if has_default else defaults.get(name, "")
    return {name: given.get(name, value)}


def _env(variables: Mapping[str, str], workdir: str) -> list[str]:
    return ["env", "-i", f"--chdir={workdir}", *(f"{name}={value}" for name, value in variables.items())]


def _index_settings() -> dict[str, str]:
    """Where this machine's pip finds packages, as variables for RUN."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in _INDEX.findall(listed)}
    proxies = {name: os.environ[name] for name in _PROXIES if name in os.environ}
    return {"PIP_CERT": f"/{_CERTIFICATES}"} | settings | proxies


def _bytes(folder: Path) -> int:
    return sum((Path(at) / name).lstat().st_size for at, _, names in os.walk(folder) for name in names)
