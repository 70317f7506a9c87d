"""What the stand-in for metrics-server says of a pod, without a control plane."""

from __future__ import annotations

import datetime as dt

from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.metrics_api import pod_metrics

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC).timestamp()


def _pod(*, started: str, ended: bool = False) -> Object:
    state: Object = {"terminated": {"exitCode": 0}} if ended else {"running": {"startedAt": started}}
    return {
        "metadata": {"name": "llm-0", "namespace": "team", "labels": {"app": "llm"}},
        "status": {"containerStatuses": [{"name": "server", "state": state}]},
    }


def test_a_pod_is_unknown_until_it_has_run_for_a_whole_window() -> None:
    pod = _pod(started="2026-01-01T11:59:59.500000Z")
    assert pod_metrics(pod, {}, NOON + 0.9) is None
    found = pod_metrics(pod, {}, NOON + 1.0)
    assert found is not None
    assert (found["timestamp"], found["window"]) == ("2026-01-01T12:00:01Z", "1s")


def test_a_pod_whose_containers_have_ended_is_unknown() -> None:
    assert pod_metrics(_pod(started="2026-01-01T11:00:00Z", ended=True), {}, NOON) is None


def test_usage_that_was_set_goes_before_the_usual_one() -> None:
    found = pod_metrics(_pod(started="2026-01-01T11:00:00Z"), {"server": {"cpu": "3"}}, NOON)
    assert found is not None
    assert found["containers"] == [{"name": "server", "usage": {"cpu": "3", "memory": "262144Ki"}}]
