"""Policies that meet on a target are warned of each other; bounds that cross are refused when a write crosses them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from admission.problem import Problem
from admission.validate_policy import claim_problems, policy_problems
from admission.view import Workload
from tests.unit.admission.samples import deployment, group, policy
from wattkeeper.api.marks import POLICY_ANNOTATION
from wattkeeper.api.meta import LabelExpression, LabelSelector, ObjectMeta
from wattkeeper.api.power_capping_policy import (
    Alerts,
    ContainerRequests,
    PowerCappingPolicy,
    PowerCappingPolicySpec,
    Requests,
    ResourceBound,
)
from wattkeeper.cluster.objects import Deployment, LeaderWorkerSet
from wattkeeper.recommender.kserve import selecting

CHAT = {"app": "chat"}


def chat_policy(name: str = "chat", labels: Mapping[str, str] = CHAT) -> PowerCappingPolicy:
    return policy(name, labels=labels)


def with_bounds(least: str, most: str) -> PowerCappingPolicy:
    rule = ContainerRequests(name="*", min_allowed=ResourceBound(memory=least), max_allowed=ResourceBound(memory=most))
    return policy("chat", labels=CHAT, requests=Requests(containers=(rule,)))


def existing_only(name: str) -> PowerCappingPolicy:
    selector = LabelSelector(match_expressions=(LabelExpression(key="app", operator="Exists"),))
    return PowerCappingPolicy(metadata=ObjectMeta(name=name), spec=PowerCappingPolicySpec(selector=selector))


def created(new: PowerCappingPolicy, *others: PowerCappingPolicy, sinks: Collection[str] = ()) -> list[Problem]:
    return list(policy_problems(new, None, others, [deployment(app="chat")], unmarked, sinks))


def unmarked(workload: Workload) -> str:
    return ""


def marked(workload: Workload) -> str:
    """Returns what a test has put into the workload's own annotation."""
    return workload.metadata.annotations.get(POLICY_ANNOTATION, "")


def naming(annotated: str, name: str = "llm-predictor", **labels: str) -> Deployment:
    plain = deployment(name, replicas=1, **labels)
    return replace(plain, metadata=replace(plain.metadata, annotations={POLICY_ANNOTATION: annotated}))


def telling(*names: str) -> PowerCappingPolicy:
    return replace(chat_policy(), spec=replace(chat_policy().spec, alerts=Alerts(sinks=names)))


def test_a_policy_alone_on_its_targets_has_no_problem() -> None:
    assert created(chat_policy(), chat_policy("other", {"app": "other"})) == []


def test_a_policy_does_not_meet_itself() -> None:
    assert created(chat_policy(), chat_policy()) == []


def test_two_policies_on_one_target_are_a_warning_that_names_the_other_and_the_target() -> None:
    (one,) = created(chat_policy(), policy("all"))
    assert not one.refuses
    assert str(one) == (
        "spec.selector: Deployment llm-predictor is selected by PowerCappingPolicy all, too: the stricter figures "
        "hold. Narrow one of the selectors."
    )


def test_selectors_of_expressions_meet_as_well() -> None:
    assert [one.field for one in created(chat_policy(), existing_only("any"))] == ["spec.selector"]


def test_of_several_policies_on_the_same_targets_one_is_named() -> None:
    (one,) = created(chat_policy(), policy("all"), existing_only("any"), chat_policy("again"))
    assert "PowerCappingPolicy all and others, too" in one.message


def test_selectors_that_overlap_on_nothing_that_exists_are_no_problem() -> None:
    assert created(chat_policy(), chat_policy("fast", {"tier": "fast"})) == []


def test_groups_are_targets_as_well() -> None:
    both: list[LeaderWorkerSet] = [group()]
    (one,) = policy_problems(policy("a"), None, [policy("b")], both, unmarked, ())
    assert one.message.startswith("LeaderWorkerSet llm-kserve-mn is selected by PowerCappingPolicy b")


def test_a_policy_that_selects_nothing_is_a_warning() -> None:
    (one,) = created(chat_policy(labels={"app": "caht"}))
    assert not one.refuses
    assert str(one) == (
        "spec.selector: no Deployment or LeaderWorkerSet of the namespace has these labels now or names this policy in "
        "an annotation, so nothing is capped."
    )


def test_a_policy_that_an_annotation_names_has_a_target() -> None:
    assert list(policy_problems(chat_policy(labels={"app": "x"}), None, [], [naming("chat")], marked, ())) == []


def test_selectors_do_not_meet_on_a_target_whose_annotation_names_its_policy() -> None:
    both = [naming("chat", app="chat"), naming("all", "other", app="chat")]
    assert list(policy_problems(chat_policy(), None, [policy("all")], both, marked, ())) == []


def test_selectors_meet_on_a_target_whose_annotation_names_no_policy() -> None:
    (one,) = policy_problems(chat_policy(), None, [policy("all")], [naming("gone", app="chat")], marked, ())
    assert "selected by PowerCappingPolicy all" in one.message


def test_an_alert_sink_that_nobody_defined_is_a_warning_with_the_nearest_name() -> None:
    (one,) = created(telling("on-cal", "mail"), sinks=("on-call", "mail"))
    assert not one.refuses
    assert str(one) == (
        "spec.alerts.sinks: no alert sink is called on-cal, so nobody is told there. Did you mean on-call?"
    )


def test_bounds_that_cross_are_refused_with_both_figures() -> None:
    (one,) = created(with_bounds("8Gi", "4Gi"))
    assert one.refuses
    assert str(one) == (
        "spec.requests.containers[0].minAllowed.memory: 8Gi is above maxAllowed (4Gi): lower it, or raise maxAllowed."
    )


def test_bounds_that_are_equal_in_other_units_do_not_cross() -> None:
    assert created(with_bounds("4096Mi", "4Gi")) == []


def test_bounds_that_crossed_before_are_a_warning() -> None:
    old = with_bounds("8Gi", "4Gi")
    (one,) = policy_problems(with_bounds("8Gi", "5Gi"), old, [], [deployment(app="chat")], unmarked, ())
    assert not one.refuses


def test_thousands_of_policies_on_thousands_of_targets_are_compared_only_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = 0

    def matches(self: LabelSelector, labels: dict[str, str]) -> bool:
        nonlocal compared
        compared += 1
        return self.match_labels.items() <= labels.items() and not self.match_expressions

    monkeypatch.setattr(LabelSelector, "matches", matches)
    targets = [deployment(f"llm-{number}", app="chat") for number in range(3_000)]
    others = [existing_only(f"policy-{number}") for number in range(3_000)]
    assert list(policy_problems(chat_policy(), None, others, targets, unmarked, ())) == []
    assert compared == 3_000 + 10_000


LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)
ANNOTATIONS = st.sampled_from(["", "own", "other-0", "gone"])


@given(LABELS, st.lists(LABELS, max_size=5), st.lists(st.tuples(LABELS, ANNOTATIONS), max_size=5))
def test_policies_meet_exactly_where_the_leader_lets_both_cap_a_target(
    own: dict[str, str], others: list[dict[str, str]], targets: list[tuple[dict[str, str], str]]
) -> None:
    new = policy("own", labels=own)
    policies = [policy(f"other-{number}", labels=labels) for number, labels in enumerate(others)]
    workloads = [naming(named, f"llm-{number}", **labels) for number, (labels, named) in enumerate(targets)]
    messages = [one.message for one in policy_problems(new, None, policies, workloads, marked, ())]
    chosen = [selecting(one, marked(one), [new, *policies]) for one in workloads]
    capped = [one for one in chosen if new in one]
    assert any("selected by PowerCappingPolicy" in one for one in messages) == any(len(one) > 1 for one in capped)
    assert any("nothing is capped" in one for one in messages) == (not capped)


def test_a_workload_that_several_policies_select_is_warned_of_them() -> None:
    names = [policy(name) for name in ("d", "b", "a", "c", "e")]
    (one,) = claim_problems({"app": "chat"}, "", names)
    assert not one.refuses
    assert str(one) == (
        "metadata.labels: PowerCappingPolicies a, b, c and 2 more all select this: the stricter figures hold."
    )


def test_a_workload_whose_annotation_names_its_policy_is_claimed_once() -> None:
    assert list(claim_problems({}, "b", [policy(name) for name in "abc"])) == []


def test_a_workload_of_one_policy_or_none_has_no_problem() -> None:
    assert list(claim_problems({"app": "chat"}, "", [chat_policy(), chat_policy("other", {"app": "other"})])) == []
