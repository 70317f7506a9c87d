"""Whether a pod may be made to go: PodDisruptionBudgets, floors, rates, rollouts, groups, and a busy API server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from kserve_hooks.capped import Capped, find_capped
from kserve_hooks.disruptions import Claim, Disruptions, Refusal
from kserve_hooks.pods import cost_of
from kserve_hooks.rates import RateOptions
from tests.unit.kserve_hooks.pods_scene import pdb, pod
from tests.unit.kserve_hooks.world import NOW, World
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.power_capping_policy import Disruption, PowerCappingPolicy
from wattkeeper.cluster.disruption import DELETION_COST
from wattkeeper.cluster.objects import Deployment, Node, Pod, PodDisruptionBudget
from wattkeeper.recommender.pods import LWS_NAME_LABEL, LWS_REVISION_LABEL

HOUR = 3600.0
OPTIONS = RateOptions(per_minute=600.0, per_minute_and_budget=600.0)


class Scene:
    """A service of three ready pods, and an hour of leadership behind us."""

    def __init__(self, world: World, options: RateOptions = OPTIONS) -> None:
        self.world = world
        self.disruptions = Disruptions(world.cluster.view, options)
        self.now = NOW
        self.disruptions.begin(self.now)

    async def open(self, *, floor: int = 0, target: int = 3, per_hour: int = 3600, pods: int = 3) -> None:
        self.world.policy(mode="Kill")
        policy = self.world.get(PowerCappingPolicy, "capped")
        spec = replace(policy.spec, disruption=Disruption(max_per_hour=per_hour))
        self.world.cluster.replace(replace(policy, spec=spec))
        self.world.workload("chat-predictor")
        self.world.cluster.create(Node(metadata=ObjectMeta(name="n1")))
        await self.world.recommend(target, mode="Kill", floor=floor)
        for number in range(pods):
            self.world.cluster.create(pod(f"p{number}"))
        self.later(HOUR)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.disruptions.begin(self.now)

    def service(self, name: str = "chat-predictor") -> Capped:
        every = find_capped(self.world.cluster.view)
        return next(one for one in every if one.recommendation.spec.scale_target_ref.name == name)

    def claim(
        self, name: str = "p0", *, budget: str = "rack-a", rolling: bool = False, service: str = "chat-predictor"
    ) -> Claim | Refusal:
        found = self.world.get(Pod, name)
        return self.disruptions.claim(self.service(service), found, budget=budget, now=self.now, rolling=rolling)

    def claimed(self, name: str = "p0") -> Claim:
        found = self.claim(name)
        assert isinstance(found, Claim)
        return found

    def refused(self, name: str = "p0", *, rolling: bool = False) -> str:
        found = self.claim(name, rolling=rolling)
        return found.reason if isinstance(found, Refusal) else ""

    def done(self, name: str) -> None:
        self.disruptions.done(self.claimed(name), self.now)

    async def another(self) -> None:
        """Makes another service with a pod, that is called `other`."""
        self.world.workload("other")
        await self.world.recommend(1, name="other", mode="Kill")
        self.world.cluster.create(pod("other", service="other"))
        self.later(1.0)


@pytest.fixture
async def scene(world: World) -> Scene:
    made = Scene(world)
    await made.open()
    return made


def test_a_pod_that_nothing_keeps_may_go(scene: Scene) -> None:
    assert isinstance(scene.claim(), Claim)


def test_a_budget_that_allows_none_keeps_it_and_is_named(scene: Scene) -> None:
    scene.world.cluster.create(pdb(0))
    scene.later(1.0)
    found = scene.claim()
    assert isinstance(found, Refusal)
    assert (found.reason, "PodDisruptionBudget chat" in found.message) == ("Protected", True)


def test_a_budget_of_other_pods_keeps_nobody(scene: Scene) -> None:
    scene.world.cluster.create(pdb(0, app="other"))
    scene.later(1.0)
    assert scene.refused() == ""


def test_a_budget_is_asked_only_for_what_its_controller_has_counted(scene: Scene) -> None:
    scene.world.cluster.create(pdb(3, seen=False))
    scene.later(1.0)
    assert scene.refused() == "Protected"


def test_more_than_one_budget_forbids_whatever_they_allow(scene: Scene) -> None:
    scene.world.cluster.create(pdb(3, name="one"))
    scene.world.cluster.create(pdb(3, name="two"))
    scene.later(1.0)
    found = scene.claim()
    assert isinstance(found, Refusal)
    assert "one, two all select the pod" in found.message


def test_a_budget_counts_what_the_pass_has_taken_already(scene: Scene) -> None:
    scene.world.cluster.create(pdb(1))
    scene.later(1.0)
    assert (scene.refused("p0"), scene.refused("p1")) == ("", "Protected")
    scene.later(1.0)
    assert scene.refused("p1") == ""


def test_what_does_not_run_yet_is_protected_by_nobody(scene: Scene) -> None:
    scene.world.cluster.create(pdb(0))
    scene.world.cluster.create(pod("new", ready=False, phase="Pending"))
    scene.later(1.0)
    assert scene.refused("new") == ""


def test_what_the_api_server_keeps_is_left_alone_for_a_while(scene: Scene) -> None:
    scene.disruptions.kept(scene.world.get(Pod, "p0"), "needs 3 healthy pods", scene.now)
    found = scene.claim("p0")
    assert isinstance(found, Refusal)
    assert (found.reason, found.message) == ("Protected", "needs 3 healthy pods")
    assert scene.refused("p1") == ""
    scene.later(60.0)
    assert scene.refused("p0") == ""


@pytest.mark.parametrize(("asked", "waits"), [(20.0, 20.0), (None, 10.0), (86_400.0, 60.0)])
async def test_nobody_of_any_service_goes_while_the_api_server_is_busy_or_not_there(
    scene: Scene, asked: float | None, waits: float
) -> None:
    await scene.another()
    scene.disruptions.unheard(scene.claimed(), asked, scene.now)
    scene.later(waits - 1.0)
    assert scene.refused() == "ApiServerBusy"
    assert isinstance(scene.claim("other", service="other"), Refusal)
    scene.later(1.0)
    assert scene.refused() == ""


async def test_what_the_api_server_fails_at_holds_back_its_service_alone(scene: Scene) -> None:
    await scene.another()
    scene.disruptions.failed(scene.claimed("p0"), "failed calling webhook (HTTP 500)", None, scene.now)
    found = scene.claim("p1")
    assert isinstance(found, Refusal)
    assert found.reason == "EvictionFailed"
    assert found.message.endswith("Deployment chat-predictor: failed calling webhook (HTTP 500)")
    assert isinstance(scene.claim("other", service="other"), Claim)
    scene.later(29.0)
    assert scene.refused("p1") == "EvictionFailed"
    scene.later(1.0)
    assert scene.refused("p1") == ""


async def test_a_service_whose_pod_could_not_be_evicted_is_left_alone_for_as_long_as_it_is_asked(scene: Scene) -> None:
    scene.disruptions.failed(scene.claimed("p0"), "conflicts (HTTP 504)", 45.0, scene.now)
    scene.later(44.0)
    assert scene.refused() == "EvictionFailed"
    scene.later(1.0)
    assert scene.refused() == ""


async def test_a_try_that_failed_counts_and_rates_that_hold_back_the_next_one_tell_of_it(world: World) -> None:
    scene = Scene(world)
    await scene.open(per_hour=12)
    scene.disruptions.failed(scene.claimed("p0"), "failed calling webhook (HTTP 500)", None, scene.now)
    scene.later(299.0)
    found = scene.claim("p0")
    assert isinstance(found, Refusal)
    assert (found.reason, found.message.endswith("failed: failed calling webhook (HTTP 500)")) == ("RateLimited", True)
    scene.later(1.0)
    scene.done("p0")
    found = scene.claim("p1")
    assert isinstance(found, Refusal)
    assert (found.reason, "webhook" in found.message) == ("RateLimited", False)


async def test_the_floor_of_ready_pods_is_kept(world: World) -> None:
    scene = Scene(world)
    await scene.open(floor=2)
    world.cluster.create(pod("starting", ready=False))
    scene.later(1.0)
    assert scene.refused("p0") == ""
    assert scene.refused("p1") == "FloorReached"
    assert scene.refused("starting") == ""


def test_a_rollout_forbids_unless_it_is_for_it(scene: Scene) -> None:
    scene.world.cluster.create(pod("new", template="t2", ready=False))
    scene.later(1.0)
    assert scene.refused() == "RollingOut"
    assert scene.refused(rolling=True) == ""


def test_a_template_that_its_controller_has_not_seen_yet_is_a_rollout(scene: Scene) -> None:
    found = scene.world.get(Deployment, "chat-predictor")
    spec = replace(found.spec, replicas=7)
    status = replace(found.status, observed_generation=found.metadata.generation)
    scene.world.cluster.replace(replace(found, spec=spec, status=status))
    scene.later(1.0)
    assert scene.refused() == "RollingOut"


async def test_no_pod_of_a_group_goes_by_itself(world: World) -> None:
    scene = Scene(world)
    await scene.open()
    labels = {LWS_NAME_LABEL: "chat-predictor", LWS_REVISION_LABEL: "r1"}
    found = world.get(Pod, "p0")
    world.cluster.replace(replace(found, metadata=replace(found.metadata, labels=labels)))
    one = scene.service()
    target = replace(one.recommendation.spec.scale_target_ref, kind="LeaderWorkerSet")
    world.cluster.replace(replace(one.recommendation, spec=replace(one.recommendation.spec, scale_target_ref=target)))
    scene.later(1.0)
    assert scene.disruptions.claim(scene.service(), found, budget="", now=scene.now) == Refusal(
        reason="GroupsGoInOrder",
        message="A LeaderWorkerSet removes the group with the highest number: no pod of it is evicted.",
    )


async def test_a_new_term_begins_with_nothing_saved_up(world: World) -> None:
    scene = Scene(world)
    await scene.open(per_hour=60)
    scene.disruptions = Disruptions(world.cluster.view, OPTIONS)
    scene.later(0.0)
    assert scene.refused() == "RateLimited"
    scene.later(59.0)
    assert scene.refused() == "RateLimited"
    scene.later(1.0)
    assert scene.refused() == ""


LIMITS: dict[str, Callable[[], tuple[int, RateOptions, str]]] = {
    "service": lambda: (60, RateOptions(per_minute=600.0, per_minute_and_budget=600.0), "maxPerHour of the policy is"),
    "budget": lambda: (3600, RateOptions(per_minute=600.0, per_minute_and_budget=1.0), "AND_BUDGET is 1"),
    "all": lambda: (3600, RateOptions(per_minute=1.0, per_minute_and_budget=600.0), "PER_MINUTE is 1"),
}


@pytest.mark.parametrize("limit", LIMITS)
async def test_each_limit_lets_one_go_a_minute_and_says_so(world: World, limit: str) -> None:
    per_hour, options, words = LIMITS[limit]()
    scene = Scene(world, options)
    await scene.open(per_hour=per_hour)
    scene.done("p0")
    found = scene.claim("p1")
    assert isinstance(found, Refusal)
    assert (found.reason, words in found.message) == ("RateLimited", True)
    scene.later(59.0)
    assert scene.refused("p1") == "RateLimited"
    scene.later(1.0)
    assert scene.refused("p1") == ""


async def test_a_refusal_reads_the_same_whichever_of_the_shared_limits_it_is(world: World) -> None:
    scene = Scene(world, RateOptions(per_minute=2.0, per_minute_and_budget=1.0))
    await scene.open()
    scene.done("p0")
    scene.later(30.0)
    by_budget = scene.claim("p2")
    assert isinstance(scene.claim("p1", budget="rack-b"), Claim)
    by_all = scene.claim("p2")
    assert isinstance(by_all, Refusal)
    assert by_all == by_budget


async def test_what_was_claimed_and_not_done_costs_nothing(world: World) -> None:
    scene = Scene(world)
    await scene.open(per_hour=60)
    assert (scene.refused("p0"), scene.refused("p1")) == ("", "RateLimited")
    scene.later(1.0)
    assert scene.refused("p1") == ""


async def test_a_policy_that_allows_none_lets_none_go(world: World) -> None:
    scene = Scene(world)
    await scene.open(per_hour=0)
    scene.later(100 * HOUR)
    assert scene.refused() == "RateLimited"


@pytest.mark.parametrize(
    ("text", "cost"), [("", 0), ("7", 7), ("-7", -7), ("+7", 7), ("1.5", 0), ("x", 0), ("²", 0), ("3000000000", 0)]
)
def test_a_cost_is_read_as_kubernetes_reads_it(text: str, cost: int) -> None:
    assert cost_of(pod("p", annotations={DELETION_COST: text})) == cost


def test_a_budget_without_a_selector_selects_nobody(scene: Scene) -> None:
    made = pdb(0)
    scene.world.cluster.create(replace(made, spec=replace(made.spec, selector=None)))
    assert len(scene.world.cluster.view.all(PodDisruptionBudget)) == 1
    scene.later(1.0)
    assert scene.refused() == ""
