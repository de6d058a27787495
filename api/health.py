"""The state of each part of the service, as the health routes report it."""

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from time import monotonic


class PartStatus(StrEnum):  # from best to worst
    OK = "ok"
    STARTING = "starting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Part:
    """One part's state. `reason` explains a state other than ok; `since` is the start of the state in UTC, or None."""

    status: PartStatus
    reason: str | None = None
    since: datetime | None = field(default_factory=lambda: datetime.now(UTC))

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}" if self.reason else self.status


class Health:
    """The parts of the service: fixed states, and functions that return a current state."""

    def __init__(self) -> None:
        self._started = monotonic()
        self._parts: dict[str, Callable[[], Part]] = {}
        self.is_draining = False

    def watch(self, name: str, get_part: Callable[[], Part]) -> None:
        """Adds a part whose state `get_part` returns."""
        self._parts[name] = get_part

    def set(self, name: str, part: Part) -> None:
        """Adds a part with a fixed state."""
        self._parts[name] = lambda: part

    def parts(self) -> dict[str, Part]:
        return {name: get_part() for name, get_part in self._parts.items()}

    def drain(self) -> None:
        """The server stops soon: not ready, but requests are served."""
        self.is_draining = True

    def not_ready_reason(self) -> str | None:
        """None if the service can infer and keeps running."""
        if self.is_draining:
            return "the server is shutting down"
        bad = [f"{name} {part}" for name, part in self.parts().items() if part.status is not PartStatus.OK]
        return "; ".join(bad) or (None if self._parts else "the service is starting")

    @property
    def uptime_s(self) -> float:
        return monotonic() - self._started


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide an answer."""
    import onnxruntime  # the name of its package depends on the accelerator

    libraries = ("opencv-python-headless", "pillow", "numpy", "fastapi")
    return {
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        **{name: version(name) for name in libraries},
    }
