"""What a decision says about pods that it leaves at the power gate."""

from __future__ import annotations

from tests.unit.recommender.gated_world import GatedWorld, Workload, limits


def rolling(all_watts: float) -> GatedWorld:
    """Returns one replica, whose successor stands at the gate."""
    world = GatedWorld(workloads=[Workload(demand=1)], limit_watts=limits(all_watts, 1e6))
    world.ticks(8)
    world.workloads[0].template = 1
    world.control()
    return world


def scaled_by_hand(*, demand: float, replicas: int) -> GatedWorld:
    """Returns a service whose spec follows no grant, under watts for three replicas and 30 W."""
    world = GatedWorld(workloads=[Workload(demand=demand, replicas=replicas)], limit_watts=limits(330, 1e6))
    for _ in range(8):
        world.tick(obey=False)
    return world


def test_a_blocked_rollout_says_which_budget_lacks_which_watts() -> None:
    gate = rolling(all_watts=130).tick().gate
    assert (gate.rollout_blocked.tolist(), gate.binding.tolist()) == ([True], [0])
    assert gate.missing_watts.tolist() == [70.0]


def test_a_rollout_that_stale_readings_block_names_no_budget() -> None:
    world = rolling(all_watts=1e6)
    world.stale = True
    gate = world.tick().gate
    assert (gate.rollout_blocked.tolist(), gate.binding.tolist()) == ([True], [-1])


def test_who_waits_beyond_a_grant_that_a_budget_holds_down_is_told_what_the_next_replica_lacks() -> None:
    result = scaled_by_hand(demand=5, replicas=5).tick(obey=False)
    gate = result.gate
    assert (result.plan.grants.tolist(), gate.waiting.tolist()) == ([3], [2])
    assert (gate.binding.tolist(), gate.missing_watts.tolist()) == ([0], [70.0])


def test_who_waits_beyond_the_demand_waits_for_no_budget() -> None:
    gate = scaled_by_hand(demand=2, replicas=3).tick(obey=False).gate
    assert (gate.waiting.tolist(), gate.binding.tolist()) == ([1], [-1])
