"""What moves pods and what ends them share limits, and neither takes from the other what it does not use."""

from __future__ import annotations

from msgspec.structs import replace

from tests.unit.kserve_hooks.kill_scene import LASTS, KillScene
from tests.unit.kserve_hooks.pods_scene import pod
from tests.unit.kserve_hooks.world import World
from wattkeeper.api.meta import LabelSelector, ObjectMeta
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec
from wattkeeper.api.power_capping_policy import ActuationRules
from wattkeeper.api.power_recommendation import MovablePod
from wattkeeper.cluster.objects import Pod


async def test_a_pod_that_cannot_move_yet_keeps_none_from_going(world: World) -> None:
    scene = KillScene(world)
    await scene.open(maxReplicas=8)
    scene.amend(actuation=ActuationRules(raise_min_replicas=True))
    spec = PowerBudgetSpec(limit_watts=2000.0, node_selector=LabelSelector(match_labels={"rack": "a"}))
    world.cluster.create(PowerBudget(metadata=ObjectMeta(name="rack-a"), spec=spec))
    world.cluster.replace(replace(pod("p3", ready=False), metadata=world.get(Pod, "p3").metadata))
    await scene.violate(scene.violation("Slipped", "p1", ago=LASTS), target=4, slipped=1)
    found = world.recommendation()
    movable = MovablePod(name="p0", uid="uid-p0", budget="rack-a", watts=500.0)
    status = replace(found.status, binding_budget="rack-a", movable_pods=(movable,))
    await world.cluster.write_status(replace(found, status=status))
    await scene.passes(20)
    assert scene.blocked("MigrationRefused")[0] == "PodsNotReady"
    assert scene.there() == ["p0", "p2", "p3"]
