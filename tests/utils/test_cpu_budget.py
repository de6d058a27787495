"""The CPU budget: real affinity in a subprocess, and cgroups as files of the same format."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT
from utils.cpu_budget import cpu_budget

CORES = 16
PERIOD_US = 100_000
PRINT_BUDGET = (
    "import os, sys; from pathlib import Path; from utils.cpu_budget import cpu_budget;"
    "os.sched_setaffinity(0, {int(core) for core in sys.argv[1].split(',')});"
    "print(cpu_budget(Path('/nowhere'), Path('/nowhere')))"
)
has_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")


@pytest.fixture
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)), raising=False)


def budget(tmp_path: Path, files: dict[str, str], proc_cgroup: str) -> int:
    """Returns the budget with a cgroup file system of `files`."""
    root = tmp_path / "cgroup"
    root.mkdir()
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    (tmp_path / "proc").write_text(proc_cgroup)
    return cpu_budget(root, tmp_path / "proc")


def v2(cores: float) -> str:
    return f"{int(cores * PERIOD_US)} {PERIOD_US}"


def v1(folder: str, quota: int) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": str(quota), f"{folder}/cpu.cfs_period_us": str(PERIOD_US)}


@has_affinity
@pytest.mark.parametrize("count", [1, 2])
def test_budget_follows_affinity(count: int) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < count:
        pytest.skip(f"this machine gives fewer than {count} cores")
    cores = ",".join(map(str, allowed[:count]))
    command = [sys.executable, "-c", PRINT_BUDGET, cores]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) == count


@pytest.mark.parametrize(("told", "cores"), [("2", 2), ("99", CORES), ("0", 1), ("default", CORES)])
@pytest.mark.usefixtures("sixteen_cores")
def test_python_cpu_count_may_lower_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, cores: int
) -> None:
    monkeypatch.setenv("PYTHON_CPU_COUNT", told)
    assert budget(tmp_path, {}, "") == cores


def test_budget_of_this_machine_is_within_its_cores() -> None:
    assert 1 <= cpu_budget() <= (os.cpu_count() or 1)


@pytest.mark.usefixtures("sixteen_cores")
@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": v2(3)}, 3),
        ({"cpu.max": v2(1.5)}, 2),
        ({"cpu.max": v2(2.01)}, 3),
        ({"cpu.max": v2(0.1)}, 1),
        ({"cpu.max": "150000 50000"}, 3),
        ({"cpu.max": v2(64)}, CORES),
        ({"cpu.max": f"max {PERIOD_US}"}, CORES),
        ({"cpu.max": ""}, CORES),
        ({}, CORES),
    ],
)
def test_cgroup_v2_quota_is_rounded_up(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    assert budget(tmp_path, files, "0::/\n") == cores


@pytest.mark.usefixtures("sixteen_cores")
@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"pod/cpu.max": v2(2), "pod/box/cpu.max": v2(6)}, 2),
        ({"pod/cpu.max": v2(6), "pod/box/cpu.max": v2(2)}, 2),
        ({"pod/cpu.max": v2(3), "pod/box/cpu.max": f"max {PERIOD_US}"}, 3),
        ({"pod/cpu.max": v2(3)}, 3),
        ({"cpu.max": v2(5), "pod/cpu.max": v2(6), "pod/box/cpu.max": v2(7)}, 5),
        ({"sibling/cpu.max": v2(1), "pod/box/sibling/cpu.max": v2(1)}, CORES),
    ],
)
def test_tightest_parent_cgroup_counts(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    assert budget(tmp_path, files, "0::/pod/box\n") == cores


@pytest.mark.usefixtures("sixteen_cores")
@pytest.mark.parametrize(
    ("files", "cores"),
    [
        (v1("cpu/box", 250_000), 3),
        (v1("cpu/box", -1), CORES),
        (v1("cpu/box", 800_000) | v1("cpu", 400_000), 4),
        (v1("cpu", 400_000), 4),
        ({"cpu/box/cpu.cfs_quota_us": "200000"}, CORES),
        (v1("memory/box", 100_000), CORES),
    ],
)
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
def test_cgroup_v1_limits_by_quota_and_period(
    tmp_path: Path, files: dict[str, str], cores: int, controllers: str
) -> None:
    assert budget(tmp_path, files, f"7:memory:/box\n4:{controllers}:/box\n1:name=systemd:/box\n") == cores


@pytest.mark.usefixtures("sixteen_cores")
def test_tighter_hierarchy_of_a_hybrid_system_counts(tmp_path: Path) -> None:
    files = v1("cpu/box", 300_000) | {"box/cpu.max": v2(5)}
    assert budget(tmp_path, files, "4:cpu,cpuacct:/box\n0::/box\n") == 3


@pytest.mark.usefixtures("sixteen_cores")
def test_cgroup_name_with_a_colon_is_read(tmp_path: Path) -> None:
    assert budget(tmp_path, {"a:b/cpu.max": v2(2)}, "0::/a:b\n") == 2


@pytest.mark.usefixtures("sixteen_cores")
def test_cpuset_controller_is_not_read_as_cpu(tmp_path: Path) -> None:
    assert budget(tmp_path, v1("cpu/box", 100_000), "3:cpuset:/box\n2:cpuacct:/box\n") == CORES


@pytest.mark.usefixtures("sixteen_cores")
def test_without_cgroups_affinity_alone_counts(tmp_path: Path) -> None:
    assert cpu_budget(tmp_path, tmp_path / "missing") == CORES


def test_without_affinity_cpu_count_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert cpu_budget(tmp_path, tmp_path / "missing") == 3
