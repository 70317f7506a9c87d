"""What pods generate with the energy that they draw, without the idle draw of their nodes."""

from __future__ import annotations

import numpy as np

from wattkeeper.api.readings import Bools, Floats, Ints, PodPhase, Readings, Rung
from wattkeeper.power.charges import Charges
from wattkeeper.power.ladder import FROZEN_INTERVALS
from wattkeeper.power.meters import NODE


def tokens_per_joule(readings: Readings, charges: Charges, rows: Ints) -> Floats:
    """Returns float64[n] for the pods in `rows`, NaN where tokens or watts are not measured, or not fresh.

    Of a replica of several pods one generates the tokens of all: their ratios mean nothing.
    """
    pods, nodes = readings.pods, readings.nodes
    node = pods.node[rows]
    watts = charges.pod_expected_watts[NODE, rows]
    known = (
        (pods.phase[rows] == PodPhase.RUNNING)
        & (pods.group[rows] < 0)
        & (node >= 0)
        & (watts > 0.0)
        & (charges.node_rung[node] == Rung.FRESH)
        & (pods.age_seconds[rows] <= FROZEN_INTERVALS * nodes.interval_seconds[node])
    )
    return np.divide(pods.tokens_per_second[rows], watts, out=np.full(len(rows), np.nan), where=known)


def waste(readings: Readings, charges: Charges, rows: Ints) -> Floats:
    """Returns float64[n], joules per token of the pods in `rows`: who wastes most goes first.

    A pod that generates nothing, and one that still loads, waste everything (inf). Unknown is -1, because a scrape that
    is lost makes nobody waste.
    """
    rate = tokens_per_joule(readings, charges, rows)
    found = np.divide(1.0, rate, out=np.full(len(rows), np.inf), where=rate > 0.0)
    unknown: Bools = np.isnan(rate) & (readings.pods.phase[rows] != PodPhase.LOADING)
    return np.where(unknown, -1.0, found)
