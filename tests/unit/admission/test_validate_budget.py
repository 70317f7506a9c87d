"""Budgets that contradict themselves are refused when a write makes them so, and warned of otherwise."""

from __future__ import annotations

from msgspec.structs import replace

from admission.problem import Problem
from admission.validate_budget import budget_problems
from wattkeeper.api.meta import LabelSelector, ObjectMeta
from wattkeeper.api.power_budget import Meter, ParentRef, PowerBudget, PowerBudgetSpec
from wattkeeper.cluster.objects import Node

RACK = "topology.kubernetes.io/rack"
NODES = [Node(metadata=ObjectMeta(name=f"node-{rack}", labels={RACK: f"row-1-rack-{rack}"})) for rack in "ab"]


def budget(
    name: str, watts: float = 1_000.0, parent: str = "", *, oversubscribed: bool = False, meter: Meter = "node"
) -> PowerBudget:
    return PowerBudget(
        metadata=ObjectMeta(name=name),
        spec=PowerBudgetSpec(
            limit_watts=watts,
            meter=meter,
            parent_ref=ParentRef(name=parent) if parent else None,
            oversubscribed=oversubscribed,
        ),
    )


def selecting(**labels: str) -> PowerBudget:
    alone = budget("rack")
    return replace(alone, spec=replace(alone.spec, node_selector=LabelSelector(match_labels=labels)))


def created(new: PowerBudget, *known: PowerBudget) -> list[Problem]:
    return list(budget_problems(new, None, known, NODES))


def changed(old: PowerBudget, new: PowerBudget, *known: PowerBudget) -> list[Problem]:
    return list(budget_problems(new, old, [old, *known], NODES))


def refused(problems: list[Problem]) -> list[str]:
    return [one.field for one in problems if one.refuses]


def warned(problems: list[Problem]) -> list[str]:
    return [one.field for one in problems if not one.refuses]


def test_a_budget_that_fits_its_parent_has_no_problem() -> None:
    assert created(budget("rack", 900.0, "site"), budget("site")) == []


def test_a_child_that_makes_the_sum_too_large_is_refused_and_told_what_to_do() -> None:
    (one,) = created(budget("rack-b", 400.0, "site"), budget("site"), budget("rack-a", 700.0, "site"))
    assert one.refuses
    assert str(one) == (
        "spec.limitWatts: children may draw 1,100 W together, 100 W more than PowerBudget site allows: lower their "
        "limitWatts, raise its own, or set oversubscribed: true there."
    )


def test_a_child_of_an_oversubscribed_parent_passes() -> None:
    assert created(budget("rack", 9_000.0, "site"), budget("site", oversubscribed=True)) == []


def test_a_child_that_is_raised_beyond_its_parent_is_refused() -> None:
    problems = changed(budget("rack", 900.0, "site"), budget("rack", 1_100.0, "site"), budget("site"))
    assert refused(problems) == ["spec.limitWatts"]


def test_a_child_that_is_lowered_and_still_too_large_passes_with_a_warning() -> None:
    problems = changed(budget("rack", 1_300.0, "site"), budget("rack", 1_100.0, "site"), budget("site"))
    assert (refused(problems), warned(problems)) == ([], ["spec.limitWatts"])


def test_a_child_that_moves_to_a_parent_without_room_is_refused() -> None:
    problems = changed(
        budget("rack", 900.0, "site"), budget("rack", 900.0, "row"), budget("site"), budget("row", 500.0)
    )
    assert refused(problems) == ["spec.limitWatts"]


def test_a_child_whose_limit_begins_to_count_at_its_parents_meter_is_refused() -> None:
    before, after = budget("rack", 1_100.0, "site", meter="wall"), budget("rack", 1_100.0, "site")
    assert refused(changed(before, after, budget("site"))) == ["spec.limitWatts"]


def test_a_cut_of_a_parent_below_its_children_passes_with_a_warning() -> None:
    problems = changed(budget("site"), budget("site", 500.0), budget("rack", 900.0, "site"))
    assert (refused(problems), warned(problems)) == ([], ["spec.limitWatts"])


def test_a_parent_that_is_created_too_small_for_its_children_is_refused() -> None:
    assert refused(created(budget("site", 500.0), budget("rack", 900.0, "site"))) == ["spec.limitWatts"]


def test_a_parent_that_stops_being_oversubscribed_while_it_is_is_refused() -> None:
    problems = changed(budget("site", oversubscribed=True), budget("site"), budget("rack", 2_000.0, "site"))
    assert refused(problems) == ["spec.limitWatts"]


def test_a_parent_whose_meter_moves_out_to_where_its_children_count_is_refused() -> None:
    problems = changed(budget("site", meter="gpu"), budget("site"), budget("rack", 2_000.0, "site"))
    assert refused(problems) == ["spec.limitWatts"]


def test_other_changes_of_what_was_too_small_before_pass_with_a_warning() -> None:
    before = budget("site")
    after = replace(before, spec=replace(before.spec, shed_seconds=60))
    problems = changed(before, after, budget("rack", 2_000.0, "site"))
    assert (refused(problems), warned(problems)) == ([], ["spec.limitWatts"])


def test_a_cycle_is_refused_and_named() -> None:
    (one,) = [
        one
        for one in changed(budget("a"), budget("a", parent="b"), budget("b", parent="c"), budget("c", parent="a"))
        if one.refuses
    ]
    assert str(one) == (
        "spec.parentRef.name: parents lead in a circle, a -> b -> c -> a: let one of them name no parent."
    )


def test_a_budget_that_is_created_into_a_cycle_is_refused() -> None:
    assert refused(created(budget("a", parent="b"), budget("b", parent="a"))) == ["spec.parentRef.name"]


def test_other_changes_of_a_budget_on_a_cycle_pass_with_a_warning() -> None:
    problems = changed(budget("a", parent="b"), budget("a", parent="b", oversubscribed=True), budget("b", parent="a"))
    assert (refused(problems), warned(problems)) == ([], ["spec.parentRef.name"])


def test_the_write_that_breaks_a_cycle_has_no_problem_with_it() -> None:
    assert changed(budget("a", 500.0, "b"), budget("a", 500.0), budget("b", 400.0, "a")) == []


def test_a_parent_that_does_not_exist_yet_is_a_warning_with_the_nearest_name() -> None:
    (one,) = created(budget("rack", parent="stie"), budget("site"))
    assert not one.refuses
    assert str(one) == (
        "spec.parentRef.name: there is no PowerBudget stie: create it, or correct the name. Did you mean site?"
    )


def test_a_selector_that_finds_no_node_is_a_warning_with_the_nearest_value() -> None:
    (one,) = created(selecting(**{RACK: "row-1-rack-z"}))
    assert not one.refuses
    assert str(one).startswith(
        f"spec.nodeSelector: no node is selected now, so nothing is limited until one is; no node has "
        f"{RACK}=row-1-rack-z, but some have {RACK}=row-1-rack-"
    )


def test_a_selector_of_an_unknown_label_is_a_warning_with_the_nearest_label() -> None:
    (one,) = created(selecting(**{"topology.kubernetes.io/rak": "a"}))
    assert str(one).endswith(f"no node has the label topology.kubernetes.io/rak, but some have {RACK}.")


def test_among_very_many_values_none_is_offered() -> None:
    many = [Node(metadata=ObjectMeta(name=f"n-{number}", labels={"host": f"n-{number}"})) for number in range(501)]
    (one,) = budget_problems(selecting(host="n-x"), None, [], many)
    assert one.message.endswith("; no node has host=n-x.")


def test_a_selector_whose_labels_no_single_node_has_is_a_warning_without_a_guess() -> None:
    both = replace(NODES[0], metadata=replace(NODES[0].metadata, name="other", labels={"feed": "1"}))
    (one,) = budget_problems(selecting(feed="1", **{RACK: "row-1-rack-a"}), None, [], [*NODES, both])
    assert str(one) == "spec.nodeSelector: no node is selected now, so nothing is limited until one is."


def test_a_cluster_without_nodes_is_a_warning() -> None:
    (one,) = budget_problems(budget("site"), None, [], [])
    assert not one.refuses
