"""What the chart has the API server ask about the objects that people write."""

from __future__ import annotations

import pytest

from tests.cluster.chart import ChartError, rendered_chart
from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.plane import Plane
from wattkeeper.api.admission import ADMISSION_ENABLED, ADMISSION_LABEL


def checks(items: list[Object]) -> list[Object]:
    """Returns the webhooks that check what people write."""
    (found,) = (one for one in items if one["kind"] == "ValidatingWebhookConfiguration")
    return [hook for hook in found["webhooks"] if hook["clientConfig"]["service"]["path"] == "/validate"]


def asked_about(hook: Object) -> set[str]:
    return {
        f"{resource}.{group}" for rule in hook["rules"] for group in rule["apiGroups"] for resource in rule["resources"]
    }


def test_our_kinds_are_asked_about_everywhere_and_workloads_only_where_an_admin_opted_in(plane: Plane) -> None:
    ours, workloads, namespaces = checks(rendered_chart())
    assert asked_about(ours) == {"powerbudgets.wattkeeper.dev", "powercappingpolicies.wattkeeper.dev"}
    assert "namespaceSelector" not in ours
    assert asked_about(workloads) == {
        "deployments.apps",
        "leaderworkersets.leaderworkerset.x-k8s.io",
        "inferenceservices.serving.kserve.io",
        "llminferenceservices.serving.kserve.io",
    }
    assert workloads["namespaceSelector"] == {"matchLabels": {ADMISSION_LABEL: ADMISSION_ENABLED}}
    assert asked_about(namespaces) == {"namespaces."}
    assert namespaces["matchConditions"], "a namespace without anything of ours is asked about"


@pytest.mark.parametrize("policy", ["Ignore", "Fail"])
def test_nobodys_write_waits_for_a_check_that_is_away(plane: Plane, policy: str) -> None:
    for hook in checks(rendered_chart(values={"admission": {"webhook": {"failurePolicy": policy}}})):
        assert (hook["failurePolicy"], hook["sideEffects"]) == ("Ignore", "None")
        assert hook["timeoutSeconds"] <= 5


def test_deletions_and_statuses_are_not_asked_about(plane: Plane) -> None:
    for hook in checks(rendered_chart()):
        for rule in hook["rules"]:
            assert rule["operations"] == ["CREATE", "UPDATE"]
            assert not [resource for resource in rule["resources"] if "/" in resource]


def test_checks_find_and_trust_the_plugin_as_the_webhook_for_pods_does(plane: Plane) -> None:
    items = rendered_chart()
    (mutating,) = (one for one in items if one["kind"] == "MutatingWebhookConfiguration")
    config = mutating["webhooks"][0]["clientConfig"]
    expected = {**config, "service": {**config["service"], "path": "/validate"}}
    assert [hook["clientConfig"] for hook in checks(items)] == [expected] * 3


def test_an_algorithm_that_does_not_exist_is_refused_with_those_that_do(plane: Plane) -> None:
    with pytest.raises(ChartError, match="priority-fair-share"):
        rendered_chart(values={"settings": {"WATTKEEPER_ALGORITHM": "fair-share"}})
