"""All checks: each is one invariant, or a part of one, of the design."""

from __future__ import annotations

from typing import Final

from tests.faults.checks_actions import (
    EveryActionHasItsEvent,
    ModesAllow,
    NeverAboveTheCap,
    NothingIsLeftBehind,
    OnlyGuardedPlans,
    OnlyNamedPodsEnd,
    RestartIsQuiet,
)
from tests.faults.checks_groups import GroupsAreWhole
from tests.faults.checks_kserve import CeilingsFollow, UsersBoundsAreKept
from tests.faults.checks_protection import ProtectionHolds
from tests.faults.checks_watts import (
    NoPodLandsOverBudget,
    NothingStartsOverBudget,
    StaleLoosensNothing,
    WattsComeInside,
)
from tests.faults.witness import Check

CHECKS: Final[tuple[type[Check], ...]] = (
    NothingStartsOverBudget,
    NoPodLandsOverBudget,
    WattsComeInside,
    StaleLoosensNothing,
    OnlyGuardedPlans,
    ModesAllow,
    ProtectionHolds,
    OnlyNamedPodsEnd,
    EveryActionHasItsEvent,
    RestartIsQuiet,
    NeverAboveTheCap,
    UsersBoundsAreKept,
    CeilingsFollow,
    GroupsAreWhole,
    NothingIsLeftBehind,
)
