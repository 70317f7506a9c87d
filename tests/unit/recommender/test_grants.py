import numpy as np

from wattkeeper.api.readings import Published, ServiceKey
from wattkeeper.recommender.grants import GrantLog

CHAT, CODE = ServiceKey("llm", "Deployment", "chat"), ServiceKey("llm", "Deployment", "code")


def reach(
    log: GrantLog, *keys: ServiceKey, spec: int = 99, running: int = 0, now: float = 0.0
) -> tuple[list[int], list[int]]:
    count = len(keys)
    outstanding = log.outstanding(keys, running=np.full(count, running), spec_replicas=np.full(count, spec), now=now)
    return outstanding.highest.tolist(), outstanding.rebound.tolist()


def test_a_lowered_grant_counts_until_no_autoscaler_can_act_on_it() -> None:
    log = GrantLog(window_seconds=60)
    log.record((CHAT,), np.array([12]), now=0)
    seen: list[int] = []
    for now in (5.0, 35.0, 60.0, 70.0):
        log.record((CHAT,), np.array([5]), now=now)
        seen += reach(log, CHAT, now=now)[0]
    assert seen == [12, 12, 12, 5]


def test_what_was_granted_before_the_grant_that_an_autoscaler_has_acted_on_is_spent() -> None:
    log = GrantLog(window_seconds=60)
    for now, grant in ((0.0, 12), (5.0, 5), (10.0, 7)):
        log.record((CHAT,), np.array([grant]), now=now)
    before = reach(log, CHAT, spec=12, now=10)[0]
    after = reach(log, CHAT, spec=5, now=10)[0]
    assert (before, after) == ([12], [7])


def test_a_rise_that_stops_short_of_a_grant_spends_what_was_granted_before_it() -> None:
    log = GrantLog(window_seconds=60)
    for now, grant in ((0.0, 3), (5.0, 12), (10.0, 12)):
        log.record((CHAT,), np.array([grant]), now=now)
    assert reach(log, CHAT, spec=3, running=3, now=10) == ([12], [0])
    assert reach(log, CHAT, spec=7, running=7, now=10) == ([12], [0])


def test_a_fall_that_is_no_grant_spends_nothing() -> None:
    log = GrantLog(window_seconds=60)
    for now, grant in ((0.0, 12), (5.0, 5), (10.0, 7)):
        log.record((CHAT,), np.array([grant]), now=now)
    reach(log, CHAT, spec=12, now=10)
    assert reach(log, CHAT, spec=6, now=10)[0] == [12]


def test_an_autoscaler_acts_on_no_grant_from_before_the_window() -> None:
    log = GrantLog(window_seconds=60)
    for now, grant in ((0.0, 5), (5.0, 4), (70.0, 4), (75.0, 5), (80.0, 4)):
        log.record((CHAT,), np.array([grant]), now=now)
        reach(log, CHAT, spec=4, running=4, now=now)
    # It acted on the grant of 75, not on that of 0: the 4 before it will not come back.
    assert reach(log, CHAT, spec=5, running=5, now=85)[1] == [0]


def test_a_dip_that_is_taken_back_may_start_successors_while_the_old_ones_drain() -> None:
    log = GrantLog(window_seconds=60)
    for now, grant in ((0.0, 12), (5.0, 5), (10.0, 11)):
        log.record((CHAT,), np.array([grant]), now=now)
    assert reach(log, CHAT, spec=12, running=12, now=10)[1] == [6]


def test_grants_that_only_rise_start_nothing_twice() -> None:
    log = GrantLog(window_seconds=60)
    for now, grant in ((0.0, 2), (5.0, 5), (10.0, 11)):
        log.record((CHAT,), np.array([grant]), now=now)
    assert reach(log, CHAT, spec=2, running=2, now=10)[1] == [0]


def test_previous_is_the_last_grant_and_minus_one_for_a_new_service() -> None:
    log = GrantLog(window_seconds=60)
    log.record((CHAT,), np.array([3]), now=0)
    assert log.previous((CODE, CHAT)).tolist() == [-1, 3]


def test_grants_follow_services_by_name() -> None:
    log = GrantLog(window_seconds=60)
    log.record((CHAT,), np.array([3]), now=0)
    log.record((CODE, CHAT), np.array([8, 1]), now=5)
    assert reach(log, CHAT, CODE, now=5)[0] == [3, 8]


def test_a_new_leader_starts_from_what_the_last_one_published() -> None:
    log = GrantLog(window_seconds=60)
    log.take_over({CHAT: Published(grant=7, demand=9)}, now=0)
    assert reach(log, CHAT)[0] == [7]


def test_what_is_published_never_overrides_grants_of_our_own() -> None:
    log = GrantLog(window_seconds=60)
    log.record((CHAT,), np.array([3]), now=0)
    log.take_over({CHAT: Published(grant=7, demand=9)}, now=1)
    assert reach(log, CHAT, now=1)[0] == [3]
