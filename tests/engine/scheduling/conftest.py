from collections.abc import Iterator

import pytest

from engine.scheduling import job as job_module
from engine.scheduling import scheduler as scheduler_module
from engine.scheduling.scheduler import Scheduler
from tests.engine.scheduling.worker_threads import Clock, scheduling


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (scheduler_module, job_module):
        monkeypatch.setattr(module, "perf_counter", clock)
    return clock


@pytest.fixture
def one_thread() -> Iterator[Scheduler]:
    with scheduling(concurrency=1, queue_limit=2) as scheduler:
        yield scheduler
