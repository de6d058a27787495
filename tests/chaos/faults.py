"""The faults: each is a function that causes one, declares what it excuses, and undoes it."""

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.chaos.clock import set_clock
from tests.chaos.site import LOST, NO_MODEL, STEADY, VERSIONS, VICTIM, Site
from tests.tiny_models import colour_graph

# A scan of the folder, a file's time to settle, and a load; then the model must serve again.
_BACK_S = 4.0
_FILL_BLOCK = 1 << 16
_IDLE = 1000  # connections
_STATE = "fovea-state.json"
_SHIFTS_S = (3600, -86_400, 40 * 86_400, 0)
# Statuses of admin requests while a disk or a file is broken.
_BROKEN = (200, 409, 503)


async def swap(site: Site, seconds: float) -> None:
    """The active version changes all the time."""
    end, version = monotonic() + seconds, site.chance.choice(VERSIONS)
    async with site.excused("swap"):
        while monotonic() < end:
            version = 3 - version
            # a killed worker loses the connection
            await site.admin("PUT", f"/models/{STEADY}/active", (200, 0), json={"version": version})
            await asyncio.sleep(0.1)


async def truncate(site: Site, seconds: float) -> None:
    """A graph is truncated in place, as by an interrupted copy."""
    await _spoil(site, seconds, "truncate", lambda graph: os.truncate(graph, graph.stat().st_size // 2))


async def garble(site: Site, seconds: float) -> None:
    """A graph is replaced by random bytes."""
    await _spoil(site, seconds, "garble", lambda graph: _replace(graph, os.urandom(2000)))


async def pipe(site: Site, seconds: float) -> None:
    """A graph becomes a named pipe, which blocks a reader."""

    def spoil(graph: Path) -> None:
        graph.unlink()
        os.mkfifo(graph)

    await _spoil(site, seconds, "pipe", spoil)


async def delete(site: Site, seconds: float) -> None:
    """A model is deleted, and comes back."""
    away = site.folder / "deleted"
    async with site.excused("delete", NO_MODEL, VICTIM):
        (site.models / VICTIM).rename(away)
        await asyncio.sleep(seconds)
        away.rename(site.models / VICTIM)
        await asyncio.sleep(_BACK_S)


async def folder(site: Site, seconds: float) -> None:
    """The models folder is moved away, as when a volume is unmounted; loaded models keep serving."""
    away = site.folder / "away"
    # A worker that starts meanwhile cannot load its model, and tries again after 5 s.
    async with site.excused("folder", frozenset({"503 model_unavailable"}), grace_s=7.0):
        site.models.rename(away)
        await asyncio.sleep(seconds)
        away.rename(site.models)


async def state(site: Site, seconds: float) -> None:
    """The state file is half written, then garbage, then names an unknown version, then missing."""
    file = site.models / _STATE
    async with site.excused("state"):
        for content in (b'{"default": "ste', b"\0" * 100, b'{"active": {"steady": 99}}'):
            file.write_bytes(content)
            await asyncio.sleep(seconds / 3)
        file.unlink(missing_ok=True)


async def full(site: Site, seconds: float) -> None:
    """The disk of the models and the cache is full."""
    filler = site.folder / "filler"
    async with site.excused("full"):
        await asyncio.to_thread(_fill, filler)
        end = monotonic() + seconds
        while monotonic() < end:
            await site.admin("PUT", f"/models/{STEADY}/active", (*_BROKEN, 0), json={"version": 1})
            graph = bytes(colour_graph().SerializeToString()) + bytes(1 << 20)
            await site.admin("POST", "/models/new/versions", (409, 422, 503, 507, 0), content=graph)
            await asyncio.sleep(0.3)
        filler.unlink()
        await site.admin("PUT", f"/models/{STEADY}/active", (200, 0), json={"version": 2})


async def kill(site: Site, seconds: float) -> None:
    """A worker dies; the process manager replaces it."""
    number = len(site.service.workers())
    async with site.excused("kill", LOST, grace_s=1.0):
        _signal(site.any_worker(), signal.SIGKILL)
        await asyncio.sleep(0.5)
    await asyncio.sleep(seconds)
    await site.all_workers(number)


async def stop(site: Site, seconds: float) -> None:
    """A worker is suspended; its requests wait."""
    worker = site.any_worker()
    async with site.excused("stop"):
        _signal(worker, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        _signal(worker, signal.SIGCONT)


async def hostile(site: Site, seconds: float) -> None:
    """Garbage, headers byte by byte, missing bodies, resets."""
    end = monotonic() + seconds
    async with site.excused("hostile"):
        await asyncio.gather(*[_attack(site, i % 4, end) for i in range(40)])


async def descriptors(site: Site, seconds: float) -> None:
    """More idle connections than the service may have open files. It closes new ones; open ones are answered."""
    opened: list[asyncio.StreamWriter] = []
    async with site.excused("descriptors", LOST, grace_s=1.0):
        for _ in range(_IDLE):
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(0.2):
                    opened.append((await asyncio.open_connection("127.0.0.1", site.service.port))[1])
        await asyncio.sleep(seconds)
        for writer in opened:
            writer.transport.abort()


async def clock(site: Site, seconds: float) -> None:
    """The time of day jumps an hour ahead, a day back, forty days ahead, and back to normal."""
    async with site.excused("clock"):
        for shift_s in _SHIFTS_S:
            set_clock(site.root, shift_s)
            await asyncio.sleep(seconds / len(_SHIFTS_S))


@dataclass(frozen=True, slots=True)
class Fault:
    """`track`: faults of one track follow each other; those of different tracks overlap at random."""

    name: str
    make: Callable[[Site, float], Awaitable[None]]
    track: str


FAULTS = tuple(
    Fault(make.__name__, make, track)
    for track, makes in {
        "files": (swap, truncate, garble, pipe, delete, folder, state, full),
        "processes": (kill, stop, hostile, descriptors, clock),
    }.items()
    for make in makes
)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


async def _spoil(site: Site, seconds: float, name: str, spoil: Callable[[Path], None]) -> None:
    """Spoils the graph of the active version of the victim."""
    graph = site.models / VICTIM / str(max(VERSIONS)) / "model.onnx"
    kept = graph.read_bytes()
    async with site.excused(name, NO_MODEL, VICTIM):
        spoil(graph)
        await asyncio.sleep(seconds)
        graph.unlink()
        _replace(graph, kept)
        await asyncio.sleep(_BACK_S)


def _replace(file: Path, data: bytes) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_bytes(data)
    new.replace(file)


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as opened:
        for size in (_FILL_BLOCK, 4096, 1):
            with suppress(OSError):
                while opened.write(bytes(size)):
                    if shutil.disk_usage(file.parent).total > 1 << 30:
                        raise RuntimeError("the disk is not small")


async def _attack(site: Site, way: int, end: float) -> None:
    while monotonic() < end:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(end - monotonic() + 0.1):
                _, writer = await asyncio.open_connection("127.0.0.1", site.service.port)
                try:
                    await _misbehave(writer, way, site)
                finally:
                    writer.transport.abort()
        await asyncio.sleep(0.05)


async def _misbehave(writer: asyncio.StreamWriter, way: int, site: Site) -> None:
    match way:
        case 0:
            writer.write(site.chance.randbytes(2000))
            await asyncio.sleep(0.1)
        case 1:
            for byte in b"POST /infer HTTP/1.1\r\nX-Slow: " + b"x" * 100:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.2)
        case 2:
            writer.write(b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
            await asyncio.sleep(5)
        case _:
            writer.write(b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))
            await asyncio.sleep(0.02)
