"""KServe's services, slim: who scales what, and between which bounds.

An InferenceService has components (predictor, transformer, explainer), each a Deployment of its own. An
LLMInferenceService has a workload that decodes, and may have another that prefills; each is a Deployment or a
LeaderWorkerSet. Names are those that KServe 0.20 gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from wattkeeper.api.meta import ObjectMeta
from wattkeeper.cluster.objects import Slim

AUTOSCALER_ANNOTATION: Final = "serving.kserve.io/autoscalerClass"
_LONGEST_NAME: Final = 63
COMPONENTS: Final = ("predictor", "transformer", "explainer")
REPLICA_FIELDS: Final = frozenset(
    {f"spec.{component}.{bound}Replicas" for component in COMPONENTS for bound in ("min", "max")}
    | {
        f"spec.{part}{field}"
        for part in ("", "prefill.")
        for field in ("replicas", "scaling.minReplicas", "scaling.maxReplicas")
    }
)
"""Every field that is ever changed."""


class ManagedFields(Slim, frozen=True, kw_only=True):
    """Which fields a manager last wrote: keys are `f:` and a field's name, nested."""

    manager: str = ""
    subresource: str = ""
    fields_v1: dict[str, Any] = {}


class KServeMeta(ObjectMeta, frozen=True, kw_only=True):
    """Metadata, with who wrote what."""

    managed_fields: tuple[ManagedFields, ...] = ()


class Given(Slim, frozen=True, kw_only=True):
    """Something that is there; what is in it does not matter."""


class Component(Slim, frozen=True, kw_only=True):
    """A component's bounds. KServe reads a maxReplicas of 0 as unset, and an absent minReplicas as 1.

    Only a predictor's name becomes a part of its Deployment's name.
    """

    name: str = ""
    annotations: dict[str, str] = {}
    min_replicas: int | None = None
    max_replicas: int | None = None
    worker_spec: Given | None = None


class Canary(Slim, frozen=True, kw_only=True):
    """Another predictor beside the service's own, with replicas that KServe keeps fixed."""

    predictor: Component = Component()


class InferenceServiceSpec(Slim, frozen=True, kw_only=True):
    """The components."""

    predictor: Component = Component()
    transformer: Component | None = None
    explainer: Component | None = None
    canary: tuple[Canary, ...] = ()


class InferenceService(Slim, frozen=True, kw_only=True):
    """KServe's InferenceService."""

    metadata: KServeMeta
    spec: InferenceServiceSpec = InferenceServiceSpec()


class VariantScaling(Slim, frozen=True, kw_only=True):
    """The Workload Variant Autoscaler, through an HPA or through KEDA."""

    hpa: Given | None = None


class Scaling(Slim, frozen=True, kw_only=True):
    """Bounds of an autoscaler that KServe makes for a workload."""

    min_replicas: int | None = None
    max_replicas: int | None = None
    wva: VariantScaling | None = None


class LLMWorkload(Slim, frozen=True, kw_only=True):
    """A workload of an LLMInferenceService: a fixed number of replicas, or bounds, or neither."""

    replicas: int | None = None
    scaling: Scaling | None = None


class LLMInferenceServiceSpec(LLMWorkload, frozen=True, kw_only=True):
    """The workload that decodes (or does all), and the one that prefills."""

    prefill: LLMWorkload | None = None


class LLMInferenceService(Slim, frozen=True, kw_only=True):
    """KServe's LLMInferenceService."""

    metadata: KServeMeta
    spec: LLMInferenceServiceSpec = LLMInferenceServiceSpec()


KServeService = InferenceService | LLMInferenceService


def child_name(parent: str, suffix: str) -> str:
    """Returns the name that KServe gives to a workload of an LLMInferenceService (knative.dev/pkg kmeta.ChildName).

    >>> child_name("chat", "-kserve")
    'chat-kserve'
    >>> len(child_name("m" * 60, "-kserve-mn-prefill"))
    63
    """
    if len(parent) + len(suffix) <= _LONGEST_NAME:
        return parent + suffix
    digest = hashlib.md5(parent.encode(), usedforsecurity=False).hexdigest()
    return f"{parent[: _LONGEST_NAME - len(digest) - len(suffix)]}{digest}{suffix}"


def read_field(service: KServeService, field: str) -> int | None:
    """Returns what one of REPLICA_FIELDS says, None where it is not set."""
    found: object = service
    for step in field.split("."):
        found = getattr(found, _ATTRIBUTES.get(step, step), None)
    return found if isinstance(found, int) else None


def writers_of(service: KServeService, field: str) -> Iterator[str]:
    """Yields the managers that claim a field, or something that it is a part of.

    KServe's minimal definitions have a spec that is owned as a whole: then an entry ends above the field.
    """
    for entry in service.metadata.managed_fields:
        found: Mapping[str, Any] = entry.fields_v1
        steps = field.split(".")
        while steps and f"f:{steps[0]}" in found:
            found = found[f"f:{steps.pop(0)}"]
        if not entry.subresource and found is not entry.fields_v1 and not (steps and found):
            yield entry.manager


_ATTRIBUTES: Final = {"minReplicas": "min_replicas", "maxReplicas": "max_replicas"}
