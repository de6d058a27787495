import pytest

from benchmarks.simulation import Machine, Routing, poisson, simulate


def test_one_core_with_constant_work_waits_as_the_formula_says() -> None:
    """Pollaczek-Khinchine: the mean wait of M/D/1 is u / (2 (1 - u)) of a request's time."""
    outcome = simulate(poisson(70, 20_000), Machine((0.01,), queue_limit=10**6))
    mean_wait = sum(outcome.latencies) / len(outcome.latencies) - 0.01
    assert mean_wait == pytest.approx(0.01 * 0.7 / (2 * 0.3), rel=0.1)


def test_work_that_varies_waits_longer() -> None:
    """The mean wait of M/G/1 grows with 1 + spread squared."""
    steady, varying = (
        simulate(poisson(70, 20_000), Machine((0.01,), spread, queue_limit=10**6)) for spread in (0.0, 1.0)
    )
    waits = [sum(one.latencies) / len(one.latencies) - 0.01 for one in (steady, varying)]
    assert waits[1] / waits[0] == pytest.approx(2, rel=0.2)


def test_a_lone_request_takes_the_time_of_one() -> None:
    outcome = simulate([0.0, 1.0, 2.0], Machine((0.01, 0.015)))
    assert outcome.latencies == pytest.approx([0.01] * 3)


def test_requests_in_work_share_the_machine() -> None:
    """Half of the first is done when the second comes; both advance at 1 / 0.02 then."""
    outcome = simulate([0.0, 0.005], Machine((0.01, 0.02)))
    assert outcome.latencies == pytest.approx([0.015, 0.015])


def test_more_than_the_limit_is_served_at_the_limit_and_rejected_beyond() -> None:
    machine = Machine((0.01, 0.02), queue_limit=8)
    outcome = simulate(poisson(2 * machine.limit, 2_000), machine)
    assert outcome.throughput == pytest.approx(machine.limit, rel=0.05)
    assert len(outcome.latencies) + outcome.rejected == 2_000
    assert max(outcome.latencies) <= (8 + 2) * 0.02 / 2 * 1.2


def test_every_queue_of_a_fleet_works() -> None:
    fleet = Machine((0.01, 0.01), processes=2)
    outcome = simulate([0.0] * 8, fleet, machines=4, routing="round robin")
    assert outcome.latencies == pytest.approx([0.01] * 8)


def test_the_better_a_proxy_knows_the_queues_the_shorter_the_waits() -> None:
    machine, arrivals = Machine((0.01,), queue_limit=10**6), poisson(0.8 * 8 * 100, 8_000)
    kinds: tuple[Routing, ...] = ("fewest", "two choices", "random")
    p99s = [simulate(arrivals, machine, 8, routing).percentile_s(99) for routing in kinds]
    assert p99s == sorted(p99s)
