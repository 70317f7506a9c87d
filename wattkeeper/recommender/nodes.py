"""The table of nodes and of the domains that cover them; rebuilt only when a node or a budget changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.quantity import parse_quantity
from wattkeeper.api.readings import Bools, Ints
from wattkeeper.cluster.objects import Node
from wattkeeper.recommender.placement import NodeIndex

GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe", "habana.ai/gaudi")
PRODUCT_LABELS = ("nvidia.com/gpu.product", "amd.com/gpu.product-name", "gpu.intel.com/product")
NO_GPU_KIND = "cpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeTable:
    """N nodes, K kinds, D budgets.

    Attributes:
        row_of: row by node name.
        index: labels, for selectors.
        kind: int64[N]; gpus: int64[N].
        domains: int64[N, J], rows of covering budgets, padded with -1.
        place: int64[N], row of the node's domains in `places`.
        places: int64[L, J], each row of `domains` once.
        members: bool[D, N].
        kinds_in_domain: bool[D, K].
        landings: remembers in which domains pods may land (bool[D]), by what they ask of their node.
    """

    names: tuple[str, ...]
    row_of: dict[str, int]
    index: NodeIndex
    kind: Ints
    kind_names: tuple[str, ...]
    gpus: Ints
    domains: Ints
    place: Ints
    places: Ints
    members: Bools
    kinds_in_domain: Bools
    landings: dict[bytes, Bools] = field(default_factory=dict[bytes, Bools])


def gpu_count(resources: dict[str, str] | dict[str, str | int]) -> float:
    """Returns the devices that capacity or requests name; a quantity that cannot be read counts as none."""
    total = 0.0
    for resource in GPU_RESOURCES:
        if resource in resources:
            try:
                total += parse_quantity(resources[resource])
            except ValueError:
                continue
    return total


def kind_of(node: Node) -> str:
    """Returns the name of a node's kind: GPU product and count, such as "NVIDIA-L4x4"."""
    gpus = int(gpu_count(node.status.capacity))
    if not gpus:
        return NO_GPU_KIND
    product = next((node.metadata.labels[label] for label in PRODUCT_LABELS if label in node.metadata.labels), "gpu")
    return f"{product}x{gpus}"


def build_node_table(nodes: Iterable[Node], budgets: Iterable[PowerBudget]) -> NodeTable:
    """Builds the table. Budgets keep their order: it is the order of domains everywhere else."""
    ordered = sorted(nodes, key=lambda node: node.metadata.name)
    names = tuple(node.metadata.name for node in ordered)
    index = NodeIndex(names, [node.metadata.labels for node in ordered])
    kinds = [kind_of(node) for node in ordered]
    kind_names = tuple(sorted(set(kinds)))
    kind_row = {name: row for row, name in enumerate(kind_names)}
    kind = np.array([kind_row[name] for name in kinds], dtype=np.int64)
    selected = [index.selected(budget.spec.node_selector) for budget in budgets]
    members = np.array(selected, dtype=np.bool_).reshape(len(selected), len(names))
    kinds_in_domain = np.zeros((len(selected), len(kind_names)), dtype=np.bool_)
    domain_rows, node_rows = np.nonzero(members)
    kinds_in_domain[domain_rows, kind[node_rows]] = True
    domains = _padded(members)
    places, place = np.unique(domains, axis=0, return_inverse=True)
    return NodeTable(
        names=names,
        row_of={name: row for row, name in enumerate(names)},
        index=index,
        kind=kind,
        kind_names=kind_names,
        gpus=np.array([int(gpu_count(node.status.capacity)) for node in ordered], dtype=np.int64),
        domains=domains,
        place=place.ravel(),
        places=places,
        members=members,
        kinds_in_domain=kinds_in_domain,
    )


def _padded(members: Bools) -> Ints:
    """Returns int64[N, J]: for each node the rows of the domains that cover it, padded with -1."""
    count = members.sum(axis=0)
    padded = np.full((members.shape[1], max(int(count.max(initial=0)), 1)), -1, dtype=np.int64)
    node_rows, domain_rows = np.nonzero(members.T)
    starts = np.cumsum(count) - count
    padded[node_rows, np.arange(len(node_rows)) - starts[node_rows]] = domain_rows
    return padded
