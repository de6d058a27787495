"""A long mixed load on a service: `python -m tests.soak [--minutes N] [--workers N] [--seed N]`.

Exit status: 0, or 1 if an answer was wrong or a quantity grew. The samples are written to .proof/soak.json.
"""

import argparse
import asyncio
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from time import monotonic

import httpx

from tests.load.asks import RIGHT, EchoAsks
from tests.load.clients import Clients, Outcome, Tally, rude_client, slow_client
from tests.load.echo import add_echo, coloured_pictures
from tests.paths import ROOT
from tests.plain_http import NO_CERTIFICATES
from tests.process import Service, start
from tests.soak.mixture import DEFAULT, DETECTOR, Mixture
from tests.soak.samples import BOUNDS, Sample, grown, growth, measure, percentile

SAMPLES = ROOT / ".proof" / "soak.json"
_TWIN, _ECHOES = "twin", ("echo", "echo-two")
_CLIENTS, _SLOW, _PICTURES = 6, 3, 600
_SWAP_EVERY_S, _RUDE_EVERY_S = 1.5, 0.2
_SLOW_PIECES, _SLOW_PAUSE_S = 12, 0.25
_MOST_SAMPLES, _LEAST_GAP_S = 300, 0.5
_SETTLE_S = 5.0
_PRINT_EVERY_S = 60.0
_SHOWS_GROWTH_S = 240.0  # in a shorter run the runtime's arenas and the caches still fill
KEY = {"X-API-Key": "boss"}


class Soak:
    """One run. `wrong` collects everything that must not happen."""

    def __init__(self, service: Service, mixture: Mixture, seconds: float, seed: int) -> None:
        self.service, self.mixture, self.seconds = service, mixture, seconds
        self.chance = random.Random(seed)
        self.tally, self.samples = Tally(), list[Sample]()
        self.wrong: list[str] = []
        self.swaps = self.left = self.slow = 0
        self._end = monotonic() + seconds

    async def run(self) -> None:
        """Runs until the time is over and all requests are answered."""
        clients = Clients(self.service.port, _CLIENTS, self.mixture.next, _verdict, self.tally)
        async with clients, asyncio.TaskGroup() as group:
            for work in (self._operate, self._leave, self._watch, *[self._be_slow] * _SLOW):
                group.create_task(self._until_the_end(work))

    async def _until_the_end(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        while monotonic() < self._end:
            await work()

    async def _operate(self) -> None:
        """Changes active versions and the default model."""
        name = self.chance.choice((DEFAULT, *_ECHOES))
        choices = [("PUT", f"/models/{name}/active", {"version": self.chance.choice((1, 2))})] * 3
        path = "/models/default"
        method, path, body = self.chance.choice(
            [*choices, ("PUT", path, {"name": self.chance.choice((DEFAULT, _TWIN))})]
        )
        try:
            async with httpx.AsyncClient(
                verify=NO_CERTIFICATES, base_url=self.service.base_url, headers=KEY, timeout=60
            ) as boss:
                answer = await boss.request(method, path, json=body)
            if answer.status_code != 200:
                self.wrong.append(f"{method} {path} {body}: {answer.status_code} {answer.text[:200]}")
        except httpx.HTTPError as error:
            self.wrong.append(f"{method} {path}: {error!r}")
        self.swaps += 1
        await asyncio.sleep(_SWAP_EVERY_S * self.chance.random() * 2)

    async def _leave(self) -> None:
        await rude_client(self.service.port, self.mixture.next("rude").payload, self.chance)
        self.left += 1
        await asyncio.sleep(_RUDE_EVERY_S * self.chance.random())

    async def _be_slow(self) -> None:
        ask = self.mixture.next("slow")
        while RIGHT not in ask.expected:  # only valid requests are read to their end
            ask = self.mixture.next("slow")
        result = await slow_client(self.service.port, ask, "slow", _SLOW_PIECES, _SLOW_PAUSE_S)
        if result != RIGHT:
            self.wrong.append(f"a slow client, {ask.kind}: {result}")
        self.slow += 1

    async def _watch(self) -> None:
        took = await asyncio.to_thread(measure, self.service.processes())
        latencies, self.tally.latencies = self.tally.latencies, []
        at = self.seconds - (self._end - monotonic())
        p50, p99 = (1000 * percentile(latencies, percent) for percent in (50, 99))
        count = len(self.service.processes())
        sample = Sample(at, count, took[0], took[1], took[2], took[3], self.tally.total, p50, p99)
        if self.samples and int(at / _PRINT_EVERY_S) > int(self.samples[-1].at / _PRINT_EVERY_S):
            print(_line(sample), flush=True)
        self.samples.append(sample)
        await asyncio.sleep(max(_LEAST_GAP_S, self.seconds / _MOST_SAMPLES))


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="fovea-soak-"))
    try:
        return _run(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(options: argparse.Namespace, folder: Path) -> int:
    _make_models(folder / "models")
    chance = random.Random(options.seed)
    echoes = EchoAsks(chance, coloured_pictures(options.seed, _PICTURES), _ECHOES)
    cat = (ROOT / "tests" / "data" / "cat.jpg").read_bytes()
    mixture = Mixture(chance, echoes, cat)
    settings = {
        "API_MODELS_DIR": str(folder / "models"),
        "API_CACHE_DIR": str(folder / "cache"),
        "API_DEFAULT_MODEL": DEFAULT,
        "API_LOAD": "all",
        "API_ADMIN_KEYS": "boss",
        "API_WORKERS": str(options.workers),
    }
    service = start(settings)
    try:
        service.wait_until_ready()
        print(f"{options.minutes:g} minutes, {options.workers} workers, {_CLIENTS} clients, seed {options.seed}")
        soak = Soak(service, mixture, options.minutes * 60, options.seed)
        asyncio.run(soak.run())
        idle = _idle_sample(soak)
        try:
            service.terminate()
        except (AssertionError, subprocess.TimeoutExpired) as error:
            soak.wrong.append(f"the end: {error}")
    finally:
        service.kill()
    soak.wrong += [f"the log has: {line}" for line in service.bugs()[:10]]
    SAMPLES.parent.mkdir(parents=True, exist_ok=True)
    SAMPLES.write_text(json.dumps([asdict(sample) for sample in soak.samples]))
    if soak.wrong or soak.tally.wrong:
        SAMPLES.with_name("soak.log").write_text(service.log_text)
    return _report(soak, idle)


def _make_models(models: Path) -> None:
    """The default model in two equal versions and as a twin, a detector, and two that answer with colours."""
    for name in (DEFAULT, DETECTOR):
        shutil.copytree(ROOT / "models" / name, models / name)
    shutil.copytree(models / DEFAULT, models / _TWIN)
    shutil.copytree(models / DEFAULT / "1", models / DEFAULT / "2")
    for name in _ECHOES:
        add_echo(models, name, (1, 2))


def _idle_sample(soak: Soak) -> Sample:
    """After the load, when the memory of requests is given back."""
    asyncio.run(asyncio.sleep(_SETTLE_S))
    processes = soak.service.processes()
    rss, pss, threads, descriptors = measure(processes)
    return Sample(soak.seconds, len(processes), rss, pss, threads, descriptors, soak.tally.total, 0, 0)


def _verdict(done: Outcome) -> str:
    good = done.result == RIGHT or done.result.startswith("wrong")
    return done.result if good else f"wrong: {done.result}"


def _line(sample: Sample) -> str:
    return (
        f"{sample.at:7.0f} s  {sample.requests:8} requests  PSS {sample.pss_mib:6.0f} MiB  "
        f"RSS {sample.rss_mib:6.0f} MiB  {sample.threads:3} threads  {sample.descriptors:4} descriptors  "
        f"p50 {sample.p50_ms:5.1f} ms  p99 {sample.p99_ms:6.1f} ms"
    )


def _report(soak: Soak, idle: Sample) -> int:
    tally = soak.tally
    print(
        f"\n{tally.sent} requests, {soak.swaps} admin requests, {soak.left} clients that left, {soak.slow} slow clients"
    )
    for (kind, verdict), number in sorted(tally.outcomes.items()):
        print(f"  {kind:14} {verdict:40} {number:8}")
    print(f"\nat the end\n{_line(soak.samples[-1])}\nidle after it\n{_line(idle)}\n\ngrowth over the second half")
    for bound in BOUNDS:
        rise, allowed = growth(soak.samples, bound)
        print(f"  {bound.name:12} {rise:+8.1f}, limit {allowed:+.1f}")
    wrong = [*soak.wrong[:20], *tally.wrong]
    if soak.seconds >= _SHOWS_GROWTH_S:
        wrong += grown(soak.samples)
    if tally.sent != tally.total:
        wrong.append(f"{tally.sent} requests had {tally.total} ends")
    for line in wrong:
        print(f"WRONG  {line}")
    grew = "and nothing grew" if soak.seconds >= _SHOWS_GROWTH_S else "too short to show growth"
    print("soak: " + ("FAILED" if wrong else f"every answer was right, {grew}"))
    return 1 if wrong else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the service is ended
    sys.exit(main())
