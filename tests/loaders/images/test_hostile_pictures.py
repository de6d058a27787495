"""Hostile pictures, in a subprocess: each is read or raises an ImageError, and takes little memory and time."""

import json
import subprocess
import sys
from functools import cache
from typing import Any

from tests.hostile_pictures import FORMATS, HOSTILE
from tests.paths import ROOT

MOST_MB = 48
MOST_S = 2.0  # of CPU time; each takes less than a tenth of it

CHILD = """
import json, sys, time
from pathlib import Path
from loaders.images.errors import ImageError
from loaders.image_loader import create_image_loader, image_loader_names
from tests.hostile_pictures import FORMATS, HOSTILE, cut
loaders = {name: create_image_loader(name) for name in image_loader_names()}

def peak_kb():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

def tried(loader, data):
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, started = peak_kb(), time.process_time()
    try:
        loader.load(data)
        end = "read"
    except ImageError as error:
        end = type(error).__name__
    return {"end": end, "mb": (peak_kb() - before) / 1024, "s": time.process_time() - started}

def report(name, pictures):
    for loader in loaders:
        print(loader, name, file=sys.stderr, flush=True)
        tries = [tried(loaders[loader], data) for data in pictures]
        print(json.dumps({"of": f"{loader} {name}", "tries": tries}), flush=True)

for name, (make, _) in HOSTILE.items():
    report(name, [make()])
for name in FORMATS:
    report("cut " + name, list(cut(name)))
"""


@cache
def outcomes() -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Returns the outcomes by loader and name, and the lines written to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {outcome["of"]: outcome["tries"] for outcome in found}, done.stderr.splitlines()


def test_hostile_pictures_cost_little_memory_and_time(name: str) -> None:
    for picture, (_, expected) in HOSTILE.items():
        [outcome] = outcomes()[0][f"{name} {picture}"]
        assert expected in (None, outcome["end"]), picture
        assert outcome["mb"] < MOST_MB, (picture, outcome)
        assert outcome["s"] < MOST_S, (picture, outcome)


def test_truncated_pictures_raise_image_errors(name: str) -> None:
    for image_format in FORMATS:
        for outcome in outcomes()[0][f"{name} cut {image_format}"]:
            assert outcome["end"] in {"CorruptImageError", "TruncatedImageError", "EmptyImageError"}, image_format
            assert outcome["mb"] < MOST_MB, image_format


def test_decoders_write_at_most_one_line_to_stderr() -> None:
    """libpng, libjpeg and libtiff write to stderr."""
    tries, written = outcomes()
    starts = [written.index(of) for of in tries]
    for (of, each), start, end in zip(tries.items(), starts, [*starts[1:], len(written)], strict=True):
        assert end - start - 1 <= len(each), (of, written[start:end])
