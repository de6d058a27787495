"""Makes the exports that are not kept yet, or those named: `python -m tests.e2e.exports [--quick | NAME ...]`."""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.e2e.exports.make import make
from tests.e2e.exports.pictures import write_pictures
from tests.e2e.exports.registry import CASES, QUICK
from tests.e2e.exports.store import CACHE, is_kept

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",  # a process a core
    "YOLO_AUTOINSTALL": "false",
    "YOLO_CONFIG_DIR": str(CACHE / "ultralytics"),
}
_CORES = 2


def main(chosen: list[str]) -> None:
    os.environ |= ENVIRONMENT
    write_pictures()
    names = _missing(QUICK) if chosen == ["--quick"] else chosen or _missing({case.name for case in CASES})
    with ProcessPoolExecutor(_CORES, get_context("spawn")) as processes:
        for line in processes.map(make, names):
            print(line, flush=True)


def _missing(names: set[str]) -> list[str]:
    return [case.name for case in CASES if case.name in names and not is_kept(case)]


if __name__ == "__main__":
    main(sys.argv[1:])
