"""Meters of whole machines: Kepler's Redfish series, and ipmi_exporter's DCMI reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    # One of several supplies may stand by at 0 W, all of them together do not.
    supplies = {node: one for node, one in total(_supplies(found), gone_seconds).items() if one.value > 0.0}
    ipmi = total(_ipmi(found, known), gone_seconds)
    return {**ipmi, **supplies, **wholes}


def _chassis(found: Found, gone_seconds: float) -> dict[str, Reading]:
    controls: dict[tuple[str, tuple[str, str]], list[Part]] = {}
    for labels, points in found.get(REDFISH, ()):
        if labels.node_name and not labels.source_type.startswith(_SUPPLY):
            key = (labels.node_name, (labels.bmc_id, labels.chassis_id))
            controls.setdefault(key, []).append(rates.positive_gauge(points))
    return total(
        ((node, chassis, _highest(parts, gone_seconds)) for (node, chassis), parts in controls.items()), gone_seconds
    )


def _highest(parts: Sequence[Part], gone_seconds: float) -> Part:
    oldest = max(part.sampled for part in parts) - gone_seconds
    # NaN is lower than any.
    return max((part for part in parts if part.sampled >= oldest), key=lambda part: (part.value > 0.0, part.value))


def _supplies(found: Found) -> Iterator[tuple[str, tuple[str, ...], Part]]:
    for labels, points in found.get(REDFISH, ()):
        if labels.node_name and labels.source_type.startswith(_SUPPLY):
            yield labels.node_name, (labels.bmc_id, labels.chassis_id, labels.source_id), rates.gauge(points)


def _ipmi(found: Found, known: AbstractSet[str]) -> Iterator[tuple[str, str, Part]]:
    for labels, points in found.get(IPMI, ()):
        node = node_of(labels, known)
        if node:
            yield node, "", rates.positive_gauge(points)
