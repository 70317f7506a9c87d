"""The closed loop on the real control plane: Kepler's watts in, KEDA's replica count out.

KEDA's own operator polls our scaler, the real HPA lands on what it says, KWOK's pods draw what the exporter says
through load and termination, a real Prometheus scrapes it, and our processes run under the chart's own accounts.
"""

from __future__ import annotations

import itertools
import time

from tests.cluster.backstop import install_policies, scaled, wait_refused
from tests.cluster.controlplane.api import Object
from tests.cluster.loop import GROUP, Loop, scaled_object

PLENTY = 1_000_000.0


async def capped(loop: Loop, *, demand: float, cap: int, floor: int = 0, tolerance: str = "0") -> str:
    """Brings a service up under a budget that carries `cap` replicas, and returns the budget.

    It starts with the replicas that it will have: watts of a larger grant would stay reserved for a while.
    """
    await loop.nodes(3)
    budget = await loop.budget("all", PLENTY)
    present = min(int(demand), cap)
    await loop.service("chat", replicas=present, demand=present, floor=floor, tolerance=tolerance)
    await loop.wait_grant("chat", present)
    await loop.wait_running("chat", present)
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", cap))
    await loop.set_demand("chat", demand)
    return budget


async def test_demand_above_the_cap_runs_at_the_cap(loop: Loop) -> None:
    await capped(loop, demand=20, cap=12)
    await loop.wait_reason("chat", "BudgetBinds")
    await loop.wait_running("chat", 12)
    status = await loop.status("chat")
    assert (status["uncappedTarget"]["replicas"], status["target"]["replicas"]) == (20, 12)


async def test_demand_below_the_cap_runs_at_demand(loop: Loop) -> None:
    await capped(loop, demand=3, cap=12)
    await loop.wait_running("chat", 3)
    await loop.wait_reason("chat", "DemandMet")


async def test_a_cut_sheds_and_the_guarded_sum_only_falls(loop: Loop) -> None:
    budget = await capped(loop, demand=20, cap=12)
    await loop.wait_running("chat", 12)
    new_limit = await loop.limit_for(budget, "chat", 5)
    cut = time.monotonic()
    await loop.set_limit(budget, new_limit)
    sums: list[float] = []

    async def inside() -> bool:
        seen = await loop.sums(budget)
        if abs(seen.limit - new_limit) <= 1.0 and (not sums or sums[-1] != seen.guarded):
            sums.append(seen.guarded)
        return bool(sums) and sums[-1] <= new_limit

    await loop.bench.wait_for(inside, what="the guarded sum is inside the new limit", timeout_seconds=90)
    print(f"guarded sum inside {time.monotonic() - cut:.1f} s after the cut: {sums}")
    await loop.wait_running("chat", 5)
    # The status rounds to whole watts.
    assert all(later <= earlier + 1.0 for earlier, later in itertools.pairwise(sums))


async def test_one_step_at_twenty_replicas_is_exact(loop: Loop) -> None:
    budget = await capped(loop, demand=20, cap=20)
    await loop.wait_running("chat", 20)
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", 19))
    await loop.wait_running("chat", 19)


async def test_without_a_tolerance_of_zero_the_hpa_still_ends_below_the_cap(loop: Loop) -> None:
    budget = await capped(loop, demand=20, cap=20, tolerance="0.1")
    await loop.wait_running("chat", 20)
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", 19))

    async def below() -> bool:
        return await loop.bench.replicas("chat") < 20

    await loop.bench.wait_for(below, what="the HPA has moved", timeout_seconds=60)
    assert await loop.bench.replicas("chat") in (18, 19)


async def test_a_restored_budget_raises_again(loop: Loop) -> None:
    budget = await capped(loop, demand=10, cap=4)
    await loop.wait_running("chat", 4)
    await loop.set_limit(budget, PLENTY)
    await loop.wait_running("chat", 10)


async def test_a_dead_prometheus_raises_nothing(loop: Loop) -> None:
    budget = await capped(loop, demand=10, cap=4)
    await loop.wait_running("chat", 4)
    loop.bench.plane.processes["prometheus"].kill()
    await loop.wait_condition("chat", "TelemetryStale")
    await loop.set_limit(budget, PLENTY)
    assert await loop.held_replicas("chat", seconds=15) == {4}
    # A restored budget raises once readings are fresh again, and not before.
    await loop.bench.plane.restart("prometheus")
    await loop.wait_running("chat", 10, timeout_seconds=90)


async def test_lost_kepler_series_raise_nothing_although_its_target_is_up(loop: Loop) -> None:
    budget = await capped(loop, demand=10, cap=4)
    await loop.wait_running("chat", 4)
    await loop.bench.exporter.vanish()
    await loop.wait_condition("chat", "TelemetryStale", timeout_seconds=90)
    await loop.set_limit(budget, PLENTY)
    assert await loop.held_replicas("chat", seconds=15) == {4}


async def test_a_dead_scaler_holds_and_its_return_is_quiet(loop: Loop) -> None:
    await capped(loop, demand=10, cap=4, floor=1)
    await loop.wait_running("chat", 4)
    loop.installation.kill_all()
    held = await loop.held_replicas("chat", seconds=12)
    await loop.installation.start_all(loop.bench.api)
    returned = await loop.held_replicas("chat", seconds=20)
    assert (held, returned) == ({4}, {4})


async def test_when_the_leader_dies_the_other_takes_over_and_nothing_moves(loop: Loop) -> None:
    budget = await capped(loop, demand=10, cap=4, floor=1)
    await loop.wait_running("chat", 4)
    leader = await loop.installation.leader(loop.bench.api)
    survivor = loop.installation.other(leader)
    await loop.bench.apply(scaled_object("chat", survivor.address, floor=1))
    leader.kill()
    held = await loop.held_replicas("chat", seconds=25)
    assert held == {4}
    assert (await loop.installation.leader(loop.bench.api)).name == survivor.name
    await loop.set_limit(budget, PLENTY)
    await loop.wait_running("chat", 10)


async def test_the_higher_priority_is_served_first(loop: Loop) -> None:
    await loop.nodes(3)
    budget = await loop.budget("all", PLENTY)
    await loop.service("chat", replicas=6, demand=6, priority=100)
    await loop.service("batch", replicas=6, demand=6)
    await loop.wait_grant("batch", 6)
    await loop.wait_running("chat", 6)
    await loop.wait_running("batch", 6)
    await loop.set_limit(budget, await loop.limit_for(budget, "batch", 2))
    await loop.wait_running("batch", 2)
    await loop.wait_running("chat", 6)


async def test_racks_a_feed_and_the_cluster_each_hold(loop: Loop) -> None:
    """Two racks, a feed that crosses them, and the cluster: the tightest one binds, and is named."""
    await loop.nodes(1, labels={"rack": "1", "feed": "a"})
    await loop.nodes(1, labels={"rack": "1", "feed": "b"})
    await loop.nodes(1, labels={"rack": "2", "feed": "a"})
    await loop.nodes(1, labels={"rack": "2", "feed": "b"})
    await loop.budget("cluster", PLENTY)
    rack = await loop.budget("rack-1", PLENTY, labels={"rack": "1"})
    feed = await loop.budget("feed-a", PLENTY, labels={"feed": "a"})
    pinned = {"pod": {"nodeSelector": {"rack": "1"}}}
    await loop.service("chat", replicas=4, demand=4, deployment=pinned)
    roaming = {"pod": {"nodeSelector": {"feed": "a", "rack": "2"}}}
    await loop.service("code", replicas=4, demand=4, deployment=roaming)
    await loop.wait_grant("code", 4)
    await loop.wait_running("chat", 4)
    await loop.wait_running("code", 4)
    await loop.set_limit(rack, await loop.limit_for(rack, "chat", 2))
    await loop.wait_running("chat", 2)
    await loop.wait_binding("chat", rack)
    await loop.set_limit(feed, await loop.limit_for(feed, "code", 1))
    await loop.wait_running("code", 1)
    await loop.wait_binding("code", feed)


async def test_an_uncapped_workload_takes_from_the_capped_and_not_from_the_budget(loop: Loop) -> None:
    budget = await capped(loop, demand=10, cap=6)
    await loop.wait_running("chat", 6)
    await loop.bench.deploy(loop.bench.deployment("training", replicas=3))

    async def made_room() -> bool:
        return await loop.bench.replicas("chat") <= 3

    await loop.bench.wait_for(made_room, what="the capped service made room", timeout_seconds=90)

    async def inside() -> bool:
        sums = await loop.sums(budget)
        return 0 < sums.guarded <= sums.limit

    await loop.bench.wait_for(inside, what="the guarded sum is inside", timeout_seconds=60)


async def test_a_shadow_mode_changes_nothing_and_shows_what_it_would_have_done(loop: Loop) -> None:
    await loop.nodes(3)
    budget = await loop.budget("all", PLENTY)
    await loop.service("chat", replicas=8, demand=8, mode="Off")
    await loop.wait_running("chat", 8)
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", 3))
    await loop.wait_grant("chat", 3)
    assert await loop.held_replicas("chat", seconds=12) == {8}


async def test_a_cap_inside_a_formula_wins_over_demand(loop: Loop) -> None:
    """The second way in: the user's own demand trigger, and ours for the cap, under min(demand, cap)."""
    budget = await capped(loop, demand=3, cap=12, floor=1)
    modified = scaled_object("chat", loop.installation.address, metric="cap", floor=1)
    spec: Object = modified["spec"]
    spec["triggers"][0]["name"] = "cap"
    spec["triggers"].append(
        {
            "type": "prometheus",
            "name": "demand",
            "metricType": "AverageValue",
            "metadata": {
                "serverAddress": loop.bench.plane.prometheus_url,
                "query": "vector(9)",
                "threshold": "1",
            },
        }
    )
    spec["advanced"]["scalingModifiers"] = {"formula": "min(demand, cap)", "target": "1", "metricType": "AverageValue"}
    await loop.bench.apply(modified)
    await loop.wait_running("chat", 9)
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", 5))
    await loop.wait_running("chat", 5)


async def test_a_cap_of_zero_stops_the_service_and_a_restored_budget_brings_it_back(loop: Loop) -> None:
    budget = await capped(loop, demand=2, cap=4)
    await loop.wait_running("chat", 2)
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", 0))
    await loop.wait_running("chat", 0)
    await loop.set_limit(budget, PLENTY)
    await loop.wait_running("chat", 2)


async def test_a_cap_of_zero_that_keda_cannot_reach_is_said(loop: Loop) -> None:
    budget = await capped(loop, demand=2, cap=4)
    await loop.wait_running("chat", 2)
    await loop.bench.api.patch(
        "keda.sh/v1alpha1",
        "ScaledObject",
        "chat",
        {"spec": {"minReplicaCount": 1}},
        namespace=loop.bench.namespace,
    )
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", 0))
    await loop.wait_condition("chat", "CapUnachievable")
    conditions = (await loop.status("chat"))["conditions"]
    message = next(one["message"] for one in conditions if one["type"] == "CapUnachievable")
    assert "minReplicaCount" in message


async def test_violating_pods_are_named_with_their_watts(loop: Loop) -> None:
    budget = await capped(loop, demand=6, cap=6)
    await loop.wait_running("chat", 6)
    loop.bench.plane.processes["keda-operator"].pause()
    await loop.set_limit(budget, await loop.limit_for(budget, "chat", 4))

    async def named() -> list[Object]:
        status: Object = (await loop.bench.api.get(GROUP, "PowerBudget", budget)).get("status") or {}
        pods: list[Object] = status.get("violatingPods") or []
        return pods

    pods = await loop.bench.wait_for(named, what="violating pods are named")
    assert len(pods) == 2
    assert all(pod["watts"] > 0 and pod["name"].startswith("chat-") for pod in pods)


async def backed(loop: Loop, name: str, cap: int) -> None:
    """Puts the backstop in place and waits until the API server goes by a service's cap."""
    await install_policies(loop.bench, "-backstop", {"backstop": {"enabled": True}})
    await wait_refused(loop.bench, name, cap + 1)


async def test_with_every_process_dead_the_api_server_refuses_a_rise_above_the_cap_and_no_fall(loop: Loop) -> None:
    await capped(loop, demand=10, cap=4, floor=1)
    await loop.wait_running("chat", 4)
    await backed(loop, "chat", 4)
    loop.installation.kill_all()
    refusal = await scaled(loop.bench, "chat", 5)
    assert "Deployment chat is capped at 4 replicas and was asked to go from 4 to 5." in refusal
    assert await scaled(loop.bench, "chat", 3) == ""
    assert await scaled(loop.bench, "chat", 4) == ""


async def test_the_backstop_lets_pass_what_the_loop_raises(loop: Loop) -> None:
    budget = await capped(loop, demand=10, cap=4)
    await loop.wait_running("chat", 4)
    await backed(loop, "chat", 4)
    await loop.set_limit(budget, PLENTY)
    await loop.wait_running("chat", 10)
