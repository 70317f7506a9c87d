"""What may exist without any new decision."""

from __future__ import annotations

import numpy as np

from tests.unit.power.rows import ints, service_rows
from wattkeeper.recommender.commitments import Commitments, commitments
from wattkeeper.recommender.grants import Outstanding
from wattkeeper.recommender.replicas import Replicas


def committed(
    *, gated: bool, active: int = 0, spec: int = 0, granted: int = -1, told: int = -1, warm: bool = True
) -> Commitments:
    services = service_rows(gated=np.array([gated]), spec_replicas=ints(spec, 1))
    replicas = Replicas(active=ints(active, 1), pending=ints(1, 1), waiting=ints(0, 1), missing=np.zeros(1))
    outstanding = Outstanding(highest=ints(granted, 1), rebound=ints(2, 1))
    return commitments(services, replicas, outstanding, ints(told, 1), warm=warm)


def test_without_a_gate_a_spec_is_a_commitment() -> None:
    found = committed(gated=False, active=2, spec=5, granted=4)
    assert (found.started.tolist(), found.committed.tolist(), found.rebound.tolist()) == ([5], [5], [2])


def test_at_a_gate_it_is_none_and_successors_cannot_start_beside_what_drains() -> None:
    found = committed(gated=True, active=2, spec=9, granted=4)
    assert (found.started.tolist(), found.committed.tolist(), found.rebound.tolist()) == ([4], [4], [0])


def test_pods_past_the_gate_are_committed_beyond_the_grant() -> None:
    assert committed(gated=True, active=5, granted=4).committed.tolist() == [6]


def test_what_autoscalers_are_told_counts_like_a_grant() -> None:
    assert committed(gated=True, granted=3, told=7).committed.tolist() == [7]


def test_until_anything_was_granted_or_decided_the_spec_stands_for_a_grant() -> None:
    assert committed(gated=True, spec=3, warm=False).committed.tolist() == [3]
    assert committed(gated=True, spec=3, granted=2, warm=False).committed.tolist() == [2]
    assert committed(gated=True, spec=3).committed.tolist() == [1]
