"""What services in shadow modes would have got, beside what the enforced ones do get."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wattkeeper.api.readings import Bools
from wattkeeper.guard.guarded_plan import GuardedPlan


def with_advice(plan: GuardedPlan, advice: GuardedPlan, enforced: Bools) -> GuardedPlan:
    """Puts advice into the rows that nobody obeys. Sums and limits stay those that are enforced.

    Args:
        plan: guarded with the services of shadow modes standing still.
        advice: guarded as if every service were enforced.
        enforced: bool[S].
    """
    return replace(
        plan,
        grants=np.where(enforced, plan.grants, advice.grants),
        reasons=np.where(enforced, plan.reasons, advice.reasons),
        binding=np.where(enforced, plan.binding, advice.binding),
        missing_watts=np.where(enforced, plan.missing_watts, advice.missing_watts),
    )
