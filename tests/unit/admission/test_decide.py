"""Which pods are concerned, which policy counts, and what is written on them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.admission.samples import (
    KnownUsage,
    budget,
    cluster,
    container,
    decided,
    deployment,
    group,
    namespace,
    patched,
    pod,
    policy,
    recommendation,
    usage,
)
from wattkeeper.api.admission import ADMISSION_ANNOTATION, PREDICTED_WATTS_ANNOTATION

KNOWN = KnownUsage({"main": usage(cores=2.0)})


def marks(given: dict[str, Any], *objects: Any, estimates: KnownUsage = KNOWN) -> dict[str, str]:
    decision = decided(given, cluster(*objects), estimates)
    found: dict[str, str] = patched(given, decision.patch)["metadata"].get("annotations", {})
    return found


def gates(given: dict[str, Any]) -> list[Any]:
    found: list[Any] = given["spec"].get("schedulingGates", [])
    return found


def paths(given: dict[str, Any], *objects: Any, estimates: KnownUsage = KNOWN) -> list[str]:
    return [operation.path for operation in decided(given, cluster(*objects), estimates).patch]


def test_mode_scale_sets_requests_gates_and_says_so() -> None:
    assert paths(pod(), deployment(), policy(mode="Scale")) == [
        "/spec/containers/0/resources/requests/cpu",
        "/spec/containers/0/resources/requests/memory",
        "/spec/schedulingGates",
        "/metadata/annotations",
    ]


def test_mode_initial_sets_requests_and_says_so_without_a_gate() -> None:
    assert paths(pod(), deployment(), policy(mode="Initial")) == [
        "/spec/containers/0/resources/requests/cpu",
        "/spec/containers/0/resources/requests/memory",
        "/metadata/annotations",
    ]


def test_mode_off_changes_nothing() -> None:
    assert paths(pod(), deployment(), policy(mode="Off")) == []


def test_a_service_that_no_policy_selects_is_left_alone() -> None:
    decision = decided(pod(), cluster(deployment(), policy(labels={"team": "other"})), KNOWN)
    assert (decision.outcome, decision.patch) == ("no_policy", ())


def test_policies_of_other_namespaces_do_not_count() -> None:
    assert paths(pod(), deployment(), policy(namespace="other")) == []


def test_selectors_are_about_the_scale_target_where_it_is_known() -> None:
    chosen = policy(labels={"team": "chat"})
    assert paths(pod(), deployment(team="chat"), chosen) != []
    assert paths(pod(), deployment(team="other"), chosen) == []


def test_a_scale_target_that_is_not_seen_yet_is_found_by_its_pods_labels() -> None:
    assert decided(pod(), cluster(policy(labels={"app": "isvc.llm-predictor"})), KNOWN).gated


def test_a_scale_target_that_is_not_seen_yet_is_found_by_its_recommendation() -> None:
    chosen = policy("by-leader", labels={"only": "on-the-target"})
    view = cluster(chosen, policy("any", mode="Initial"), recommendation(of_policy="by-leader"))
    assert decided(pod(), view, KNOWN).policy == "by-leader"


def test_a_recommendation_of_a_policy_that_is_gone_says_nothing() -> None:
    assert decided(pod(), cluster(deployment(), recommendation()), KNOWN).outcome == "no_policy"


def test_of_several_policies_the_strictest_mode_counts() -> None:
    view = cluster(deployment(), policy("a", mode="Off"), policy("b", mode="Scale"), policy("c", mode="Initial"))
    decision = decided(pod(), view, KNOWN)
    assert (decision.policy, decision.mode, decision.gated) == ("b", "Scale", True)


def test_a_namespace_that_is_not_opted_in_is_left_alone_even_when_the_webhook_is_asked() -> None:
    view = cluster(deployment(), policy(), namespace(enabled=False))
    assert decided(pod(), view, KNOWN).outcome == "unconcerned"


def test_an_opted_in_namespace_is_concerned() -> None:
    assert decided(pod(), cluster(deployment(), policy(), namespace()), KNOWN).outcome == "patched"


def test_a_pod_without_the_marks_is_left_alone_even_when_the_webhook_is_asked() -> None:
    given = pod()
    del given["metadata"]["labels"]["serving.kserve.io/inferenceservice"]
    assert decided(given, cluster(deployment(), policy()), KNOWN).outcome == "unconcerned"


def test_a_pod_of_no_scale_target_is_not_gated_and_says_why() -> None:
    given = pod(ownerReferences=[{"kind": "DaemonSet", "name": "agent", "uid": "d-1"}])
    view = cluster(policy())
    decision = decided(given, view, KNOWN)
    assert not decision.gated
    written = patched(given, decision.patch)["metadata"]["annotations"]
    assert "no Deployment or LeaderWorkerSet owns this pod" in written[ADMISSION_ANNOTATION]


def test_a_pod_that_names_its_node_gets_requests_and_says_why_it_is_not_gated() -> None:
    written = marks(pod(spec={"nodeName": "rack-1"}), deployment(), policy())
    assert "no gate: it is bound to node rack-1" in written[ADMISSION_ANNOTATION]
    assert "cpu 4 -> 2" in written[ADMISSION_ANNOTATION]


def test_the_annotation_names_policy_mode_and_everything_that_was_done() -> None:
    written = marks(pod(), deployment(), policy())
    assert written[ADMISSION_ANNOTATION] == (
        "policy capped (mode Scale): waits for watts at the gate wattkeeper.dev/power; "
        "main: cpu 4 -> 2, memory 16Gi -> 8Gi"
    )


def test_the_annotation_is_there_also_where_nothing_else_changes() -> None:
    written = marks(pod(), deployment(), policy(mode="Initial"), estimates=KnownUsage())
    assert written == {ADMISSION_ANNOTATION: "policy capped (mode Initial): main: no usage known yet"}


def test_the_annotation_has_an_end() -> None:
    many = [container(f"container-number-{number}") for number in range(100)]
    assert len(marks(pod(*many), deployment(), policy())[ADMISSION_ANNOTATION]) == 1_000


def test_other_annotations_stay() -> None:
    written = marks(pod(annotations={"a/b": "c"}), deployment(), policy())
    assert written["a/b"] == "c"


def test_predicted_watts_are_whole_and_never_less() -> None:
    written = marks(pod(), deployment(), policy(), recommendation(replica_watts=712.4))
    assert written[PREDICTED_WATTS_ANNOTATION] == "713"


@pytest.mark.parametrize("watts", [0.0, float("nan")])
def test_watts_that_are_not_known_are_not_predicted(watts: float) -> None:
    written = marks(pod(), deployment(), policy(), recommendation(replica_watts=watts))
    assert PREDICTED_WATTS_ANNOTATION not in written


def worker() -> dict[str, Any]:
    labels = {"wattkeeper.dev/capped": "true", "leaderworkerset.sigs.k8s.io/name": "llm-kserve-mn"}
    return pod(labels=labels, ownerReferences=[{"kind": "StatefulSet", "name": "llm-kserve-mn-0", "uid": "s"}])


def test_a_groups_watts_are_shared_by_its_pods() -> None:
    watts = recommendation("LeaderWorkerSet", "llm-kserve-mn", replica_watts=2_850.0)
    written = marks(worker(), group(size=4), policy(), watts)
    assert written[PREDICTED_WATTS_ANNOTATION] == "713"


def test_a_groups_watts_are_not_predicted_before_its_size_is_known() -> None:
    watts = recommendation("LeaderWorkerSet", "llm-kserve-mn", replica_watts=2_850.0)
    assert PREDICTED_WATTS_ANNOTATION not in marks(worker(), policy(), watts)


def test_every_pod_of_a_group_is_gated() -> None:
    decision = decided(worker(), cluster(group(), policy()), KNOWN)
    assert decision.gated
    assert decision.service is not None
    assert decision.service.kind == "LeaderWorkerSet"


@pytest.mark.parametrize("mode", ["Initial", "Scale"])
def test_deciding_about_the_patched_pod_changes_nothing(mode: Any) -> None:
    view = cluster(deployment(), policy(mode=mode), recommendation())
    once = patched(pod(), decided(pod(), view, KNOWN).patch)
    assert decided(once, view, KNOWN).patch == ()
    assert decided(once, view, KNOWN).outcome == "kept"


def test_what_another_webhook_changed_in_between_is_set_right_and_told() -> None:
    view = cluster(deployment(), policy())
    given = patched(pod(), decided(pod(), view, KNOWN).patch)
    given["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "9"
    again = patched(given, decided(given, view, KNOWN).patch)
    assert "cpu 9 -> 2" in again["metadata"]["annotations"][ADMISSION_ANNOTATION]
    assert len(gates(again)) == 1


def test_an_annotation_of_ours_in_a_template_does_not_spare_the_gate() -> None:
    given = pod(annotations={ADMISSION_ANNOTATION: "copied from somewhere"})
    decision = decided(given, cluster(deployment(), policy()), KNOWN)
    assert decision.gated
    assert patched(given, decision.patch)["metadata"]["annotations"][ADMISSION_ANNOTATION].startswith("policy capped")


def warnings(*objects: Any, now: float = 1_800_000_000.0) -> tuple[str, ...]:
    return decided(pod(), cluster(*objects), KNOWN, now=now).warnings


@pytest.mark.parametrize("mode", ["Off", "Initial"])
def test_where_nothing_is_enforced_users_are_told_which_budget_is_over(mode: Any) -> None:
    told = warnings(deployment(), policy(mode=mode), recommendation(budget="row-a"), budget(over=1_249.6))
    assert told == (f"PowerBudget row-a is over by 1250 W; policy capped is in mode {mode}, so this pod starts anyway",)


def test_where_nothing_is_enforced_users_are_told_how_many_replicas_a_budget_carries() -> None:
    told = warnings(deployment(replicas=5), policy(mode="Off"), recommendation(budget="row-a", target=3), budget())
    assert told[0].startswith("PowerBudget row-a carries 3 of 5 replicas")


@pytest.mark.parametrize(
    "objects",
    [
        (recommendation(), budget(over=100.0)),
        (recommendation(budget="row-a"), budget(over=0.0)),
        (recommendation(budget="gone"),),
        (budget(over=100.0),),
    ],
    ids=["nothing-binds", "inside", "no-such-budget", "no-recommendation"],
)
def test_there_is_no_warning_where_nothing_would_be_held_back(objects: tuple[Any, ...]) -> None:
    assert warnings(deployment(), policy(mode="Off"), *objects) == ()


def test_there_is_no_warning_from_old_figures() -> None:
    objects = (deployment(), policy(mode="Off"), recommendation(budget="row-a"), budget(over=9.0))
    assert warnings(*objects, now=1_800_000_061.0) == ()


def test_enforced_pods_wait_without_a_warning() -> None:
    assert warnings(deployment(), policy(), recommendation(budget="row-a"), budget(over=9.0)) == ()
