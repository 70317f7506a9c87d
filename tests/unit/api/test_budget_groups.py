"""Groups of budgets that contradict themselves are found, each with a message that says what to do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wattkeeper.api.budget_groups import BudgetGroups, Contradiction
from wattkeeper.api.meta import ObjectMeta
from wattkeeper.api.power_budget import Meter, ParentRef, PowerBudget, PowerBudgetSpec


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


def found(name: str, *budgets: PowerBudget) -> list[Contradiction]:
    (about,) = (one for one in budgets if one.metadata.name == name)
    return list(BudgetGroups(budgets).contradictions(about))


def test_children_that_fit_their_parent_are_no_contradiction() -> None:
    site = (budget("site", 2_000.0), budget("rack-a", 1_200.0, "site"), budget("rack-b", 800.0, "site"))
    assert [found(one.metadata.name, *site) for one in site] == [[], [], []]


def test_sums_that_only_floats_find_too_large_fit() -> None:
    children = [budget(f"rack-{number}", 0.1, "site") for number in range(3)]
    assert found("site", budget("site", 0.3), *children) == []


def test_a_parent_smaller_than_its_children_is_told_by_how_many_watts_and_the_remedies() -> None:
    (one,) = found("site", budget("site", 2_000.0), budget("rack-a", 1_500.0, "site"), budget("rack-b", 800.0, "site"))
    assert (one.reason, one.field) == ("ChildrenExceedLimit", "spec.limitWatts")
    assert one.message == (
        "children may draw 2,300 W together, 300 W more than PowerBudget site allows: lower their limitWatts, raise "
        "its own, or set oversubscribed: true there."
    )


def test_a_parent_that_says_so_may_promise_more_than_it_has() -> None:
    assert found("site", budget("site", 2_000.0, oversubscribed=True), budget("rack", 9_000.0, "site")) == []


def test_a_child_whose_meter_sees_more_than_its_parents_is_not_added_up() -> None:
    assert found("site", budget("site", 2_000.0, meter="gpu"), budget("rack", 3_000.0, "site", meter="wall")) == []


def test_a_child_whose_meter_sees_less_than_its_parents_counts() -> None:
    (one,) = found("site", budget("site", 2_000.0, meter="wall"), budget("rack", 3_000.0, "site", meter="gpu"))
    assert one.reason == "ChildrenExceedLimit"


def test_grandchildren_count_for_their_own_parent_alone() -> None:
    row = (budget("site", 1_000.0), budget("row", 1_000.0, "site"), budget("rack", 900.0, "row"))
    assert [found(one.metadata.name, *row) for one in row] == [[], [], []]


def test_a_parent_that_is_missing_is_to_be_created_or_corrected() -> None:
    (one,) = found("rack", budget("rack", parent="rwo-1"), budget("row-1"))
    assert (one.reason, one.field) == ("ParentMissing", "spec.parentRef.name")
    assert one.message == "there is no PowerBudget rwo-1: create it, or correct the name."


def test_parents_that_lead_back_are_a_cycle_and_the_way_is_shown() -> None:
    (one,) = found("a", budget("a", parent="b"), budget("b", parent="c"), budget("c", parent="a"))
    assert (one.reason, one.field) == ("ParentCycle", "spec.parentRef.name")
    assert one.message == "parents lead in a circle, a -> b -> c -> a: let one of them name no parent."


def test_a_long_cycle_is_cut_short() -> None:
    names = [f"budget-{number}" for number in range(50)]
    circle = [budget(name, parent=names[(place + 1) % 50]) for place, name in enumerate(names)]
    (one,) = found("budget-0", *circle)
    assert "budget-4 -> ... -> budget-0" in one.message
    assert len(one.message) < 200


def test_a_budget_below_a_cycle_is_not_on_it() -> None:
    groups = BudgetGroups([budget("rack", parent="a"), budget("a", parent="b"), budget("b", parent="a")])
    assert groups.cycle_through("rack") == ()


NAMES = st.sampled_from("abcdefgh")


@given(st.dictionaries(NAMES, st.none() | NAMES, max_size=8))
def test_a_budget_is_on_a_cycle_exactly_when_following_parents_leads_back(parents: dict[str, str | None]) -> None:
    groups = BudgetGroups([budget(name, parent=parent or "") for name, parent in parents.items()])
    for name in parents:
        # As many steps as there are budgets lead back to each that lies on a cycle, by whatever way.
        way = [name]
        for _ in parents:
            way.append(parents.get(way[-1]) or "")
        circle = groups.cycle_through(name)
        assert bool(circle) == (name in way[1:])
        assert circle == (tuple(way[: way.index(name, 1) + 1]) if circle else ())
