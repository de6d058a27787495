"""What works and what does not, part by part, as the health routes tell it."""

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from time import monotonic


class PartStatus(StrEnum):
    OK = "ok"
    STARTING = "starting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Part:
    """One part's state; `reason` says why it is not ok, `since` when it came into this state (UTC, None
    where nothing has happened yet)."""

    status: PartStatus
    reason: str | None = None
    since: datetime | None = field(default_factory=lambda: datetime.now(UTC))

    @property
    def is_ok(self) -> bool:
        return self.status is PartStatus.OK


STARTING = "is starting"


class Health:
    """Keeps the parts that are set once, asks the ones that change."""

    def __init__(self) -> None:
        self._started = monotonic()
        self._parts: dict[str, Callable[[], Part]] = {}
        self._ending = False

    def watch(self, name: str, ask: Callable[[], Part]) -> None:
        """Adds a part whose state is asked for each time."""
        self._parts[name] = ask

    def set(self, name: str, part: Part) -> None:
        """Adds a part whose state stays as it is."""
        self._parts[name] = lambda: part

    def parts(self) -> dict[str, Part]:
        return {name: ask() for name, ask in self._parts.items()}

    def drain(self) -> None:
        """From now on it is not ready, though it answers: it ends soon."""
        self._ending = True

    def not_ready_reason(self) -> str | None:
        """None when it can infer and goes on to. A service without any part is not ready either."""
        if self._ending:
            return "it is about to end"
        bad = [f"{name} {part.status}: {part.reason}" for name, part in self.parts().items() if not part.is_ok]
        return "; ".join(bad) or (None if self._parts else "nothing has been started")

    @property
    def uptime_s(self) -> float:
        return monotonic() - self._started


def versions() -> dict[str, str]:
    """Of the interpreter and of the libraries that decide an answer."""
    import onnxruntime  # its package has another name where it is built for an accelerator

    libraries = ("opencv-python-headless", "pillow", "numpy", "fastapi")
    return {
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        **{name: version(name) for name in libraries},
    }
