"""Random faults under load: `python -m tests.chaos [--seconds N] [--seed N] [--only NAME ...]`.

The same seed makes the same faults. Exit status: 0; 1 if a request got a wrong answer or none; 2 for wrong arguments.
"""

import argparse
import asyncio
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.chaos.clock import movable_clock
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.site import STEADY, VICTIM, Site, make_models, mount_small_disk, unmount
from tests.load.clients import Clients, Tally
from tests.load.echo import coloured_pictures
from tests.load.requests import EchoRequests
from tests.process import MAIN, start

_CLIENTS, _PICTURES = 8, 400
_WORKERS = 2
_DISK_MIB = 64
_DESCRIPTORS = 400
_QUIET_S = 3.0


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault, its start (s from the beginning) and its duration (s)."""

    at: float
    seconds: float
    fault: Fault


def plan(faults: Sequence[Fault], seconds: float, chance: random.Random) -> list[Planned]:
    """In each track one fault follows another, each of them once before any is repeated."""
    tracks: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        tracks[fault.track].append(fault)
    planned = []
    for track in tracks.values():
        at, round_ = 1.0 + chance.random(), list[Fault]()
        while at < seconds:
            round_ = round_ or chance.sample(track, len(track))
            lasts = round(0.5 + 1.5 * chance.random(), 2)
            planned.append(Planned(round(at, 2), lasts, round_.pop()))
            at += lasts + 2.0 + chance.random()
    return sorted(planned, key=lambda one: one.at)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    names = [fault.name for fault in FAULTS]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="fovea-chaos-"))
    small_disk = mount_small_disk(folder / "disk", _DISK_MIB)
    try:
        return asyncio.run(_run(options, folder, small_disk))
    finally:
        if small_disk:
            unmount(folder / "disk")
        shutil.rmtree(folder, ignore_errors=True)


async def _run(options: argparse.Namespace, folder: Path, small_disk: bool) -> int:
    place = folder / "disk"
    make_models(place)
    settings = {
        "API_MODELS_DIR": str(place / "models"),
        "API_CACHE_DIR": str(place / "cache"),
        "API_DEFAULT_MODEL": STEADY,
        "API_LOAD": "all",
        "API_ADMIN_KEYS": "boss",
        "API_WORKERS": str(_WORKERS),
    }
    clock = movable_clock(folder)
    service = start(settings | clock, ("prlimit", f"--nofile={_DESCRIPTORS}", *MAIN))
    try:
        service.wait_until_ready()
        site = Site(service, folder, small_disk, random.Random(options.seed))
        faults = [fault for fault in FAULTS if fault.name in options.only and _possible(fault, site, bool(clock))]
        planned = plan(faults, options.seconds, random.Random(options.seed))
        print(f"seed {options.seed}, {options.seconds:g} s, {_WORKERS} workers, {_CLIENTS} clients")
        for one in planned:
            print(f"  {one.at:7.2f} s  {one.fault.name} for {one.seconds:g} s")
        requests = EchoRequests(site.chance, coloured_pictures(options.seed, _PICTURES), (STEADY, STEADY, VICTIM))
        tally, after = Tally(), Tally()
        async with Clients(service.port, _CLIENTS, requests.next, site.verdict, tally):
            await _cause(planned, site)
        await site.all_workers(_WORKERS)
        await asyncio.sleep(_QUIET_S)
        async with Clients(
            service.port, _CLIENTS, requests.next, Site(service, folder, False, site.chance).verdict, after
        ):
            await asyncio.sleep(_QUIET_S)
        try:
            service.terminate()
        except (AssertionError, subprocess.TimeoutExpired) as error:
            site.wrong.append(f"the end: {error}")
    finally:
        service.kill()
    site.wrong += [f"the log has: {line}" for line in service.bugs()[:10]]
    if site.wrong or tally.wrong or after.wrong:
        kept = Path(tempfile.gettempdir()) / f"fovea-chaos-{options.seed}.log"
        kept.write_text(service.log_text)
        print(f"the service's log: {kept}")
    return _report(tally, after, site.wrong)


async def _cause(planned: Sequence[Planned], site: Site) -> None:
    began = monotonic()

    async def one_track(track: str) -> None:
        for one in planned:
            if one.fault.track == track:
                await asyncio.sleep(max(0.0, one.at - (monotonic() - began)))
                await one.fault.make(site, one.seconds)

    await asyncio.gather(*[one_track(track) for track in {fault.track for fault in FAULTS}])


def _possible(fault: Fault, site: Site, clock: bool) -> bool:
    """Prints why a fault cannot be caused on this machine."""
    why_not = {
        "full": None if site.small_disk else "a small disk cannot be mounted here (root can)",
        "clock": None if clock else "there is no C compiler here",
    }.get(fault.name)
    if why_not:
        print(f"skipped: {fault.name}: {why_not}")
    return not why_not


def _report(tally: Tally, after: Tally, wrong: list[str]) -> int:
    for title, found in (("during the faults", tally), ("afterwards", after)):
        print(f"\n{title}: {found.sent} requests, {found.total} ends")
        for (kind, verdict), number in sorted(found.outcomes.items()):
            print(f"  {kind:12} {verdict:60} {number:7}")
        wrong += found.wrong
        if found.sent != found.total:
            wrong.append(f"{found.sent} requests had {found.total} ends")
        if not found.latencies:
            wrong.append(f"{title}: nothing was answered")
    for line in wrong:
        print(f"WRONG  {line}")
    print("chaos: " + ("FAILED" if wrong else "every request was answered"))
    return 1 if wrong else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the service is ended
    sys.exit(main())
