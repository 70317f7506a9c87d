"""Which pods could move, and that moving them makes nothing worse. Racks have 1,000 W each, the hall 10,000 W."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.random_worlds import worlds
from tests.unit.power.rows import NOW
from tests.unit.recommender.correction_scene import TICK, APod, AService, Hall
from wattkeeper.api.power_recommendation import MovablePod
from wattkeeper.api.readings import Mode, PodPhase, Published, ServiceKey
from wattkeeper.recommender.movable import MOST_OF_DOMAIN, MOST_OF_SERVICE, MovablePods
from wattkeeper.recommender.settings import RecommenderSettings

LIMIT = 1_000.0
HALL = 10_000.0


class Moves:
    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.movable = MovablePods(RecommenderSettings())

    def pods(self, *, warm: bool = True) -> list[MovablePod]:
        found = self.movable.name(self.hall.scene(), warm=warm)
        self.hall.now += TICK
        return [pod for pods in found.values() for pod in pods]

    def names(self) -> list[str]:
        return [pod.name for pod in self.pods()]


def full_beside_empty(*services: AService, watts: float = 950.0) -> Hall:
    """Rack 0 has a pod of 100 W of each service, and `watts` altogether; rack 1 has nothing."""
    of = services or (AService(),)
    pods = [APod(name=f"p{number}", service=number) for number in range(len(of))]
    return Hall(services=list(of), pods=pods, limit=[HALL, LIMIT, LIMIT], base=[watts - 100.0 * len(pods), 0.0])


def test_a_pod_could_move_from_a_budget_that_is_nearly_used_up_to_one_with_headroom() -> None:
    (pod,) = Moves(full_beside_empty()).pods()
    assert pod == MovablePod(name="p0", uid="uid-p0", budget="budget-1", watts=100.0)


@pytest.mark.parametrize("watts", [500.0, 890.0])
def test_nobody_moves_away_from_a_budget_with_room(watts: float) -> None:
    assert Moves(full_beside_empty(watts=watts)).pods() == []


def test_a_budget_that_is_over_sheds_instead() -> None:
    hall = full_beside_empty(watts=1_050.0)
    hall.over = {1: 50.0}
    assert Moves(hall).pods() == []


def test_a_budget_that_is_nearly_used_up_stays_so_until_it_is_well_below() -> None:
    moves = Moves(full_beside_empty())
    assert moves.names() == ["p0"]
    moves.hall.base[0] -= 70.0
    assert moves.names() == ["p0"]
    moves.hall.base[0] -= 40.0
    assert moves.names() == []
    moves.hall.base[0] += 40.0
    assert moves.names() == []


@pytest.mark.parametrize(
    "service",
    [
        AService(racks=(0,)),
        AService(racks=(0,), unit_watts=10.0),
        AService(size=2),
        AService(rolls=True),
        AService(grant=0),
        AService(gated=False),
        AService(unit_watts=801.0),
    ],
    ids=["nowhere-else", "nowhere-else-but-small", "groups", "rolls", "above-its-grant", "not-steered", "too-big"],
)
def test_who_cannot_move_is_not_named(service: AService) -> None:
    assert Moves(full_beside_empty(service)).pods() == []


def test_what_would_move_is_said_in_mode_off_too() -> None:
    assert Moves(full_beside_empty(AService(mode=Mode.OFF, gated=False))).names() == ["p0"]


def test_a_place_that_would_no_longer_have_headroom_is_none() -> None:
    hall = full_beside_empty()
    hall.base[1] = 701.0
    assert Moves(hall).pods() == []
    hall.base[1] = 700.0
    assert Moves(hall).names() == ["p0"]


def test_headroom_for_one_lets_one_move() -> None:
    hall = full_beside_empty(AService(), AService(), watts=990.0)
    hall.base[1] = 650.0
    assert Moves(hall).names() == ["p0"]
    hall.base[1] = 550.0
    assert Moves(hall).names() == ["p0", "p1"]


def test_the_domain_around_both_needs_room_while_both_pods_are_there() -> None:
    hall = full_beside_empty()
    hall.limit[0] = 1_049.0
    assert Moves(hall).pods() == []
    hall.limit[0] = 1_060.0
    assert Moves(hall).names() == ["p0"]


@pytest.mark.parametrize(
    "pod",
    [
        APod(name="young", created=NOW - RecommenderSettings().settled_seconds + 1.0),
        APod(name="loads", phase=PodPhase.LOADING),
        APod(name="goes", phase=PodPhase.TERMINATING),
        APod(name="of-a-group", group=1),
    ],
    ids=lambda pod: pod.name,
)
def test_pods_that_have_not_settled_stay(pod: APod) -> None:
    hall = full_beside_empty()
    hall.pods = [pod]
    assert Moves(hall).pods() == []


def test_lowest_priorities_move_first_and_no_more_than_needed() -> None:
    hall = full_beside_empty(AService(priority=5), AService(priority=1), AService(priority=9))
    assert Moves(hall).names() == ["p1"]


def test_few_pods_of_a_domain_and_fewer_of_a_service_are_named() -> None:
    hall = Hall(
        services=[AService(), AService(), AService()],
        pods=[APod(name=f"p{number}", service=number // 8, watts=10.0) for number in range(24)],
        limit=[HALL, LIMIT, LIMIT],
        base=[740.0, 0.0],
    )
    pods = Moves(hall).pods()
    of = [int(pod.name[1:]) // 8 for pod in pods]
    assert len(pods) == MOST_OF_DOMAIN
    assert max(of.count(number) for number in range(3)) == MOST_OF_SERVICE


def test_pods_that_were_named_stay_named_when_others_would_come_first() -> None:
    hall = full_beside_empty()
    hall.add(APod(name="other", watts=90.0))
    hall.base[0] -= 90.0
    moves = Moves(hall)
    assert moves.names() == ["p0"]
    hall.pods[1] = replace(hall.pods[1], watts=120.0)
    hall.base[0] -= 30.0
    hall.pods.reverse()
    assert moves.names() == ["p0"]
    hall.gone("p0")
    hall.base[0] += 100.0
    assert moves.names() == ["other"]


def test_a_pod_stays_named_once_its_watts_are_reserved_where_it_goes() -> None:
    moves = Moves(full_beside_empty())
    moves.hall.base[1] = 700.0
    assert moves.names() == ["p0"]
    moves.hall.base[1] += 100.0
    assert moves.names() == ["p0"]


def test_a_new_leader_takes_over_who_could_move() -> None:
    hall = full_beside_empty()
    hall.add(APod(name="other", watts=150.0))
    hall.base[0] -= 150.0
    said = MovablePod(name="p0", uid="uid-p0", budget="budget-1", watts=100.0)
    moves = Moves(hall)
    moves.movable.take_over(
        {ServiceKey("serving", "Deployment", "service-0"): Published(grant=1, demand=1, movable_pods=(said,))}
    )
    assert moves.pods(warm=False) == [said]
    assert moves.names() == ["p0"]


@pytest.mark.parametrize("rack", [0, 1], ids=["where-it-is", "where-it-would-go"])
def test_old_readings_name_nobody_new_and_keep_who_was_named_in_place(rack: int) -> None:
    hall = full_beside_empty()
    hall.stale = {rack}
    moves = Moves(hall)
    assert moves.names() == []
    hall.stale = set()
    assert moves.names() == ["p0"]
    hall.stale = {rack}
    assert moves.names() == ["p0"]


# Whatever the hall looks like.

watts = st.integers(20, 300).map(float)
racks = st.integers(2, 5)


@st.composite
def halls(draw: st.DrawFn) -> Hall:
    count = draw(racks)
    services = [
        AService(
            priority=draw(st.integers(0, 2)),
            unit_watts=draw(watts),
            racks=draw(st.one_of(st.none(), st.lists(st.integers(0, count - 1), min_size=1).map(tuple))),
        )
        for _ in range(draw(st.integers(1, 4)))
    ]
    pods: list[APod] = []
    room = [draw(st.integers(0, 1_000)) for _ in range(count)]
    for number in range(draw(st.integers(0, 16))):
        service, rack = draw(st.integers(0, len(services) - 1)), draw(st.integers(0, count - 1))
        drawn = services[service].unit_watts
        if drawn <= room[rack]:
            room[rack] -= int(drawn)
            pods.append(APod(name=f"p{number}", service=service, rack=rack, watts=drawn))
    base = [draw(st.integers(0, left)) + 0.0 for left in room]
    hall = Hall(services=services, pods=pods, limit=[HALL] + [LIMIT] * count, base=base)
    hall.limit[0] = float(hall.drawn()[0]) * draw(st.floats(1.0, 2.0)) + 1.0
    return hall


def fitting(hall: Hall, drawn: np.ndarray, pod: APod) -> list[int]:
    """Returns racks where a pod may land, that have headroom with it."""
    service = hall.services[pod.service]
    allowed = range(len(hall.base)) if service.racks is None else sorted(set(service.racks))
    low = RecommenderSettings().headroom_share * LIMIT
    return [rack for rack in allowed if rack != pod.rack and drawn[1 + rack] + service.unit_watts <= low]


@worlds(60)
@given(hall=halls(), seed=st.integers(0, 9))
def test_all_that_is_named_may_move_at_once_and_no_domain_is_over_its_limit(hall: Hall, seed: int) -> None:
    random = np.random.default_rng(seed)
    there = {pod.name: pod for pod in hall.pods}
    drawn, limit = hall.drawn(), np.array(hall.limit)
    named = Moves(hall).pods()
    order = [pod.name for pod in hall.pods]
    first = sorted(
        named,
        key=lambda pod: (
            hall.services[there[pod.name].service].priority,
            -there[pod.name].watts,
            order.index(pod.name),
        ),
    )
    for one in first:
        pod = there[one.name]
        assert hall.drawn()[1 + pod.rack] > RecommenderSettings().nearly_used_up_share * LIMIT
        rack = int(random.choice(fitting(hall, drawn, pod)))
        drawn[[0, 1 + rack]] += hall.services[pod.service].unit_watts
    # The old pods are all still there.
    assert not named or (drawn <= limit + 1e-6).all()


@worlds(40)
@given(hall=halls(), seed=st.integers(0, 9))
def test_pods_that_move_come_to_rest(hall: Hall, seed: int) -> None:
    random = np.random.default_rng(seed)
    moves, moved = Moves(hall), list[str]()
    for _ in range(len(hall.pods) + 2):
        there = {pod.name: pod for pod in hall.pods}
        names = moves.names()
        if not names:
            break
        pod = there[names[0]]
        # A pod that goes on being named may have to wait for headroom.
        choice = fitting(hall, hall.drawn(), pod)
        if choice:
            moved.append(pod.name)
            pod.rack = int(random.choice(choice))
    assert len(set(moved)) == len(moved)
