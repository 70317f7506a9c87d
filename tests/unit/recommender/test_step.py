from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.power.rows import NOW, budget_rows, floats, ints, node_rows, pod_rows, readings, service_rows
from wattkeeper.algorithms.priority_fair_share import PriorityFairShare
from wattkeeper.api.plan import Plan
from wattkeeper.api.readings import Mode, PodPhase, Published, Readings, ServiceKey
from wattkeeper.api.snapshot import Snapshot
from wattkeeper.guard.guarded_plan import GrantReason
from wattkeeper.recommender.errors import StateUnreadableError
from wattkeeper.recommender.result import StepResult
from wattkeeper.recommender.settings import RecommenderSettings
from wattkeeper.recommender.step import Recommender

SETTINGS = RecommenderSettings(actuation_window_seconds=20.0, warm_up_ticks=2)
TICK = 5.0


class World:
    """Services whose replicas are what their spec says, on three H100 servers in one domain."""

    def __init__(self, *demand: float, priority: tuple[int, ...] = (), limit_watts: float = 1e9) -> None:
        self.demand: list[float] = list(demand)
        self.priority = list(priority or (0,) * len(demand))
        self.spec = [1] * len(demand)
        self.mode = [int(Mode.SCALE)] * len(demand)
        self.limit_watts = limit_watts
        self.domains = 1
        self.cap_only, self.demand_stated = [False] * len(demand), True
        self.age_seconds = 3.0
        self.draining, self.should_have_ended = 0, 0.0
        self.published: dict[ServiceKey, Published] = {}
        self.now = NOW
        self.recommender = Recommender(SETTINGS, PriorityFairShare())

    def readings(self) -> Readings:
        count = len(self.demand)
        service = [number for number, replicas in enumerate(self.spec) for _ in range(replicas)]
        service += [0] * self.draining
        phase = [int(PodPhase.RUNNING)] * sum(self.spec) + [int(PodPhase.TERMINATING)] * self.draining
        pods = pod_rows(
            len(service),
            service=ints(service, len(service)),
            phase=ints(phase, len(service)),
            node=np.arange(len(service)) % 3,
            age_seconds=floats(self.age_seconds, len(service)),
            since=floats([self.should_have_ended if one == PodPhase.TERMINATING else NOW for one in phase], len(phase)),
        )
        services = service_rows(
            count,
            mode=ints(self.mode, count),
            priority=ints(self.priority, count),
            floor=ints(0, count),
            ceiling=ints(30, count),
            cap_only=np.array(self.cap_only),
            demand_stated=np.full(count, self.demand_stated),
            demand=floats(self.demand, count),
            demand_age_seconds=np.where(np.isnan(self.demand), np.inf, self.age_seconds),
            stabilization_seconds=floats(0.0, count),
            spec_replicas=ints(self.spec, count),
            eligible_domains=np.ones((count, self.domains), dtype=np.bool_),
        )
        ages = floats(self.age_seconds, 3)
        covered_by = np.full((3, 1), self.domains - 1, dtype=np.int64)
        nodes = node_rows(3, cpu_age_seconds=ages, gpu_age_seconds=ages, domains=covered_by, places=covered_by[:1])
        budgets = budget_rows(self.domains, limit_watts=floats(self.limit_watts, self.domains))
        return replace(readings(nodes, pods, services, budgets), published=self.published)

    def publish(self, *grants: int) -> None:
        """Publishes what was granted to the first services, so that autoscalers are told it from now on."""
        keys = self.readings().services.keys
        self.published = {key: Published(grant=grant, demand=-1) for key, grant in zip(keys, grants, strict=False)}

    def tick(self, count: int = 1, *, obey: bool = True) -> StepResult:
        """Decides `count` times; where the autoscaler obeys, every replica follows at once."""
        for _ in range(count):
            result = self.recommender.step(self.readings(), self.now)
            self.now += TICK
            if obey:
                self.spec = [
                    grant if mode == Mode.SCALE else spec
                    for grant, spec, mode in zip(result.plan.grants.tolist(), self.spec, self.mode, strict=True)
                ]
        return result  # pyright: ignore[reportPossiblyUnboundVariable] - count is at least 1.

    def silence(self, seconds: float) -> None:
        """Lets time pass without a new reading."""
        self.now += seconds
        self.age_seconds += seconds

    def limit_for(self, replicas: int) -> None:
        """Sets the limit so that this many replicas fit, as the sums now are."""
        result = self.recommender.step(self.readings(), self.now)
        watts = result.services.replica_watts[0]
        self.limit_watts = float(result.budgets.guarded_watts[0] + (replicas - sum(self.spec) + 0.5) * watts)


def settled(*demand: float, priority: tuple[int, ...] = ()) -> World:
    world = World(*demand, priority=priority)
    world.tick(8)
    return world


def test_below_the_cap_a_service_gets_what_its_traffic_asks_for() -> None:
    assert settled(7.2).tick().plan.grants.tolist() == [8]


def test_without_any_budget_a_service_gets_what_its_traffic_asks_for_and_no_more_than_that() -> None:
    world = World(5.0)
    world.domains = 0
    assert world.tick(8).plan.grants.tolist() == [5]
    world.demand = [2.0]
    world.tick(4, obey=False)
    assert world.tick(obey=False).plan.grants.tolist() == [2]


def test_a_cap_holds_a_service_below_its_demand_and_says_so() -> None:
    world = settled(5)
    world.limit_for(12)
    world.demand = [20]
    result = world.tick(8)
    assert result.plan.grants.tolist() == [12]
    assert result.plan.reasons.tolist() == [GrantReason.BUDGET_BINDS]
    assert result.services.demand.tolist() == [20]


def test_a_cut_lowers_at_once_to_what_fits() -> None:
    world = settled(20)
    world.limit_for(5)
    assert world.tick().plan.grants.tolist() == [5]


def test_what_drains_costs_nobody_a_replica_until_it_should_have_ended_and_has_not() -> None:
    world = settled(10)
    world.limit_for(10)
    world.draining, world.should_have_ended = 2, world.now
    result = world.tick(12)
    assert (result.plan.grants.tolist(), float(result.plan.over_watts[0]) > 0) == ([10], True)
    result = world.tick(3)
    assert (result.plan.grants.tolist(), float(result.plan.over_watts[0])) == ([8], 0.0)
    world.draining = 0
    assert world.tick(8).plan.grants.tolist() == [10]


def test_a_budget_that_comes_back_raises_again() -> None:
    world = settled(20)
    world.limit_for(5)
    world.tick(3)
    world.limit_watts = 1e9
    assert world.tick(8).plan.grants.tolist() == [20]


def test_the_higher_priority_is_served_first() -> None:
    world = settled(10, 10, priority=(100, 0))
    world.limit_for(12)
    assert world.tick(8).plan.grants.tolist() == [10, 2]


def test_a_raise_waits_until_a_draining_pod_has_exited() -> None:
    world = settled(5)
    world.limit_for(6)
    world.demand = [6]
    world.draining = 1
    assert world.tick(3).plan.grants.tolist() == [5]
    world.draining = 0
    assert world.tick(2).plan.grants.tolist() == [6]


def test_watts_of_a_lowered_grant_stay_reserved_while_an_autoscaler_may_act_on_it() -> None:
    world = settled(10, 1)
    world.limit_for(11)
    world.demand = [2, 9]
    first = world.tick()
    assert first.plan.grants.tolist() == [2, 1]
    assert world.tick(6).plan.grants.tolist() == [2, 9]


def test_until_caches_are_warm_nothing_moves() -> None:
    world = World(20)
    world.spec = [3]
    result = world.tick()
    assert (result.warm, result.plan.grants.tolist()) == (False, [3])


def test_stale_readings_raise_nothing() -> None:
    world = settled(5)
    world.silence(400.0)
    world.demand = [9]
    result = world.tick(3)
    assert result.plan.grants.tolist() == [5]
    assert result.services.stale.tolist() == [True]


def test_stale_readings_never_lower_the_guarded_sum() -> None:
    world = settled(5)
    sums: list[float] = []
    for seconds in (20.0, 60.0, 120.0, 600.0, 2000.0):
        world.silence(seconds)
        sums.append(float(world.tick(obey=False).budgets.guarded_watts[0]))
    assert sums == sorted(sums)


def test_unknown_demand_holds() -> None:
    world = settled(5)
    world.demand = [float("nan")]
    result = world.tick(3)
    assert (result.plan.grants.tolist(), result.services.demand.tolist()) == ([5], [-1])


def test_a_service_cut_to_zero_comes_back() -> None:
    world = settled(3)
    limit, world.limit_watts = world.limit_watts, 100.0
    world.tick(3)
    world.demand = [float("nan")]  # No pod is left to measure.
    assert world.tick(6).plan.grants.tolist() == [0]
    world.limit_watts = limit
    assert world.tick(6).plan.grants.tolist() == [3]


def capped(*, stated: bool, demand: float) -> World:
    """Returns a service that is only told its cap, beside a lower priority, where a dozen replicas fit."""
    world = settled(5, 5, priority=(100, 0))
    world.limit_for(12)
    world.cap_only, world.demand_stated = [True, False], stated
    world.demand = [demand, 5]
    return world


def test_a_cap_alone_is_raised_to_what_no_demand_needs() -> None:
    assert capped(stated=True, demand=3).tick(8).plan.grants.sum() == 12


def test_a_cap_alone_whose_policy_states_no_demand_asks_for_all_it_may_have() -> None:
    assert capped(stated=False, demand=float("nan")).tick(8).plan.grants.tolist() == [12, 0]


def test_a_cap_alone_whose_demand_is_lost_takes_nothing_from_others() -> None:
    result = capped(stated=True, demand=float("nan")).tick(8)
    assert (result.plan.grants[0], result.plan.grants[1] >= 5) == (5, True)
    assert result.plan.reasons[0] == GrantReason.DEMAND_UNKNOWN


def test_a_cap_alone_that_took_a_service_to_zero_before_it_was_ever_measured_comes_back() -> None:
    world = World(float("nan"))
    world.cap_only = [True]
    world.spec = [0]
    assert world.tick(8).plan.grants.tolist() == [30]


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.INITIAL])
def test_shadow_modes_get_advice_while_others_make_room_for_what_they_draw(mode: Mode) -> None:
    world = settled(6, 6, priority=(0, 100))
    world.mode[1] = int(mode)
    world.limit_for(8)
    result = world.tick(8)
    # The shadow service goes on running 6; of the room for 8 the enforced one gets what is left.
    assert (world.spec, result.plan.grants.tolist()) == ([2, 6], [2, 6])
    world.limit_for(4)
    result = world.tick(4)
    assert (world.spec, result.plan.grants.tolist()) == ([0, 6], [0, 4])


def test_a_shadow_service_is_charged_as_it_stands_and_not_as_advised() -> None:
    world = settled(3)
    world.mode = [int(Mode.OFF)]
    before = world.tick(3).budgets.guarded_watts[0]
    world.publish(9)
    assert world.tick(3).budgets.guarded_watts[0] <= before


def test_a_domain_that_cannot_be_brought_inside_is_said_to_be_unachievable() -> None:
    world = settled(3)
    world.limit_watts = 10.0
    result = world.tick(2)
    assert (result.budgets.unachievable.tolist(), result.services.unachievable.tolist()) == ([True], [True])


def test_the_pods_that_have_to_go_are_named_lowest_priority_first() -> None:
    world = settled(3, 3, priority=(100, 0))
    world.limit_for(4)
    result = world.tick()
    services = [int(pod.pod.name.removeprefix("pod-")) // 3 for pod in result.violations]
    assert services == [1, 1]


def test_the_power_model_survives_a_restart() -> None:
    world = settled(6)
    kept = world.recommender.dump()
    before = world.tick(obey=False).budgets.guarded_watts
    world.recommender = Recommender(SETTINGS, PriorityFairShare())
    world.recommender.restore(kept)
    np.testing.assert_allclose(world.tick(3, obey=False).budgets.guarded_watts, before, rtol=0.02)


def test_a_damaged_state_is_refused_with_a_reason() -> None:
    with pytest.raises(StateUnreadableError, match="power model"):
        Recommender(SETTINGS, PriorityFairShare()).restore(b"\x00torn")


def test_a_new_leader_goes_on_where_the_last_one_was() -> None:
    world = settled(9)
    world.limit_for(6)
    world.tick(6)
    key = world.readings().services.keys[0]
    successor = Recommender(SETTINGS, PriorityFairShare())
    grants = [
        successor.step(
            replace(world.readings(), published={key: Published(grant=6, demand=9)}), world.now + tick * TICK
        ).plan.grants.tolist()
        for tick in range(6)
    ]
    assert grants == [[6]] * 6


def test_a_new_leader_without_demand_holds_what_was_granted_last_and_not_what_has_not_followed_yet() -> None:
    world = settled(20)
    world.recommender = Recommender(SETTINGS, PriorityFairShare())
    world.publish(12)
    world.demand = [float("nan")]
    assert world.tick(5, obey=False).plan.grants.tolist() == [12]


def test_watts_of_a_higher_grant_stay_reserved_while_the_lower_one_cannot_be_published() -> None:
    world = settled(10, 1)
    world.limit_for(11)
    world.publish(10, 1)
    world.demand = [2, 9]
    assert world.tick(10).plan.grants[1] <= 2
    world.publish(2, 2)
    assert world.tick(2).plan.grants.tolist() == [2, 9]


def test_replicas_that_somebody_else_removed_come_back_only_when_they_have_drained() -> None:
    world = settled(9)
    world.limit_for(9)
    world.tick(6)
    world.spec, world.draining = [0], 9
    world.demand = [float("nan")]  # No pod is left to measure.
    assert world.tick().plan.grants.tolist() == [0]
    assert world.tick(3).plan.grants.tolist() == [0]
    world.draining = 0
    assert world.tick(6).plan.grants.tolist() == [9]


class Broken:
    """An algorithm that breaks in a given way."""

    def __init__(self, plan: Plan | None) -> None:
        self.plan = plan

    def decide(self, snapshot: Snapshot) -> Plan:
        if self.plan is None:
            raise RuntimeError("out of ideas")
        return self.plan


@pytest.mark.parametrize(
    ("plan", "said"),
    [(None, "out of ideas"), (Plan(grants=np.array([np.nan])), "refused")],  # pyright: ignore[reportArgumentType]
)
def test_a_broken_algorithm_is_replaced_by_the_built_in(plan: Plan | None, said: str) -> None:
    world = World(7)
    world.recommender = Recommender(SETTINGS, Broken(plan))
    result = world.tick(8)
    assert result.plan.grants.tolist() == [7]
    assert said in result.problems[0]


def test_the_same_readings_give_the_same_decisions() -> None:
    one, other = settled(5, 9, priority=(1, 0)), settled(5, 9, priority=(1, 0))
    np.testing.assert_array_equal(one.tick().budgets.guarded_watts, other.tick().budgets.guarded_watts)
