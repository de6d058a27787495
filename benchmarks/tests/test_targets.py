from dataclasses import replace

import pytest

from benchmarks.results import LOOP, Measurement, Results, results_from
from benchmarks.scenarios import DEFAULT, EIGHT, ONE
from benchmarks.tables import load_tables, loop_table, target_table
from benchmarks.targets import Target, targets

FIRST = "Throughput at 8 connections, Fovea / best bare loop: default model"
PEERS = "Throughput at 8 connections, Fovea / best peer: default model"
LATENCY = "p50 at 1 connection, best peer / Fovea: default model"

ANY = Measurement(0, "", "", "", 1, 1, 1, 1, 1, 0, True, 1, 0.1, 0, 100, 90)


def _results(*measurements: Measurement) -> Results:
    results = Results()
    results.measurements = list(measurements)
    return results


def _served(number: int, contestant: str, throughput: float, p50_ms: float = 1.0) -> list[Measurement]:
    served = replace(
        ANY, round=number, contestant=contestant, workload=DEFAULT.name, throughput=throughput, p50_ms=p50_ms
    )
    return [replace(served, load=EIGHT.name), replace(served, load=ONE.name)]


def _loop(number: int, way: str, throughput: float) -> Measurement:
    workload = DEFAULT.loop_name
    return replace(
        ANY, round=number, contestant=f"{LOOP}: {way}", workload=workload, load="loop", throughput=throughput
    )


def _found(results: Results, name: str) -> Target:
    [target] = [target for target in targets(results) if target.name == name]
    return target


def test_ratios_are_taken_round_by_round() -> None:
    """The machine is half as fast in the second round."""
    results = _results(
        *(m for number, speed in ((0, 1.0), (1, 0.5), (2, 1.0)) for m in _served(number, "Fovea", 96 * speed)),
        *(_loop(number, "threads", 100 * speed) for number, speed in ((0, 1.0), (1, 0.5), (2, 1.0))),
        *(_loop(number, "processes", 90 * speed) for number, speed in ((0, 1.0), (1, 0.5), (2, 1.0))),
    )
    assert _found(results, FIRST).value == pytest.approx(0.96)
    assert _found(results, FIRST).met is True


def test_the_best_peer_of_each_round_counts() -> None:
    results = _results(*_served(0, "Fovea", 140, 5), *_served(0, "A", 100, 20), *_served(0, "B", 70, 10))
    assert _found(results, PEERS).value == pytest.approx(1.4)
    assert _found(results, LATENCY).value == pytest.approx(2.0)


def test_a_target_that_was_not_measured_is_neither_met_nor_missed() -> None:
    target = _found(_results(*_served(0, "Fovea", 100)), PEERS)
    assert (target.value, target.met) == (None, None)


def test_a_target_may_be_an_upper_bound() -> None:
    assert Target("x", 1.1, 1.2, at_least=False).met is True
    assert Target("x", 1.3, 1.2, at_least=False).met is False


def test_results_survive_json() -> None:
    results = _results(*_served(0, "Fovea", 100), _loop(0, "threads", 120))
    results.memory_mib = {1000: 170.0}
    assert results_from(results.as_json()).as_json() == results.as_json()


def test_tables_are_aligned_and_markdown() -> None:
    results = _results(*_served(0, "Fovea", 100), *_served(0, "A", 9), _loop(0, "threads", 120))
    for table in (*load_tables(results), loop_table(results), target_table(targets(results))):
        lines = table.markdown().splitlines()[2:]
        assert len({line.count("|") for line in lines}) == 1
        assert table.rows
        assert len(table.aligned().splitlines()) == len(table.rows) + 2
