"""What users of KServe let their services have: it bounds what is reserved for them, whatever the actuator has written.

A service that nobody scales asks for the replicas that its owner says, and for no others.
"""

from __future__ import annotations

import numpy as np

from wattkeeper.api.power_recommendation import PowerRecommendation, recommendation_name
from wattkeeper.api.readings import Bools, Ints
from wattkeeper.cluster.interface import View
from wattkeeper.recommender.services import ServiceTable


def user_bounds(services: ServiceTable, view: View) -> tuple[Ints, Bools]:
    """Returns int64[S] replicas that users let services have, -1 where nothing says, and bool[S] nobody scales them.

    Args:
        services: the table.
        view: the recommendations, which keep what the actuator has changed.
    """
    ceiling = np.full(len(services.keys), -1, dtype=np.int64)
    fixed = np.zeros(len(services.keys), dtype=np.bool_)
    for row, part in enumerate(services.parts):
        if part is None or part.obstacle:
            continue
        key = services.keys[row]
        said = view.get(PowerRecommendation, key.namespace, recommendation_name(key.kind, key.name))
        ceiling[row] = part.ceiling(None if said is None else said.status.actuation)
        fixed[row] = part.autoscaler == "none"
    return ceiling, fixed
