"""Which pods are named for violations, since when, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.recommender.correction_scene import TICK, APod, AService, Hall
from wattkeeper.api.instants import format_instant
from wattkeeper.api.power_recommendation import Violation
from wattkeeper.api.readings import PodPhase, Published, ServiceKey
from wattkeeper.recommender.corrections import SETTLING_SECONDS, Corrections
from wattkeeper.recommender.settings import RecommenderSettings
from wattkeeper.recommender.violation_log import GRACE_SECONDS

RACK, OTHER_RACK = 1, 2
OLD = -10_000.0
HALL = 20_000.0


def service(number: int = 0) -> ServiceKey:
    return ServiceKey("serving", "Deployment", f"service-{number}")


class Ticks:
    """A hall, looked at every five seconds."""

    def __init__(self, hall: Hall, *, published: dict[ServiceKey, Published] | None = None) -> None:
        self.hall = hall
        self.published = published or {}
        self.corrections = Corrections(RecommenderSettings())

    def tick(self, *, warm: bool = True) -> dict[ServiceKey, tuple[Violation, ...]]:
        scene = self.hall.scene()
        scene = replace(scene, readings=replace(scene.readings, published=self.published))
        found = self.corrections.name(scene, warm=warm).violations
        self.hall.now += TICK
        return dict(found)

    def wait(self, seconds: float) -> dict[ServiceKey, tuple[Violation, ...]]:
        found = self.tick()
        for _ in range(int(seconds / TICK)):
            found = self.tick()
        return found

    def named(self, number: int = 0) -> list[tuple[str, list[str]]]:
        return named(self.tick(), number)


def named(found: dict[ServiceKey, tuple[Violation, ...]], number: int = 0) -> list[tuple[str, list[str]]]:
    return [(one.type, [pod.name for pod in one.pods]) for one in found.get(service(number), ())]


def over_rack(*pods: APod, watts: float = 150.0, services: list[AService] | None = None) -> Hall:
    return Hall(services=services or [AService()], pods=list(pods), over={RACK: watts})


# Budgets.


def test_a_budget_that_is_over_names_pods_that_cover_it_and_says_by_how_much() -> None:
    hall = over_rack(APod(name="a", watts=100.4), APod(name="b", watts=90.0), APod(name="c", watts=80.0))
    (found,) = Ticks(hall).tick()[service()]
    assert (found.type, found.budget, found.watts) == ("Budget", "budget-1", 150.0)
    assert [(pod.name, pod.uid, pod.watts) for pod in found.pods] == [("a", "uid-a", 100.0), ("b", "uid-b", 90.0)]


def test_what_the_policy_tolerates_is_no_violation() -> None:
    pods = (APod(name="a"), APod(name="b", service=1))
    hall = over_rack(*pods, services=[AService(tolerance=0.2), AService(tolerance=0.1)])
    found = Ticks(hall).tick()
    assert (named(found, 0), named(found, 1)) == ([], [("Budget", ["b"])])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (APod(name="a", tokens=10.0), APod(name="b", tokens=90.0)),
        (APod(name="a", tokens=10.0, watts=90.0), APod(name="b", tokens=20.0, watts=100.0)),
        (APod(name="a", phase=PodPhase.LOADING), APod(name="b", tokens=1.0)),
        (APod(name="a", tokens=0.0), APod(name="b", tokens=1.0)),
        (APod(name="a", tokens=1.0), APod(name="b")),
        (APod(name="a", watts=110.0), APod(name="b", created=5.0)),
        (APod(name="a", created=5.0), APod(name="b", created=4.0)),
        (APod(name="a", slipped=True), APod(name="b", tokens=0.0)),
    ],
    ids=["watts-per-token", "by-ratio", "loading", "idle", "unknown-last", "watts", "youngest", "slipped"],
)
@pytest.mark.parametrize("turned", [False, True])
def test_who_wastes_most_goes_first_then_who_draws_most_then_the_youngest(
    first: APod, second: APod, *, turned: bool
) -> None:
    pods = (second, first) if turned else (first, second)
    assert Ticks(over_rack(*pods, watts=50.0)).named() == [("Budget", ["a"])]
    shrinking = Hall(services=[AService(grant=1)], pods=list(pods))
    assert Ticks(shrinking).named() == [("Replicas", ["a"])]


def test_lower_priorities_go_first_whoever_wastes() -> None:
    hall = over_rack(
        APod(name="high", tokens=0.0),
        APod(name="low", service=1, tokens=900.0),
        watts=50.0,
        services=[AService(priority=9), AService(priority=1)],
    )
    found = Ticks(hall).tick()
    assert (named(found, 0), named(found, 1)) == ([], [("Budget", ["low"])])


def test_pods_that_were_named_stay_named_when_others_come_to_waste_more() -> None:
    hall = over_rack(APod(name="a", tokens=10.0), APod(name="b", tokens=20.0), APod(name="c", tokens=30.0))
    ticks = Ticks(hall)
    assert ticks.named() == [("Budget", ["a", "b"])]
    hall.pods = [replace(pod, tokens=100.0 - pod.tokens) for pod in hall.pods]
    hall.add(APod(name="d", tokens=0.0))
    assert ticks.named() == [("Budget", ["a", "b"])]
    hall.gone("a")
    assert ticks.named() == [("Budget", ["b", "d"])]


def test_a_pod_stays_named_among_many_that_are_too_many() -> None:
    hall = over_rack(APod(name="a"), watts=50.0, services=[AService(), AService(grant=0)])
    ticks = Ticks(hall)
    ticks.tick()
    hall.add(*(APod(name=f"n{number}", service=1) for number in range(20)))
    assert ticks.named() == [("Budget", ["a"])]


def test_after_a_flicker_the_same_pod_has_to_go() -> None:
    hall = over_rack(APod(name="a", tokens=10.0), APod(name="b", tokens=20.0), watts=50.0)
    ticks = Ticks(hall)
    ticks.tick()
    hall.over = {}
    ticks.tick()
    hall.pods = [replace(pod, tokens=30.0 - pod.tokens) for pod in hall.pods]
    hall.over = {RACK: 50.0}
    assert ticks.named() == [("Budget", ["a"])]


def test_a_budget_violation_lasts_while_what_drains_is_enough() -> None:
    hall = over_rack(APod(name="a"), APod(name="b"), watts=50.0)
    ticks = Ticks(hall)
    since = ticks.tick()[service()][0].since
    hall.pods[0] = replace(hall.pods[0], phase=PodPhase.TERMINATING)
    found = ticks.wait(2 * GRACE_SECONDS)[service()]
    assert [(one.since, one.pods) for one in found] == [(since, ())]


def test_once_what_drains_should_have_ended_the_next_pod_is_named() -> None:
    hall = over_rack(APod(name="a"), APod(name="b"), watts=50.0)
    ticks = Ticks(hall)
    since = ticks.tick()[service()][0].since
    hall.pods[0] = replace(hall.pods[0], phase=PodPhase.TERMINATING, since=hall.now)
    assert ticks.wait(60)[service()][0].pods == ()
    (found,) = ticks.tick()[service()]
    assert (found.since, [pod.name for pod in found.pods]) == (since, ["b"])


def test_of_many_budgets_that_are_over_those_are_told_that_have_been_so_for_longest() -> None:
    hall = Hall(limit=[HALL] + [1_000.0] * 14, base=[0.0] * 14, over={14: 50.0})
    hall.add(*(APod(name=f"p{rack:02}", rack=rack) for rack in range(14)))
    ticks = Ticks(hall)
    ticks.tick()
    hall.over = {1 + rack: 50.0 for rack in range(14)}
    budgets = [one.budget for one in ticks.tick()[service()]]
    assert (len(budgets), budgets[0]) == (10, "budget-14")


# Since when.


def test_a_violation_says_since_when() -> None:
    ticks = Ticks(over_rack(APod(name="a")))
    began = ticks.hall.now
    assert ticks.wait(60)[service()][0].since == format_instant(began)


def test_a_violation_that_flickers_has_begun_once() -> None:
    ticks = Ticks(over_rack(APod(name="a")))
    since = ticks.tick()[service()][0].since
    ticks.hall.over = {}
    (between,) = ticks.tick()[service()]
    ticks.hall.over = {RACK: 150.0}
    (after,) = ticks.tick()[service()]
    assert (between.since, between.pods, after.since) == (since, (), since)
    assert [pod.name for pod in after.pods] == ["a"]


def test_a_violation_ends_when_it_has_been_away_for_long_enough() -> None:
    ticks = Ticks(over_rack(APod(name="a")))
    ticks.tick()
    ticks.hall.over = {}
    assert service() not in ticks.wait(GRACE_SECONDS)
    ticks.hall.over = {RACK: 150.0}
    began = ticks.hall.now
    assert ticks.tick()[service()][0].since == format_instant(began)


def test_a_service_that_is_gone_violates_nothing() -> None:
    ticks = Ticks(over_rack(APod(name="a", service=1), services=[AService(), AService()]))
    ticks.tick()
    ticks.hall.services, ticks.hall.pods = [AService()], []
    assert ticks.wait(GRACE_SECONDS) == {}


def test_a_new_leader_takes_over_since_when_and_which_pods() -> None:
    pods = [APod(name="a", tokens=10.0), APod(name="b", tokens=20.0, created=0.0)]
    ticks = Ticks(Hall(services=[AService(grant=1, least=2.0)], pods=pods, over={RACK: 50.0}))
    said = ticks.tick()
    hall = Hall(services=[AService(grant=1, least=2.0)], pods=pods[::-1], over={RACK: 50.0}, now=ticks.hall.now)
    hall.pods = [replace(pod, tokens=30.0 - pod.tokens) for pod in hall.pods]
    published = {key: Published(grant=1, demand=1, violations=one) for key, one in said.items()}
    successor = Ticks(hall, published=published)
    assert successor.tick(warm=False) == said
    found = successor.tick()
    assert [(one.type, one.since) for one in found[service()]] == [(one.type, one.since) for one in said[service()]]
    assert sorted(named(found)) == sorted(named(said))


def test_nothing_begins_before_caches_are_warm() -> None:
    assert Ticks(over_rack(APod(name="a"))).tick(warm=False) == {}


# Old readings.


def test_old_readings_begin_no_violation_and_name_nobody() -> None:
    hall = Hall(
        services=[AService(grant=0, least=9.0)], pods=[APod(name="a", tokens=1.0)], over={RACK: 50.0}, stale={0}
    )
    assert Ticks(hall).tick() == {}


def test_old_readings_name_nobody_new_and_end_nothing() -> None:
    hall = over_rack(APod(name="a"), APod(name="b"), watts=50.0, services=[AService(grant=1)])
    ticks = Ticks(hall)
    before = ticks.tick()
    hall.stale, hall.over, hall.services[0].grant = {0}, {RACK: 150.0}, 0
    assert named(ticks.tick()) == named(before) == [("Budget", ["a"]), ("Replicas", ["a"])]
    hall.over, hall.services[0].grant = {}, 2
    found = ticks.wait(60)[service()]
    assert [(one.type, one.since, one.pods) for one in found] == [
        (one.type, one.since, ()) for one in before[service()]
    ]
    hall.stale = set()
    assert ticks.wait(GRACE_SECONDS) == {}


def test_a_pod_of_too_little_performance_stays_named_while_readings_are_old() -> None:
    hall = Hall(services=[AService(least=2.0)], pods=[APod(name="a", tokens=100.0)])
    ticks = Ticks(hall)
    before = ticks.tick()
    hall.pods[0].age_seconds = 500.0
    found = ticks.wait(60)
    assert named(found) == named(before) == [("Performance", ["a"])]
    assert (before[service()][0].watts > 0.0, found[service()][0].watts) == (True, 0.0)
    assert found[service()][0].since == before[service()][0].since


# Replicas.


def test_as_many_pods_as_are_too_many_are_named() -> None:
    pods = [APod(name=f"p{number}", created=float(number)) for number in range(5)]
    assert Ticks(Hall(services=[AService(grant=3)], pods=pods)).named() == [("Replicas", ["p4", "p3"])]


def test_no_more_than_ten_are_named() -> None:
    pods = [APod(name=f"p{number}") for number in range(30)]
    ((_, names),) = Ticks(Hall(services=[AService(grant=3)], pods=pods)).named()
    assert len(names) == 10


def test_pods_in_domains_that_are_over_or_bind_go_first() -> None:
    pods = [APod(name="fine", rack=0, tokens=0.0), APod(name="bound", rack=1, tokens=5.0)]
    binding = Hall(services=[AService(grant=1, binding=OTHER_RACK)], pods=pods)
    over = Hall(services=[AService(grant=1)], pods=pods, over={OTHER_RACK: 5.0})
    assert Ticks(binding).named() == [("Replicas", ["bound"])]
    assert Ticks(over).named() == [("Budget", ["bound"]), ("Replicas", ["bound"])]


def test_those_that_were_named_stay_while_more_have_to_go_or_fewer() -> None:
    hall = Hall(
        services=[AService(grant=3)], pods=[APod(name=f"p{number}", tokens=10.0 + number) for number in range(5)]
    )
    ticks = Ticks(hall)
    assert ticks.named() == [("Replicas", ["p0", "p1"])]
    hall.pods = [replace(pod, tokens=100.0 - pod.tokens) for pod in hall.pods]
    assert ticks.named() == [("Replicas", ["p0", "p1"])]
    hall.services[0].grant = 2
    assert ticks.named() == [("Replicas", ["p0", "p1", "p4"])]
    hall.services[0].grant = 4
    assert ticks.named() == [("Replicas", ["p0"])]


def test_of_a_leader_worker_set_the_highest_group_goes_first() -> None:
    pods = [
        APod(name=f"g{group}-{number}", group=group, watts=100.0 - group) for group in range(3) for number in (0, 1)
    ]
    assert Ticks(Hall(services=[AService(grant=2, size=2)], pods=pods)).named() == [("Replicas", ["g2-0", "g2-1"])]


def test_terminating_and_waiting_pods_are_not_too_many() -> None:
    pods = [
        APod(name="a"),
        APod(name="gone", phase=PodPhase.TERMINATING),
        APod(name="waits", rack=-1, phase=PodPhase.GATED),
    ]
    assert Ticks(Hall(services=[AService(grant=1)], pods=pods)).tick() == {}


# Slipped.


def test_pods_that_slip_past_a_gate_that_stands_are_named() -> None:
    hall = Hall(pods=[APod(name="before", slipped=True, created=OLD)])
    ticks = Ticks(hall)
    assert ticks.tick() == {}
    hall.now += 2 * SETTLING_SECONDS
    hall.add(APod(name="slips", slipped=True, created=hall.now), APod(name="passes", created=hall.now))
    assert ticks.named() == [("Slipped", ["slips"])]
    hall.stale = {0}
    assert ticks.named() == [("Slipped", ["slips"])]


def test_a_new_leader_goes_on_naming_what_had_slipped() -> None:
    ticks = Ticks(Hall())
    ticks.tick()
    ticks.hall.now += 2 * SETTLING_SECONDS
    slipped = [APod(name=name, slipped=True, created=ticks.hall.now) for name in ("a", "b")]
    ticks.hall.add(slipped[0])
    said = {key: Published(grant=1, demand=1, violations=one) for key, one in ticks.tick().items()}
    successor = Ticks(Hall(pods=slipped, now=ticks.hall.now), published=said)
    assert successor.named() == [("Slipped", ["a"])]


def test_pods_that_come_while_webhooks_learn_of_the_gate_are_not_meant() -> None:
    hall = Hall(pods=[])
    ticks = Ticks(hall)
    ticks.tick()
    hall.add(APod(name="early", slipped=True, created=hall.now))
    hall.now += 2 * SETTLING_SECONDS
    assert ticks.tick() == {}


# Performance.


def test_a_pod_below_its_target_is_named_with_the_watts_that_it_wastes() -> None:
    pods = [APod(name="lazy", tokens=50.0), APod(name="busy", tokens=300.0)]
    (found,) = Ticks(Hall(services=[AService(least=2.0)], pods=pods)).tick()[service()]
    assert (found.type, found.watts, [pod.name for pod in found.pods]) == ("Performance", 75.0, ["lazy"])


@pytest.mark.parametrize(
    "pod",
    [
        APod(name="idles", tokens=5.0),
        APod(name="unknown"),
        APod(name="old", tokens=50.0, age_seconds=500.0),
        APod(name="loads", tokens=50.0, phase=PodPhase.LOADING),
        APod(name="of-a-group", tokens=50.0, group=1),
        APod(name="reaches-it", tokens=200.0),
    ],
    ids=lambda pod: pod.name,
)
def test_what_idles_or_is_not_known_does_not_violate_it(pod: APod) -> None:
    assert Ticks(Hall(services=[AService(least=2.0, idle=5.0)], pods=[pod])).tick() == {}


def test_each_pod_has_to_be_below_its_target_for_long_by_itself() -> None:
    hall = Hall(services=[AService(least=2.0)], pods=[APod(name="a", tokens=50.0), APod(name="b", tokens=300.0)])
    ticks = Ticks(hall)
    first = ticks.hall.now
    ticks.wait(30)
    hall.pods[1].tokens = 20.0
    second = ticks.hall.now
    found = ticks.tick()[service()]
    assert [(one.since, [pod.name for pod in one.pods]) for one in found] == [
        (format_instant(first), ["a"]),
        (format_instant(second), ["b"]),
    ]


# Whatever happens.

change = st.tuples(
    st.sampled_from(["over", "grant", "tokens", "stale", "gone", "come"]), st.integers(0, 3), st.integers(0, 400)
)


@settings(max_examples=80, deadline=None)
@given(changes=st.lists(change, max_size=40))
def test_named_pods_are_there_are_the_services_own_and_no_more_than_suffice(
    changes: list[tuple[str, int, int]],
) -> None:
    services = [AService(priority=number, least=1.0) for number in range(2)]
    hall = Hall(services=services, pods=[APod(name=f"p{number}", service=number % 2) for number in range(6)])
    ticks = Ticks(hall)
    for number, (what, which, value) in enumerate(changes):
        match what:
            case "over":
                hall.over = {which: float(value)} if which < 3 else {}
            case "grant":
                hall.services[which % 2].grant = value % 5
            case "stale":
                hall.stale = {which} if which < 2 else set()
            case "tokens" if hall.pods:
                hall.pods[which % len(hall.pods)].tokens = float(value)
            case "gone" if hall.pods:
                del hall.pods[which % len(hall.pods)]
            case _:
                hall.add(APod(name=f"n{number}", service=which % 2, rack=which % 2, created=float(value)))
        scene = hall.scene()
        there = {pod.name: pod for pod in hall.pods}
        for key, violations in ticks.tick().items():
            row = scene.readings.services.keys.index(key)
            kinds = [
                (one.type, one.budget, one.pods[0].uid if one.type == "Performance" and one.pods else "")
                for one in violations
            ]
            assert len(set(kinds)) == len(kinds) or any(not one.pods for one in violations)
            for one in violations:
                assert len(one.pods) <= 10
                assert len({pod.uid for pod in one.pods}) == len(one.pods)
                assert all(there[pod.name].service == row for pod in one.pods)
                if one.type == "Replicas":
                    assert len(one.pods) <= max(scene.active[row] - hall.services[row].grant, 0)
                if one.type == "Budget" and one.pods:
                    over = hall.over[scene.readings.budgets.names.index(one.budget)]
                    assert sum(there[pod.name].watts for pod in one.pods[:-1]) < over
