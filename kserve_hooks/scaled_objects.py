"""ScaledObjects of our own: for services whose replicas KServe leaves to others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, cast

from wattkeeper.api.meta import ObjectMeta, OwnerReference
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.actuation import OURS
from wattkeeper.cluster.encoding import written
from wattkeeper.cluster.kserve import InferenceService
from wattkeeper.cluster.objects import (
    AuthenticationReference,
    ScaledObject,
    ScaledObjectSpec,
    ScaledObjectTarget,
    Trigger,
)
from wattkeeper.recommender.kserve import Part

_SUFFIX: Final = "-wk"
# KEDA puts the name into a label.
_LONGEST_NAME: Final = 63
_HASH: Final = 8
_TRIGGERS: Final = ("external", "external-push")
_IDLE_SECONDS: Final = 300
"""KEDA's own cooldownPeriod."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TriggerOptions:
    """How triggers of ours look.

    Attributes:
        address: where KEDA asks, host:port.
        tls: over TLS.
        authentication: the ClusterTriggerAuthentication with the scaler's authority, "" for none.
        polling_seconds: how often KEDA asks while a service is idle.
    """

    address: str
    tls: bool = False
    authentication: str = ""
    polling_seconds: int = 15


def scaled_object_name(target: str) -> str:
    """Returns the name of our ScaledObject for a scale target.

    >>> scaled_object_name("chat-predictor")
    'chat-predictor-wk'
    """
    if len(target) + len(_SUFFIX) <= _LONGEST_NAME:
        return target + _SUFFIX
    kept = target[: _LONGEST_NAME - len(_SUFFIX) - _HASH - 1].rstrip("-.")
    return f"{kept}-{hashlib.sha256(target.encode()).hexdigest()[:_HASH]}{_SUFFIX}"


def is_as_wanted(found: ScaledObject, wanted: ScaledObject) -> bool:
    """Says whether an apply would change nothing.

    What others have added counts for nothing, as in an apply: KEDA writes the object back with an empty
    scalingModifiers, for example (seen with 2.21).
    """
    owners = {owner.uid for owner in found.metadata.owner_references}
    owned = {owner.uid for owner in wanted.metadata.owner_references} <= owners
    return owned and _says(written(found.spec), written(wanted.spec))


def _says(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(found, dict):
        entries = cast("dict[str, Any]", wanted)
        there = cast("dict[str, Any]", found)
        return all(key in there and _says(there[key], value) for key, value in entries.items())
    if isinstance(wanted, list) and isinstance(found, list):
        ours, theirs = cast("list[Any]", wanted), cast("list[Any]", found)
        return len(ours) == len(theirs) and all(map(_says, theirs, ours))
    return bool(found == wanted)


def asks_us(scaled_object: ScaledObject, options: TriggerOptions) -> bool:
    """Says whether a ScaledObject has a trigger that asks our scaler."""
    return any(
        trigger.type in _TRIGGERS and _service(trigger.metadata.get("scalerAddress", "")) == _service(options.address)
        for trigger in scaled_object.spec.triggers
    )


def _service(address: str) -> tuple[str, str]:
    """Returns a Service's name with its namespace, and the port: the rest of a host's name says nothing more.

    >>> _service("wattkeeper.power.svc.cluster.local:9090") == _service("wattkeeper.power.svc:9090")
    True
    """
    host, _, port = address.rpartition(":")
    for tail in (".cluster.local", ".svc"):
        host = host.removesuffix(tail)
    return host, port


def our_scaled_object(
    recommendation: PowerRecommendation, part: Part, options: TriggerOptions, *, floor: int, ceiling: int
) -> ScaledObject:
    """Returns the ScaledObject that a cap needs (docs/scaledobject.md says why each setting).

    Args:
        recommendation: whose scale target it scales.
        part: whose it is: it goes with the KServe service.
        options: how its trigger looks.
        floor: the policy's minReplicas.
        ceiling: the most replicas.
    """
    reference, service = recommendation.spec.scale_target_ref, part.service
    version = "v1beta1" if isinstance(service, InferenceService) else "v1alpha2"
    owner = OwnerReference(
        api_version=f"serving.kserve.io/{version}",
        kind=type(service).__name__,
        name=service.metadata.name,
        uid=service.metadata.uid,
    )
    metadata: dict[str, str] = {"scalerAddress": options.address}
    if options.tls:
        metadata["enableTLS"] = "true"
    authentication = (
        AuthenticationReference(name=options.authentication, kind="ClusterTriggerAuthentication")
        if options.authentication
        else None
    )
    trigger = Trigger(type="external", metric_type="AverageValue", metadata=metadata, authentication_ref=authentication)
    return ScaledObject(
        metadata=ObjectMeta(
            namespace=recommendation.metadata.namespace,
            name=scaled_object_name(reference.name),
            labels={OURS[0]: OURS[1]},
            owner_references=(owner,),
        ),
        spec=ScaledObjectSpec(
            scale_target_ref=ScaledObjectTarget(
                name=reference.name, kind=reference.kind, api_version=reference.api_version
            ),
            polling_interval=options.polling_seconds,
            # Else a cap of 0 would wait for it.
            cooldown_period=_IDLE_SECONDS if floor > 0 else 0,
            min_replica_count=floor,
            max_replica_count=ceiling,
            advanced=_advanced(),
            # Where the scaler answers that it cannot say: hold. A KEDA too old to know the behavior goes to the floor.
            fallback={"failureThreshold": 3, "replicas": max(floor, 1), "behavior": "currentReplicas"},
            triggers=(trigger,),
        ),
    )


def _advanced() -> dict[str, Any]:
    policies = [{"type": "Percent", "value": 100, "periodSeconds": 15}]
    behavior = {
        "scaleUp": {"tolerance": "0"},
        "scaleDown": {"stabilizationWindowSeconds": 0, "tolerance": "0", "policies": policies},
    }
    return {"restoreToOriginalReplicaCount": True, "horizontalPodAutoscalerConfig": {"behavior": behavior}}
