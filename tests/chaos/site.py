"""The service, its models and its disk, and the errors that each fault excuses."""

import asyncio
import random
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import httpx

from tests.load.asks import RIGHT
from tests.load.clients import Outcome
from tests.load.echo import add_echo
from tests.plain_http import NO_CERTIFICATES
from tests.process import Service

KEY = {"X-API-Key": "boss"}
STEADY, VICTIM = "steady", "victim"
VERSIONS = (1, 2)
LOST = frozenset({"lost", "lost with half an answer"})
# Errors of a model that cannot be read or is deleted. A loaded model may keep answering.
NO_MODEL = frozenset({"503 model_unavailable", "404 unknown_model"})
_ALWAYS = frozenset({"503 queue_full"})
_FOLLOWS_S = 60.0


@dataclass
class Window:
    """Until `grace_s` after its end, `results` are excused for requests to `model` (None: to any)."""

    fault: str
    results: frozenset[str]
    model: str | None
    grace_s: float
    start: float = field(default_factory=monotonic)
    end: float = float("inf")

    def excuses(self, done: Outcome) -> bool:
        meets = done.ended >= self.start and done.sent <= self.end + self.grace_s
        return meets and done.result in self.results and self.model in (None, done.ask.model)


class Site:
    """`root/disk` holds the models and the cache. `small_disk`: it is a small file system that can be filled."""

    def __init__(self, service: Service, root: Path, small_disk: bool, chance: random.Random) -> None:
        self.service, self.root, self.small_disk, self.chance = service, root, small_disk, chance
        self.folder = root / "disk"
        self.models = self.folder / "models"
        self.wrong: list[str] = []
        self._windows: list[Window] = []
        self._began = monotonic()

    def verdict(self, done: Outcome) -> str:
        """RIGHT, the excuse, or `wrong: ...`."""
        if done.result == RIGHT or done.result.startswith("wrong"):
            return done.result
        if done.result in _ALWAYS:
            return done.result
        window = next((one for one in reversed(self._windows) if one.excuses(done)), None)
        if window:
            return f"{done.result} of {done.ask.model}, {window.fault}"
        now = ", ".join(one.fault for one in self._windows if one.end > done.sent) or "none"
        return f"wrong: {done.result} at {done.ended - self._began:.2f} s, not excused; faults at that time: {now}"

    @asynccontextmanager
    async def excused(
        self, fault: str, results: frozenset[str] = frozenset(), model: str | None = None, grace_s: float = 0.0
    ) -> AsyncIterator[None]:
        """Excuses `results` while the block lasts."""
        window = Window(fault, results, model, grace_s)
        self._windows.append(window)
        try:
            yield
        finally:
            window.end = monotonic()

    async def admin(self, method: str, path: str, allowed: Sequence[int], **body: object) -> int:
        """An admin request; a status that is not in `allowed` is wrong. Returns 0 for a lost connection."""
        try:
            async with httpx.AsyncClient(
                verify=NO_CERTIFICATES, base_url=self.service.base_url, headers=KEY, timeout=60
            ) as boss:
                answer = await boss.request(method, path, **body)  # type: ignore[arg-type]  # json= or content=
        except httpx.HTTPError as error:
            if 0 not in allowed:
                self.wrong.append(f"{method} {path}: {type(error).__name__}")
            return 0
        if answer.status_code not in allowed:
            self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.status_code

    async def all_workers(self, number: int) -> None:
        """Waits until `number` workers serve; a worker that is not replaced is wrong."""
        end = monotonic() + _FOLLOWS_S
        while len(self.service.workers()) < number or not await asyncio.to_thread(self.service.is_ready):
            if monotonic() > end:
                self.wrong.append(f"{len(self.service.workers())} of {number} workers, {_FOLLOWS_S:g} s later")
                return
            await asyncio.sleep(0.1)

    def any_worker(self) -> int:
        """The process id of a worker."""
        return self.chance.choice(sorted(self.service.workers()))


def make_models(folder: Path) -> None:
    """Two models that answer with a picture's colour, each in two versions."""
    for name in (STEADY, VICTIM):
        add_echo(folder / "models", name, VERSIONS)


def mount_small_disk(folder: Path, mib: int) -> bool:
    """Mounts a file system of `mib` MiB at `folder`. Returns False if that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "fovea-chaos", str(folder)]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def unmount(folder: Path) -> None:
    for _ in range(20):
        if subprocess.run(["umount", str(folder)], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.25)
