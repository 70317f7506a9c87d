"""What is written out and what counts as absent."""

from __future__ import annotations

import msgspec
import pytest

from wattkeeper.api.meta import LabelExpression, LabelSelector, ObjectMeta, OwnerReference
from wattkeeper.api.power_budget import PowerBudget, PowerBudgetSpec, PowerBudgetStatus
from wattkeeper.api.power_capping_policy import Demand, PowerCappingPolicy, PowerCappingPolicySpec
from wattkeeper.cluster.encoding import applied, written


def test_zeros_and_defaults_that_say_something_are_written() -> None:
    assert written(PowerBudgetStatus()) == {
        "limitWatts": 0.0,
        "guardedWatts": 0.0,
        "expectedWatts": 0.0,
        "residualWatts": 0.0,
        "headroomWatts": 0.0,
        "overWatts": 0.0,
        "nodes": 0,
    }


def test_an_optional_selector_of_everything_is_left_out() -> None:
    assert "nodeSelector" not in written(PowerBudgetSpec(limit_watts=1.0))


def test_a_required_selector_of_everything_has_its_empty_list() -> None:
    assert written(PowerCappingPolicySpec(selector=LabelSelector()))["selector"] == {"matchExpressions": []}


def test_apply_carries_version_kind_and_only_metadata_of_ours() -> None:
    meta = ObjectMeta(
        name="p",
        namespace="llm",
        resource_version="5",
        generation=2,
        creation_timestamp="t",
        owner_references=(OwnerReference(kind="ConfigMap", name="c", uid="u", api_version="v1"),),
    )
    sent = msgspec.json.decode(
        applied(PowerCappingPolicy(metadata=meta, spec=PowerCappingPolicySpec(selector=LabelSelector())))
    )
    assert (sent["apiVersion"], sent["kind"]) == ("wattkeeper.dev/v1alpha1", "PowerCappingPolicy")
    owner = {"kind": "ConfigMap", "name": "c", "uid": "u", "apiVersion": "v1", "controller": False}
    assert sent["metadata"] == {"name": "p", "namespace": "llm", "ownerReferences": [owner]}
    assert "status" not in sent


@pytest.mark.parametrize(
    "kind",
    [
        PowerBudget(metadata=ObjectMeta(name="b"), spec=PowerBudgetSpec(limit_watts=0.0)),
        PowerCappingPolicy(
            metadata=ObjectMeta(name="p"),
            spec=PowerCappingPolicySpec(
                selector=LabelSelector(match_expressions=(LabelExpression(key="a", operator="In", values=("b",)),)),
                demand=Demand(target_per_replica=2.0),
            ),
        ),
    ],
)
def test_what_is_written_reads_back_equal(kind: PowerBudget | PowerCappingPolicy) -> None:
    assert msgspec.json.decode(applied(kind), type=type(kind)) == kind
