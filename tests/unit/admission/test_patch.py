"""Patches add what is missing, replace what differs, and touch nothing else."""

from __future__ import annotations

from admission.patch import Operation, append, set_members


def test_members_are_added_or_replaced_one_by_one() -> None:
    operations = set_members("/a", {"same": "1", "other": "1"}, {"same": "1", "other": "2", "new/~": "3"})
    assert operations == [
        Operation(op="replace", path="/a/other", value="2"),
        Operation(op="add", path="/a/new~1~0", value="3"),
    ]


def test_a_missing_object_is_added_whole() -> None:
    assert set_members("/a", None, {"b": "1"}) == [Operation(op="add", path="/a", value={"b": "1"})]


def test_nothing_wanted_is_no_operation_even_where_the_object_is_missing() -> None:
    assert set_members("/a", None, {}) == []


def test_an_item_goes_to_the_end_of_an_array() -> None:
    assert append("/gates", [], 1) == Operation(op="add", path="/gates/-", value=1)


def test_a_missing_array_is_added_with_its_item() -> None:
    assert append("/gates", None, 1) == Operation(op="add", path="/gates", value=[1])
