"""Meters of whole machines: Kepler's Redfish series, and ipmi_exporter's DCMI reading."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from wattkeeper.power.readers import rates
from wattkeeper.power.readers.places import node_of
from wattkeeper.power.readers.samples import Found, Part, Reading, total

REDFISH = "kepler_platform_watts"
IPMI = "ipmi_dcmi_power_consumption_watts"
METRICS = (REDFISH, IPMI)
_SUPPLY = "PowerSupply"


def read_meters(found: Found, known: AbstractSet[str], gone_seconds: float) -> dict[str, Reading]:
    """Returns each node's watts at its supplies; Redfish's where both are there.

    Redfish may tell of a chassis as a whole and of its single supplies: the whole counts, supplies are summed only
    where there is nothing else. Supplies by their name; several controls of one chassis tell the same watts.

    Args:
        found: raw series.
        known: names of nodes that are certain.
        gone_seconds: a series last seen that much before its node's youngest is gone.
    """
    wholes = _chassis(found, gone_seconds)
    supplies = total(_supplies(found), gone_seconds)
    ipmi = total(_ipmi(found, known), gone_seconds)
    return {**ipmi, **supplies, **wholes}


def _chassis(found: Found, gone_seconds: float) -> dict[str, Reading]:
    highest: dict[tuple[str, tuple[str, str]], Part] = {}
    for labels, points in found.get(REDFISH, ()):
        part = rates.positive_gauge(points)
        if not labels.node_name or labels.source_type.startswith(_SUPPLY):
            continue
        key = (labels.node_name, (labels.bmc_id, labels.chassis_id))
        if key not in highest or not part.value <= highest[key].value:
            highest[key] = part
    return total(((node, chassis, part) for (node, chassis), part in highest.items()), gone_seconds)


def _supplies(found: Found) -> Iterator[tuple[str, tuple[str, ...], Part]]:
    for labels, points in found.get(REDFISH, ()):
        if labels.node_name and labels.source_type.startswith(_SUPPLY):
            yield labels.node_name, (labels.bmc_id, labels.chassis_id, labels.source_id), rates.gauge(points)


def _ipmi(found: Found, known: AbstractSet[str]) -> Iterator[tuple[str, str, Part]]:
    for labels, points in found.get(IPMI, ()):
        node = node_of(labels, known)
        if node:
            yield node, "", rates.positive_gauge(points)
