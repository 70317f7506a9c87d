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


def test_a_blocked_rollout_says_which_budget_lacks_which_watts() -> None:
    gate = rolling(all_watts=130).tick().gate
    assert (gate.rollout_blocked.tolist(), gate.binding.tolist()) == ([True], [0])
    assert gate.missing_watts.tolist() == [70.0]


def test_a_rollout_that_stale_readings_block_names_no_budget() -> None:
    world = rolling(all_watts=1e6)
    world.stale = True
    gate = world.tick().gate
    assert (gate.rollout_blocked.tolist(), gate.binding.tolist()) == ([True], [-1])
