import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattkeeper.power.errors import ModelStateError
from wattkeeper.power.memory import ColumnKind, Memory


def memory() -> Memory[str]:
    return Memory({"watts": ColumnKind(np.nan), "pair": ColumnKind(0.0, (2,))})


def test_a_new_name_has_defaults() -> None:
    kept = memory()
    slots = kept.slots(("a", "b"), 0.0)
    assert np.isnan(kept["watts"][slots]).all()
    assert kept.get("pair", slots).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@given(st.lists(st.lists(st.text("abcdef", min_size=1, max_size=2), unique=True, max_size=12), max_size=8))
def test_values_stay_with_their_names_while_rows_come_go_and_move(rounds: list[list[str]]) -> None:
    kept, plain = memory(), dict[str, float]()
    for number, names in enumerate(rounds):
        slots = kept.slots(tuple(names), float(number))
        expected = [plain.get(name, np.nan) for name in names]
        np.testing.assert_array_equal(kept["watts"][slots], expected)
        for row, name in enumerate(names):
            plain[name] = float(number * 100 + row)
        kept["watts"][slots] = [plain[name] for name in names]


def test_names_that_are_equal_but_other_objects_are_the_same_name() -> None:
    kept = memory()
    slots = kept.slots(("node-1",), 0.0)
    kept["watts"][slots] = 5.0
    assert kept["watts"][kept.slots(("-".join(["node", "1"]),), 1.0)].tolist() == [5.0]


def test_a_name_that_was_gone_for_long_is_forgotten_and_its_slot_starts_anew() -> None:
    kept = memory()
    slots = kept.slots(("a", "b"), 0.0)
    kept["watts"][slots] = 5.0
    kept.slots(("b",), 100.0)
    assert kept.forget(50.0) == ("a",)
    assert len(kept) == 1
    slots = kept.slots(("b", "c"), 101.0)
    np.testing.assert_array_equal(kept["watts"][slots], [5.0, np.nan])


def test_a_name_that_still_has_a_row_is_not_forgotten() -> None:
    kept = memory()
    kept.slots(("a",), 0.0)
    assert kept.forget(50.0) == ()


def test_a_dump_brings_names_and_values_back() -> None:
    kept, again = memory(), memory()
    slots = kept.slots(("a", "b"), 7.0)
    kept.put("pair", slots, np.array([[1.0, 2.0], [3.0, 4.0]]))
    again.restore(kept.dump(lambda name: (name,)), lambda parts: parts[0])
    slots = again.slots(("b", "a"), 8.0)
    assert again.get("pair", slots).tolist() == [[2.0, 1.0], [4.0, 3.0]]


def test_a_dump_with_other_columns_is_refused() -> None:
    other: Memory[str] = Memory({"joules": ColumnKind(0.0)})
    with pytest.raises(ModelStateError, match="columns"):
        other.restore(memory().dump(lambda name: (name,)), lambda parts: parts[0])


def test_a_dump_with_columns_of_another_shape_is_refused() -> None:
    kept = memory()
    kept.slots(("a",), 0.0)
    other: Memory[str] = Memory({"watts": ColumnKind(0.0), "pair": ColumnKind(0.0, (3,))})
    with pytest.raises(ModelStateError, match="shape"):
        other.restore(kept.dump(lambda name: (name,)), lambda parts: parts[0])
