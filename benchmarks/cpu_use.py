"""CPU time of the server, the load generator and the other processes during a measurement."""

import resource
from dataclasses import dataclass
from time import perf_counter

import psutil

from benchmarks.processes import ServerProcess


@dataclass(frozen=True, slots=True)
class CpuUse:
    """Seconds of CPU time; `wall` seconds of the clock."""

    server: float
    client: float
    machine: float
    wall: float

    def since(self, before: "CpuUse") -> "CpuUse":
        return CpuUse(
            self.server - before.server,
            self.client - before.client,
            self.machine - before.machine,
            self.wall - before.wall,
        )

    @property
    def others(self) -> float:
        """Average number of cores that other processes used, including time stolen by the host."""
        return max(0.0, self.machine - self.server - self.client) / self.wall


def read(server: ServerProcess) -> CpuUse:
    """Totals since the start of the processes and the machine; use their differences."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    times = psutil.cpu_times()
    busy = times.user + times.nice + times.system + times.irq + times.softirq + times.steal
    return CpuUse(server.cpu_s(), own.ru_utime + own.ru_stime, busy, perf_counter())
