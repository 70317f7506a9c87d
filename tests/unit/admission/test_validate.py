"""The front of validation: who is refused, who is warned, and what is let through without a look."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.review import Answer, GroupVersionKind, Review
from admission.validate import ObjectValidator
from admission.view import AdmissionView
from tests.unit.admission.samples import NAMESPACE, budget, cluster, deployment, namespace, policy
from tests.unit.scaler.memory_cluster import MemoryView
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.objects import Node

BUDGET = GroupVersionKind("wattkeeper.dev", "v1alpha1", "PowerBudget")
POLICY = GroupVersionKind("wattkeeper.dev", "v1alpha1", "PowerCappingPolicy")
DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
GROUPS = GroupVersionKind("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet")
SERVICE = GroupVersionKind("serving.kserve.io", "v1beta1", "InferenceService")
LLM = GroupVersionKind("serving.kserve.io", "v1alpha2", "LLMInferenceService")
SPACE = GroupVersionKind("", "v1", "Namespace")
TYPO = {"wattkeeper.dev/wats-per-replica": "700"}
TOO_LARGE: dict[str, Any] = {
    "metadata": {"name": "rack"},
    "spec": {"limitWatts": 12_000, "parentRef": {"name": "row-a"}},
}


def view() -> MemoryView:
    node = Node(metadata=ObjectMeta(name="node-1"))
    return cluster(budget(), policy(), deployment(app="chat"), namespace(), node)


def asked(
    kind: GroupVersionKind, given: object, old: object = None, *, over: MemoryView | None = None, **more: Any
) -> Answer:
    review = Review(
        uid="u-1",
        kind=kind,
        namespace=NAMESPACE,
        operation="CREATE" if old is None else "UPDATE",
        object=json.dumps(given).encode(),
        old_object=json.dumps(old).encode(),
    )
    review = dataclasses.replace(review, **more)
    return ObjectValidator(AdmissionView(view() if over is None else over), tuple)(review)


def test_a_good_budget_is_allowed_without_a_word() -> None:
    assert asked(BUDGET, {"metadata": {"name": "rack"}, "spec": {"limitWatts": 100}}) == Answer()


def test_a_budget_that_contradicts_itself_is_refused_with_the_field_and_the_remedy() -> None:
    answer = asked(BUDGET, TOO_LARGE)
    assert (answer.allowed, answer.code, answer.result) == (False, 422, "refused")
    assert answer.message.startswith("spec.limitWatts: children may draw 12,000 W together, 2,000 W more than")


def test_what_is_merely_odd_about_a_refused_object_is_said_as_well() -> None:
    answer = asked(BUDGET, TOO_LARGE, over=cluster(budget()))
    assert not answer.allowed
    assert [warning.partition(":")[0] for warning in answer.warnings] == ["spec.nodeSelector"]


def test_a_budget_that_is_only_odd_is_allowed_with_a_warning() -> None:
    answer = asked(BUDGET, {"metadata": {"name": "rack"}, "spec": {"limitWatts": 100, "parentRef": {"name": "rwo-a"}}})
    assert (answer.allowed, answer.result) == (True, "warned")
    assert answer.warnings == (
        "spec.parentRef.name: there is no PowerBudget rwo-a: create it, or correct the name. Did you mean row-a?",
    )


def test_an_object_that_was_bad_before_may_change_in_other_ways() -> None:
    changed = {**TOO_LARGE, "metadata": {"name": "rack", "labels": {"team": "a"}, "finalizers": ["example.com/x"]}}
    answer = asked(BUDGET, changed, TOO_LARGE)
    assert (answer.allowed, answer.result) == (True, "warned")


def test_an_object_on_its_way_out_is_let_go() -> None:
    going = {
        **TOO_LARGE,
        "metadata": {"name": "rack", "deletionTimestamp": "2026-11-25T00:00:00Z", "annotations": TYPO},
    }
    assert asked(BUDGET, going, {"metadata": {}, "spec": {"limitWatts": 1}}) == Answer()


def test_a_policy_is_held_against_those_of_its_namespace() -> None:
    (warning,) = asked(POLICY, {"metadata": {"name": "chat"}, "spec": {"selector": {}}}).warnings
    assert warning.startswith("spec.selector: Deployment llm-predictor is selected by PowerCappingPolicy capped, too")


def test_a_workload_is_warned_of_policies_that_meet_on_it() -> None:
    over = view()
    over.put(policy("another"))
    (warning,) = asked(DEPLOYMENT, {"metadata": {"name": "llm"}}, over=over).warnings
    assert warning.startswith("metadata.labels: PowerCappingPolicies another and capped all select this")


@pytest.mark.parametrize(
    ("kind", "given", "field"),
    [
        (DEPLOYMENT, {"metadata": {"annotations": TYPO}}, "metadata.annotations"),
        (
            DEPLOYMENT,
            {"spec": {"template": {"metadata": {"annotations": TYPO}}}},
            "spec.template.metadata.annotations",
        ),
        (
            GROUPS,
            {"spec": {"leaderWorkerTemplate": {"workerTemplate": {"metadata": {"annotations": TYPO}}}}},
            "spec.leaderWorkerTemplate.workerTemplate.metadata.annotations",
        ),
        (SERVICE, {"metadata": {"annotations": TYPO}}, "metadata.annotations"),
        (SERVICE, {"spec": {"predictor": {"annotations": TYPO}}}, "spec.predictor.annotations"),
        (LLM, {"spec": {"annotations": TYPO}}, "spec.annotations"),
        (LLM, {"spec": {"prefill": {"annotations": TYPO}}}, "spec.prefill.annotations"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_misspelt_annotation_is_a_warning_that_offers_the_right_one(
    kind: GroupVersionKind, given: dict[str, Any], field: str
) -> None:
    answer = asked(kind, given)
    assert answer.allowed
    assert answer.warnings == (
        f"{field}: wattkeeper.dev/wats-per-replica: unknown annotation: write wattkeeper.dev/watts-per-replica if you "
        "mean that.",
    )


def test_of_very_many_misspelt_annotations_a_few_are_told_of() -> None:
    answer = asked(DEPLOYMENT, {"metadata": {"annotations": {f"wattkeeper.dev/wats-{one}": "" for one in range(100)}}})
    assert (answer.allowed, len(answer.warnings)) == (True, 8)


def test_a_bad_value_of_a_known_annotation_is_a_warning() -> None:
    (warning,) = asked(SERVICE, {"metadata": {"annotations": {"wattkeeper.dev/watts-per-replica": "3kW"}}}).warnings
    assert warning.endswith("wattkeeper.dev/watts-per-replica: write watts as a positive number, such as 700.")


@pytest.mark.parametrize("kind", [DEPLOYMENT, SERVICE, LLM], ids=lambda one: one.kind)
def test_an_annotation_that_names_no_policy_is_a_warning_with_the_nearest_one(kind: GroupVersionKind) -> None:
    answer = asked(kind, {"metadata": {"annotations": {"wattkeeper.dev/policy": "caped"}}})
    assert answer.warnings == (
        "metadata.annotations: wattkeeper.dev/policy: no PowerCappingPolicy of the namespace is called caped: write "
        "capped if you mean that.",
    )


def test_an_annotation_that_names_a_policy_is_right() -> None:
    assert asked(SERVICE, {"metadata": {"annotations": {"wattkeeper.dev/policy": "capped"}}}) == Answer()


def test_a_namespace_whose_opt_in_is_misspelt_is_warned() -> None:
    (warning,) = asked(SPACE, {"metadata": {"labels": {"wattkeeper.dev/admission": "enable"}}}).warnings
    assert warning == 'metadata.labels: wattkeeper.dev/admission: it counts with the value "enabled" alone.'


def test_marks_on_our_own_kinds_are_a_warning_with_the_field_that_says_it() -> None:
    marked = {"metadata": {"name": "a", "annotations": {"wattkeeper.dev/priority": "5"}}, "spec": {"limitWatts": 1}}
    (warning,) = asked(BUDGET, marked).warnings
    assert "spec.priority of a PowerCappingPolicy says that" in warning


def test_what_a_controller_makes_is_left_alone() -> None:
    made = {"metadata": {"annotations": TYPO, "ownerReferences": [{"kind": "InferenceService", "controller": True}]}}
    assert asked(DEPLOYMENT, made) == Answer()


def test_a_budget_that_a_controller_makes_is_held_to_the_rules_all_the_same() -> None:
    made = {
        **TOO_LARGE,
        "metadata": {
            "name": "rack",
            "ownerReferences": [{"kind": "Site", "name": "s", "uid": "u", "controller": True}],
        },
    }
    assert not asked(BUDGET, made).allowed


def test_workloads_of_namespaces_that_nobody_opted_in_are_left_alone() -> None:
    over = cluster(namespace(enabled=False))
    assert asked(DEPLOYMENT, {"metadata": {"annotations": TYPO}}, over=over) == Answer(result="unconcerned")


@pytest.mark.parametrize(
    "more",
    [
        {"operation": "DELETE", "object": b"null"},
        {"operation": "CONNECT"},
        {"sub_resource": "status"},
        {"kind": GroupVersionKind("wattkeeper.dev", "v2", "PowerBudget")},
        {"kind": GroupVersionKind("wattkeeper.dev", "v1alpha1", "PowerRecommendation")},
        {"kind": GroupVersionKind("", "v1", "Pod")},
        {"kind": GroupVersionKind()},
    ],
    ids=["delete", "connect", "status", "unknown-version", "recommendation", "pod", "no-kind"],
)
def test_what_it_does_not_judge_is_let_through(more: dict[str, Any]) -> None:
    kind = more.pop("kind", BUDGET)
    assert asked(kind, TOO_LARGE, **more) == Answer(result="not_asked_for")


def test_caches_that_are_not_complete_let_everything_through() -> None:
    over = view()
    over.complete = False
    assert asked(BUDGET, TOO_LARGE, over=over) == Answer(result="not_synced")


@pytest.mark.parametrize(
    "given", [5, [], "x", {"metadata": 5}, {"metadata": {"name": "a"}}, {"metadata": {"labels": []}}]
)
def test_a_budget_of_another_shape_is_let_through(given: object) -> None:
    answer = asked(BUDGET, given)
    assert (answer.allowed, answer.result) == (True, "unreadable")


def test_a_change_of_what_cannot_be_read_is_let_through() -> None:
    assert asked(BUDGET, TOO_LARGE, {"metadata": {"name": "rack"}, "spec": {}}) == Answer(result="unreadable")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "metadata",
                    "spec",
                    "template",
                    "labels",
                    "annotations",
                    "ownerReferences",
                    "limitWatts",
                    "parentRef",
                    "name",
                ]
            )
            | st.sampled_from(["wattkeeper.dev/capped", "wattkeeper.dev/x", "selector", "predictor", "prefill"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from([BUDGET, POLICY, DEPLOYMENT, GROUPS, SERVICE, LLM, SPACE]),
    JSON,
    st.none() | JSON,
)
def test_whatever_shape_an_object_has_it_is_judged_or_let_through(
    kind: GroupVersionKind, given: object, old: object
) -> None:
    answer = asked(kind, given, old)
    assert answer.allowed or answer.result == "refused"


@given(JSON, st.none() | JSON)
def test_no_workload_is_ever_refused(given: object, old: object) -> None:
    assert all(asked(kind, given, old).allowed for kind in (DEPLOYMENT, GROUPS, SERVICE, LLM, SPACE))


@given(st.binary(max_size=40))
def test_bytes_that_are_no_json_are_let_through(raw: bytes) -> None:
    assert all(asked(kind, None, object=raw).allowed for kind in (BUDGET, POLICY, DEPLOYMENT))
