"""A model is tried in a process of its own before it is loaded here: a graph that crashes the runtime, takes all memory
or never ends then harms nobody.

    python -m engine.models.check < request.json     the process that tries; its last line is the verdict

A verdict "good" is kept by the digest of all files that decide an answer and by the runtime, so that a restart does
not try again.
"""

import logging
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from engine.models.digest import model_digest
from loaders.model_errors import ModelCheckError, ModelError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelVersion
from loaders.runtimes.base import SessionOptions

_MIB = 1024 * 1024
_PROJECT = Path(__file__).resolve().parents[2]
_SETTINGS_PREFIX = "API_"  # keys are among them

_log = logging.getLogger("fovea.models")


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """Called with a version, it remembers; `examine` does not.

    `runtime` names what loads it, with its version. `memory_mb` bounds the address space of the trying process."""

    model_loader: str
    runtime: str
    providers: tuple[str, ...]
    cache: Path
    timeout_s: float = 60.0
    memory_mb: int = 8192
    _running: set["subprocess.Popen[bytes]"] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def _on_cores_alone(self) -> bool:
        return create_model_loader(self.model_loader).on_cores_alone(self.providers)

    def close(self) -> None:
        """Ends what is being tried: nobody waits for it any more."""
        for process in tuple(self._running):
            process.kill()

    def __call__(self, version: ModelVersion) -> None:
        """Raises ModelCheckError with what is wrong, in one sentence."""
        context = (self.runtime, self.providers, self._on_cores_alone)
        known_good = self.cache / "checked" / model_digest(version, *context)
        if known_good.exists():
            return
        self.examine(version)
        _remember(known_good)

    def examine(self, version: ModelVersion) -> None:
        """Loads and runs it once elsewhere. Raises ModelCheckError."""
        request = {
            "graph": str(version.graph),
            "folders": [str(folder) for folder in version.folders],
            "name": version.name,
            "number": version.number,
            "model_loader": self.model_loader,
            "providers": self.providers,
            "timeout_s": self.timeout_s,
            "memory_mb": self.memory_mb if self._on_cores_alone else None,
            "cache": str(self.cache),
        }
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
            output, errors = process.communicate(orjson.dumps(request), self.timeout_s)
        except subprocess.TimeoutExpired:
            raise ModelCheckError(f"loading and one run took longer than {self.timeout_s:g} s") from None
        finally:
            self._running.discard(process)
            process.kill()
            process.communicate()
        _judge(process.returncode, output, errors)


def _judge(status: int, output: bytes, errors: bytes) -> None:
    last = output.splitlines()[-1] if output else b""
    if status == 0 and last == b"good":
        return
    if status == 1 and last:
        raise ModelCheckError(last.decode("utf-8", "replace"))
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    _log.warning("the process that tried a model ended %s: %s", how, errors[-2000:].decode("utf-8", "replace"))
    raise ModelCheckError(f"the runtime crashed on it ({how}); it was tried in a process of its own")


def _remember(known_good: Path) -> None:
    """Without a place to remember, the next start tries again: slower, not worse."""
    try:
        known_good.parent.mkdir(parents=True, exist_ok=True)
        known_good.touch()
    except OSError as error:
        _log.warning("the check cannot be remembered: %s", error.strerror)


def _try_here(request: dict[str, Any]) -> str | None:
    """What is wrong, or None. Runs in the trying process."""
    from engine.models.load import load_model

    version = ModelVersion(
        request["name"], request["number"], Path(request["graph"]), tuple(Path(f) for f in request["folders"])
    )
    options = SessionOptions(tuple(request["providers"]), threads=1, cache=Path(request["cache"]))
    try:
        load_model(version, create_model_loader(request["model_loader"]), options)
    except ModelError as error:
        return str(error)
    except MemoryError:
        return f"it needs more than {request['memory_mb']} MB of memory"
    return None


def _limit(memory_mb: int | None, cpu_s: int) -> None:
    """Without `memory_mb` for accelerators, which reserve address space beyond measure.

    Also ends this process when the one that waits for it has been killed: processor time is bounded.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {resource.RLIMIT_CPU: cpu_s, resource.RLIMIT_CORE: 0}
    if memory_mb is not None:
        wanted[resource.RLIMIT_AS] = memory_mb * _MIB
    for limit, want in wanted.items():
        _, given = resource.getrlimit(limit)  # what the service itself was given cannot be exceeded
        most = want if given == resource.RLIM_INFINITY else min(want, given)
        resource.setrlimit(limit, (most, most))


def _main() -> int:
    request = orjson.loads(sys.stdin.buffer.read())
    _limit(request["memory_mb"], int(request["timeout_s"]) + 1)
    problem = _try_here(request)
    sys.stdout.write(f"{problem or 'good'}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(_main())
