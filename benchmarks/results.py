"""The measurements of all rounds."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

LOOP = "bare loop"

# A measurement is reported as disturbed if other processes used more cores than this.
DISTURBED_CORES = 0.1


@dataclass(frozen=True, slots=True)
class Measurement:
    """One cell of one contestant in one round. `throughput` counts pictures a second, latencies are ms a request.

    `server_cpu_ms`, `client_cpu_ms`: CPU time per request of the server's processes and of the load generator.
    `other_cores`: cores that other processes used meanwhile. `stable`: three windows agreed.
    `rss_mib` counts a shared page in every process, `pss_mib` once.
    """

    round: int
    contestant: str
    workload: str
    load: str
    throughput: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    requests: int
    errors: int
    stable: bool
    server_cpu_ms: float
    client_cpu_ms: float
    other_cores: float
    rss_mib: float
    pss_mib: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """From the command to the first right answer, in seconds."""

    round: int
    contestant: str
    model: str
    seconds: float
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A contestant that did not start or died, with the reason."""

    round: int
    contestant: str
    model: str
    reason: str


class Results:
    """Everything measured in one run."""

    def __init__(self) -> None:
        self.measurements: list[Measurement] = []
        self.starts: list[Start] = []
        self.failures: list[Failure] = []
        self.memory_mib: dict[int, float] = {}
        """RSS of Fovea by the number of requests of mixed photos."""

    def of(self, contestant: str, workload: str, load: str) -> list[Measurement]:
        """The measurements of a cell, by round."""
        wanted = (contestant, workload, load)
        found = [m for m in self.measurements if (m.contestant, m.workload, m.load) == wanted]
        return sorted(found, key=lambda m: m.round)

    def median(self, contestant: str, workload: str, load: str, value: Callable[[Measurement], float]) -> float | None:
        found = self.of(contestant, workload, load)
        return statistics.median(map(value, found)) if found else None

    def loops(self, loop_name: str) -> list[Measurement]:
        """Every way of the bare loop."""
        return [m for m in self.measurements if m.workload == loop_name and m.contestant.startswith(LOOP)]

    def disturbed(self) -> list[Measurement]:
        """Measurements during which other processes used the machine."""
        return [m for m in self.measurements if m.other_cores > DISTURBED_CORES]

    def limit(self, loop_name: str, number: int) -> float:
        """Pictures a second of the fastest bare loop in that round."""
        return max((m.throughput for m in self.loops(loop_name) if m.round == number), default=0.0)

    def as_json(self) -> dict[str, Any]:
        return {
            "measurements": [asdict(m) for m in self.measurements],
            "starts": [asdict(start) for start in self.starts],
            "failures": [asdict(failure) for failure in self.failures],
            "memory_mib": {str(requests): rss for requests, rss in self.memory_mib.items()},
        }


def results_from(json: dict[str, Any]) -> Results:
    """The inverse of `Results.as_json`."""
    results = Results()
    results.measurements = [Measurement(**entry) for entry in json["measurements"]]
    results.starts = [Start(**entry) for entry in json["starts"]]
    results.failures = [Failure(**entry) for entry in json["failures"]]
    results.memory_mib = {int(requests): rss for requests, rss in json["memory_mib"].items()}
    return results
