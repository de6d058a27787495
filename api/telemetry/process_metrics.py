"""Memory, processor time and open files of each worker process."""

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import mark_process_dead
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample


class ProcessMetrics(Collector):
    """prometheus_client's `process_...` metrics of several processes, with the label `worker`: 0, 1, ..."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for worker, pid in enumerate(self._pids):
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                family.samples += [Sample(s.name, {"worker": str(worker)}, s.value) for s in metric.samples]
        return families.values()


def live_processes(folder: Path) -> list[int]:
    """Returns the processes with live gauges in a folder of multi-process metrics, and removes those of dead ones."""
    pids = sorted({int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")})
    live = [pid for pid in pids if _is_alive(pid)]
    for pid in set(pids).difference(live):
        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    return live


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # there, os.kill(pid, 0) is not a query
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
