import numpy as np

from wattkeeper.api.readings import Published, ServiceKey
from wattkeeper.recommender.grants import GrantLog

CHAT, CODE = ServiceKey("llm", "Deployment", "chat"), ServiceKey("llm", "Deployment", "code")


def test_a_lowered_grant_counts_until_no_autoscaler_can_act_on_it() -> None:
    log = GrantLog(window_seconds=60)
    log.record((CHAT,), np.array([12]), now=0)
    seen: list[int] = []
    for now in (5.0, 35.0, 60.0, 65.0):
        log.record((CHAT,), np.array([5]), now=now)
        seen.append(int(log.highest((CHAT,))[0]))
    assert seen == [12, 12, 12, 5]


def test_previous_is_the_last_grant_and_minus_one_for_a_new_service() -> None:
    log = GrantLog(window_seconds=60)
    log.record((CHAT,), np.array([3]), now=0)
    assert log.previous((CODE, CHAT)).tolist() == [-1, 3]


def test_grants_follow_services_by_name() -> None:
    log = GrantLog(window_seconds=60)
    log.record((CHAT,), np.array([3]), now=0)
    log.record((CODE, CHAT), np.array([8, 1]), now=5)
    assert log.highest((CHAT, CODE)).tolist() == [3, 8]


def test_a_new_leader_starts_from_what_the_last_one_published() -> None:
    log = GrantLog(window_seconds=60)
    log.take_over({CHAT: Published(grant=7, demand=9)}, now=0)
    assert log.highest((CHAT,)).tolist() == [7]


def test_what_is_published_never_overrides_grants_of_our_own() -> None:
    log = GrantLog(window_seconds=60)
    log.record((CHAT,), np.array([3]), now=0)
    log.take_over({CHAT: Published(grant=7, demand=9)}, now=1)
    assert log.highest((CHAT,)).tolist() == [3]
