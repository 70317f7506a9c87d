"""Columns of numbers that are kept by name, while the rows of readings come, go and change their order."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints
from wattkeeper.power.checkpoint import TableState, pack, unpack
from wattkeeper.power.errors import ModelStateError

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class ColumnKind:
    """A column: its value for a name never seen, and its shape per name (() for one number)."""

    default: float
    shape: tuple[int, ...] = ()


class Memory(Generic[Key]):
    """Float columns by name. A name keeps its slot until it is forgotten.

    Names are a column's last axis: one quantity of all names lies together, and is as fast to work on as can be.

    `slots` costs nothing while the tuple of names is the same object, and otherwise looks up only what is not the same
    object at the same place as before: whoever builds the tuple should reuse its keys and keep their order.
    """

    def __init__(self, columns: Mapping[str, ColumnKind]) -> None:
        self._kinds = dict(columns)
        self._slot_of: dict[Key, int] = {}
        self._keys: list[Key | None] = []
        self._free: list[int] = []
        self._seen: Floats = np.empty(0)
        self._columns: dict[str, Floats] = {name: np.empty((*kind.shape, 0)) for name, kind in columns.items()}
        self._last_keys: tuple[Key, ...] = ()
        self._last_slots: Ints = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._slot_of)

    def __getitem__(self, column: str) -> Floats:
        """Returns the column itself: float64[..., capacity], to be indexed with slots and written in place.

        New names may move it: ask for slots first.
        """
        return self._columns[column]

    def get(self, column: str, slots: Ints) -> Floats:
        """Returns a column's values: float64[..., *slots.shape]."""
        return np.take(self._columns[column], slots, axis=-1)

    def put(self, column: str, slots: Ints, values: Floats) -> None:
        """Writes values (float64[..., n]) into slots (int64[n])."""
        rows = math.prod(self._kinds[column].shape)
        kept = self._columns[column].reshape(rows, self.capacity)
        # Row by row, because an assignment to all rows at once takes numpy five times as long.
        for row, new in zip(kept, values.reshape(rows, len(slots)), strict=True):
            row[slots] = new

    def slots(self, keys: tuple[Key, ...], now: float) -> Ints:
        """Returns the slot of each name, new ones where needed: int64[len(keys)], read-only until the next call."""
        if keys is not self._last_keys:
            # Mostly the same keys in another tuple, and comparing objects with themselves is fast.
            if keys != self._last_keys:
                self._last_slots = self._aligned(keys)
            self._last_keys = keys
        self._seen[self._last_slots] = now
        return self._last_slots

    def _aligned(self, keys: tuple[Key, ...]) -> Ints:
        """Returns the slot of each name: int64[len(keys)]."""
        # Rows mostly keep their places.
        slots = np.full(len(keys), -1, dtype=np.int64)
        both = min(len(keys), len(self._last_keys))
        stays = np.flatnonzero(np.fromiter(map(operator.is_, keys, self._last_keys), dtype=np.bool_, count=both))
        slots[stays] = self._last_slots[stays]
        for row in np.flatnonzero(slots < 0).tolist():
            slots[row] = self.find_or_add(keys[row])
        return slots

    def add(self, key: Key) -> int:
        """Gives a name that is not here yet a slot with defaults."""
        if not self._free:
            self._grow(max(64, 2 * len(self._keys)))
        slot = self._free.pop()
        self._slot_of[key] = slot
        self._keys[slot] = key
        self._seen[slot] = -np.inf
        return slot

    def _grow(self, capacity: int) -> None:
        old = len(self._keys)
        self._keys.extend([None] * (capacity - old))
        self._free.extend(range(capacity - 1, old - 1, -1))
        # A slot without a name is never old.
        self._seen = np.concatenate([self._seen, np.full(capacity - old, np.inf)])
        for name, kind in self._kinds.items():
            added = np.full((*kind.shape, capacity - old), kind.default)
            self._columns[name] = np.concatenate([self._columns[name], added], axis=-1)

    def forget(self, before: float) -> tuple[Key, ...]:
        """Forgets names that no row had since `before` (Unix seconds), and returns them."""
        old = self._seen < before
        old[self._last_slots] = False
        gone: list[Key] = []
        for slot in np.flatnonzero(old).tolist():
            key = self._keys[slot]
            if key is not None:
                gone.append(key)
                self.drop(key)
        return tuple(gone)

    def drop(self, key: Key) -> None:
        """Forgets one name that is not in the rows of the last call of `slots`."""
        slot = self._slot_of.pop(key)
        self._keys[slot] = None
        self._free.append(slot)
        self._seen[slot] = np.inf
        for name, kind in self._kinds.items():
            self._columns[name][..., slot] = kind.default

    def reset(self, slots: Ints) -> None:
        """Puts slots back to defaults; their names stay."""
        for name, kind in self._kinds.items():
            self._columns[name][..., slots] = kind.default

    def items(self) -> tuple[tuple[Key, int], ...]:
        """Returns every name with its slot."""
        return tuple(self._slot_of.items())

    @property
    def capacity(self) -> int:
        """Length of the columns."""
        return len(self._keys)

    @property
    def last_slots(self) -> Ints:
        """What `slots` returned last."""
        return self._last_slots

    def slot(self, key: Key) -> int:
        """Returns the slot of a name that is here."""
        return self._slot_of[key]

    def find_or_add(self, key: Key) -> int:
        """Returns the slot of a name, a new one where needed."""
        slot = self._slot_of.get(key)
        return self.add(key) if slot is None else slot

    def dump(self, parts_of: Callable[[Key], tuple[str, ...]], kept: Bools | None = None) -> TableState:
        """Packs names (as tuples of strings) and columns; `kept`: bool[capacity] leaves other slots out."""
        live = [(key, slot) for key, slot in self._slot_of.items() if kept is None or kept[slot]]
        slots = np.array([slot for _, slot in live], dtype=np.int64)
        columns = {name: pack(np.moveaxis(self.get(name, slots), -1, 0)) for name in self._columns}
        return TableState(keys=tuple(parts_of(key) for key, _ in live), seen=pack(self._seen[slots]), columns=columns)

    def restore(self, state: TableState, key_of: Callable[[tuple[str, ...]], Key]) -> None:
        """Takes in what `dump` packed.

        Raises:
            ModelStateError: its columns are not the ones of this memory.
        """
        if set(state.columns) != set(self._kinds):
            raise ModelStateError(
                f"the checkpoint has columns {sorted(state.columns)}, this version {sorted(self._kinds)}: "
                "start with a fresh model"
            )
        count = len(state.keys)
        columns = {name: unpack(state.columns[name], (count, *self._kinds[name].shape)) for name in self._kinds}
        seen = unpack(state.seen, (count,))
        slots = np.array([self.add(key_of(parts)) for parts in state.keys], dtype=np.int64)
        if count:
            self._seen[slots] = seen
            for name, values in columns.items():
                self._columns[name][..., slots] = np.moveaxis(values, 0, -1)
