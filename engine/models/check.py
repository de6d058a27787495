"""Checks a model in a separate process before it is loaded, because a graph can crash the runtime, take all memory or
run for ever.

    python -m engine.models.check < request.json     the process; the last line of its output is the result

A passed check is cached by the digest of the version's files and the runtime's version.
"""

import logging
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from engine.models.digest import model_digest
from engine.models.measurement_cache import write_measurement
from loaders.model_errors import CheckTimeoutError, ModelCheckError, ModelError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelVersion
from loaders.runtimes.base import Precision, SessionOptions

_MIB = 1024 * 1024
_PROJECT = Path(__file__).resolve().parents[2]
_KILLED = -9  # by `close`, or by the system for lack of memory
_SETTINGS_PREFIX = "API_"  # the settings contain secret keys

_log = logging.getLogger("fovea.models")


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """A call checks a version and caches the result; `examine` does not use the cache.

    `runtime`: the library and its version. `memory_mb` limits the address space of the separate process. `exact_decode`
    decides how the model's samples are read.
    """

    model_loader: str
    runtime: str
    providers: tuple[str, ...]
    cache: Path
    timeout_s: float = 60.0
    memory_mb: int = 8192
    exact_decode: bool = False
    _running: set["subprocess.Popen[bytes]"] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def on_cores_alone(self) -> bool:
        return create_model_loader(self.model_loader).on_cores_alone(self.providers)

    def close(self) -> None:
        """Kills running checks."""
        for process in tuple(self._running):
            process.kill()

    def __call__(self, version: ModelVersion) -> None:
        """Raises ModelCheckError."""
        context = (self.runtime, self.providers, self.on_cores_alone)
        passed = self.cache / "checked" / model_digest(version, *context)
        if not passed.exists():
            self.examine(version)
            write_measurement(passed, TypeAdapter(bool), True)

    def compare(self, version: ModelVersion, other: dict[str, object]) -> bytes:
        """Compares another runtime with this one in a separate process. Returns a Comparison as JSON.

        `other`: `runtime`, `precision`, `tolerance` and `cores`. Raises ModelCheckError.
        """
        return _result(*self._run(version, other))

    def examine(self, version: ModelVersion) -> None:
        """Loads the version, runs it and answers its samples in a separate process. Raises ModelCheckError.

        After a crash it tries again: the graph that the runtime optimised may be at fault, and is not used again then.
        """
        status, output, errors = self._run(version)
        if status < 0 and status != _KILLED:
            status, output, errors = self._run(version)
        _result(status, output, errors)

    def _run(self, version: ModelVersion, other: dict[str, object] | None = None) -> tuple[int, bytes, bytes]:
        """Returns the exit status, stdout and stderr. Raises ModelCheckError."""
        # orjson leaves out `_running`
        request = orjson.dumps({"check": self, "version": version, "other": other}, default=str)
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.models.check"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=_PROJECT,
            env={key: value for key, value in os.environ.items() if not key.startswith(_SETTINGS_PREFIX)},
        )
        self._running.add(process)
        try:
            output, errors = process.communicate(request, self.timeout_s)
        except subprocess.TimeoutExpired:
            raise CheckTimeoutError(f"loading and one run took longer than {self.timeout_s:g} s") from None
        finally:
            self._running.discard(process)
            process.kill()
            process.communicate()
        return process.returncode, output, errors


def _result(status: int, output: bytes, errors: bytes) -> bytes:
    """Returns the last line of the output: "good", or a JSON object."""
    last = output.splitlines()[-1] if output else b""
    if status == 0 and last.startswith((b"good", b"{")):
        return last
    if status == 1 and last:
        raise ModelCheckError(last.decode("utf-8", "replace"))
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    _log.warning('model check crashed  exit="%s"  stderr="%s"', how, errors[-2000:].decode("utf-8", "replace"))
    raise ModelCheckError(f"the runtime crashed on it ({how}) in a separate process")


def _check_here(check: ModelCheck, version: ModelVersion, other: dict[str, Any] | None) -> str:
    """Runs in the separate process. Returns "good" or a comparison as JSON. Raises ModelError, MemoryError."""
    from engine.models.load import load_model
    from engine.models.runtime_comparison import Trial, Way
    from engine.models.samples import check_samples
    from loaders.image_loader import create_image_loader

    options = SessionOptions(check.providers, threads=1, cache=check.cache)
    loader, image_loader = create_model_loader(check.model_loader), create_image_loader()
    if other:
        reference = Way(check.model_loader, loader, options)
        in_precision = replace(options, precision=Precision(other["precision"]))
        tried = Way(other["runtime"], create_model_loader(other["runtime"]), in_precision)
        trial = Trial(version, image_loader, check.exact_decode, other["tolerance"], other["cores"])
        return orjson.dumps(trial.compare(reference, tried)).decode()
    model = load_model(version, loader, options, exact_decode=check.exact_decode)
    check_samples(model, version, image_loader)
    return "good"


def _limit(memory_mb: int | None, cpu_s: int) -> None:
    """Limits this process's memory and processor time; the latter ends it even if its parent was killed.

    `memory_mb` is None with accelerators, which reserve address space far beyond their use.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {resource.RLIMIT_CPU: cpu_s, resource.RLIMIT_CORE: 0}
    if memory_mb is not None:
        wanted[resource.RLIMIT_AS] = memory_mb * _MIB
    for limit, want in wanted.items():
        _, hard = resource.getrlimit(limit)  # a hard limit cannot be raised
        value = want if hard == resource.RLIM_INFINITY else min(want, hard)
        resource.setrlimit(limit, (value, value))


def _main() -> int:
    request = orjson.loads(sys.stdin.buffer.read())
    given = request["check"]
    check = ModelCheck(**given | {"providers": tuple(given["providers"]), "cache": Path(given["cache"])})
    _limit(check.memory_mb if check.on_cores_alone else None, int(check.timeout_s) + 1)
    try:
        version = TypeAdapter(ModelVersion).validate_python(request["version"])
        status, result = 0, _check_here(check, version, request["other"])
    except ModelError as error:
        status, result = 1, str(error)
    except MemoryError:
        status, result = 1, f"it needs more than {check.memory_mb} MB of memory"
    sys.stdout.write(f"{result}\n")
    return status


if __name__ == "__main__":
    sys.exit(_main())
