"""Refuses objects that no real cluster could hold beside what there is.

A test or a story built on an impossible state proves nothing, and its failure is found far from its cause.
"""

from __future__ import annotations

from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.quantity import parse_quantity
from wattkeeper.cluster.interface import View, Watched
from wattkeeper.cluster.objects import Deployment, LeaderWorkerSet, Namespace, Node, Pod, PodTemplate, ScaledObject
from wattkeeper.recommender.nodes import gpu_count
from wattkeeper.recommender.pods import requested
from wattkeeper.simulation.errors import ImpossibleFixtureError
from wattkeeper.simulation.workloads import find_workload

_CLUSTER_SCOPED = (Node, Namespace, PowerBudget)


def check_possible(new: Watched, view: View) -> None:
    """Says why an object cannot be.

    Raises:
        ImpossibleFixtureError: with what to change.
    """
    meta = new.metadata
    kind = type(new).__name__
    if not meta.name:
        raise ImpossibleFixtureError(f"a {kind} needs a name")
    if isinstance(new, _CLUSTER_SCOPED) == bool(meta.namespace):
        rule = "has no namespace" if isinstance(new, _CLUSTER_SCOPED) else "needs a namespace"
        raise ImpossibleFixtureError(f"{kind} {meta.name} {rule}")
    if view.get(type(new), meta.namespace, meta.name) is not None:
        raise ImpossibleFixtureError(f"{kind} {meta.namespace}/{meta.name} exists: names are unique")
    match new:
        case Node():
            _check_node(new)
        case Deployment():
            _check_deployment(new, view)
        case LeaderWorkerSet():
            _check_groups(new, view)
        case Pod():
            _check_pod(new, view)
        case ScaledObject():
            _check_scaled_object(new, view)
        case _:
            return


def _check_node(node: Node) -> None:
    for resource, amount in node.status.allocatable.items():
        capacity = node.status.capacity.get(resource)
        if capacity is None or parse_quantity(amount) > parse_quantity(capacity):
            raise ImpossibleFixtureError(f"node {node.metadata.name} offers more {resource} than it has")


def _check_deployment(deployment: Deployment, view: View) -> None:
    name, spec = deployment.metadata.name, deployment.spec
    if spec.replicas < 0:
        raise ImpossibleFixtureError(f"Deployment {name} asks for {spec.replicas} replicas")
    if not spec.selector.match_labels and not spec.selector.match_expressions:
        raise ImpossibleFixtureError(f"Deployment {name} has an empty selector, which the API server refuses")
    if not spec.selector.matches(spec.template.metadata.labels):
        raise ImpossibleFixtureError(f"Deployment {name} does not select the pods of its own template")
    _check_fits(f"Deployment {name}", spec.template, view)


def _check_groups(groups: LeaderWorkerSet, view: View) -> None:
    name, spec = groups.metadata.name, groups.spec
    template = spec.leader_worker_template
    if spec.replicas < 0 or template.size < 1:
        raise ImpossibleFixtureError(f"LeaderWorkerSet {name} asks for {spec.replicas} groups of {template.size}")
    _check_fits(f"LeaderWorkerSet {name}", template.leader_template or template.worker_template, view)
    _check_fits(f"LeaderWorkerSet {name}", template.worker_template, view)


def _check_fits(owner: str, template: PodTemplate, view: View) -> None:
    wanted = requested(template.spec)[0]
    largest = max((gpu_count(node.status.allocatable) for node in view.all(Node).values()), default=0.0)
    if wanted > largest:
        raise ImpossibleFixtureError(f"a pod of {owner} wants {wanted:g} GPUs, the largest node has {largest:g}")


def _check_pod(pod: Pod, view: View) -> None:
    if not pod.spec.node_name:
        return
    node = view.get(Node, "", pod.spec.node_name)
    if node is None:
        raise ImpossibleFixtureError(f"pod {pod.metadata.name} is on node {pod.spec.node_name}, which is not there")
    others = (other for other in view.all(Pod).values() if other.spec.node_name == pod.spec.node_name)
    taken = sum(requested(other.spec)[0] for other in others)
    if taken + requested(pod.spec)[0] > gpu_count(node.status.allocatable):
        raise ImpossibleFixtureError(
            f"pod {pod.metadata.name} does not fit on {pod.spec.node_name}: {taken:g} GPUs taken"
        )


def _check_scaled_object(scaled_object: ScaledObject, view: View) -> None:
    meta, spec = scaled_object.metadata, scaled_object.spec
    target = spec.scale_target_ref
    if find_workload(view, target.kind, meta.namespace, target.name) is None:
        raise ImpossibleFixtureError(f"ScaledObject {meta.name} scales {target.kind} {target.name}, which is not there")
    if spec.min_replica_count > spec.max_replica_count:
        raise ImpossibleFixtureError(f"ScaledObject {meta.name} has minReplicaCount above maxReplicaCount")
    if len(spec.triggers) != 1:
        raise ImpossibleFixtureError(f"ScaledObject {meta.name} needs exactly one trigger in the twin")
    if spec.triggers[0].metric_type not in ("", "AverageValue"):
        raise ImpossibleFixtureError(f"ScaledObject {meta.name}: the twin's HPA knows metricType AverageValue alone")
