"""Which API group, version and path each kind has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote

from wattkeeper.api.meta import GROUP, VERSION
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_migration import PowerMigration
from wattkeeper.api.power_recommendation import PowerRecommendation
from wattkeeper.cluster.interface import Watched
from wattkeeper.cluster.kserve import InferenceService, LLMInferenceService
from wattkeeper.cluster.objects import (
    Deployment,
    HorizontalPodAutoscaler,
    LeaderWorkerSet,
    LimitRange,
    Namespace,
    Node,
    Pod,
    PodDisruptionBudget,
    ResourceQuota,
    ScaledObject,
)
from wattkeeper.cluster.trust import WebhookKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One kind as the API server serves it.

    Attributes:
        group: API group, "" for the core group.
        plural: the name in paths.
        optional: its CRD may be missing; then there are no such objects.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    optional: bool = False

    @property
    def api_version(self) -> str:
        """Group and version as objects carry them."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def collection(self, namespace: str = "") -> str:
        """Returns the path of all objects, or of one namespace's."""
        prefix = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return f"{prefix}{scope}/{self.plural}"

    def item(self, namespace: str, name: str, subresource: str = "") -> str:
        """Returns the path of one object or of a subresource of it."""
        tail = f"/{subresource}" if subresource else ""
        return f"{self.collection(namespace)}/{quote(name, safe='')}{tail}"


RESOURCES: Mapping[type[Watched], Resource] = MappingProxyType(
    {
        Node: Resource(group="", version="v1", kind="Node", plural="nodes", namespaced=False),
        Namespace: Resource(group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False),
        Pod: Resource(group="", version="v1", kind="Pod", plural="pods"),
        Deployment: Resource(group="apps", version="v1", kind="Deployment", plural="deployments"),
        LeaderWorkerSet: Resource(
            group="leaderworkerset.x-k8s.io",
            version="v1",
            kind="LeaderWorkerSet",
            plural="leaderworkersets",
            optional=True,
        ),
        ScaledObject: Resource(
            group="keda.sh", version="v1alpha1", kind="ScaledObject", plural="scaledobjects", optional=True
        ),
        InferenceService: Resource(
            group="serving.kserve.io",
            version="v1beta1",
            kind="InferenceService",
            plural="inferenceservices",
            optional=True,
        ),
        LLMInferenceService: Resource(
            group="serving.kserve.io",
            version="v1alpha2",
            kind="LLMInferenceService",
            plural="llminferenceservices",
            optional=True,
        ),
        HorizontalPodAutoscaler: Resource(
            group="autoscaling", version="v2", kind="HorizontalPodAutoscaler", plural="horizontalpodautoscalers"
        ),
        PodDisruptionBudget: Resource(
            group="policy", version="v1", kind="PodDisruptionBudget", plural="poddisruptionbudgets"
        ),
        LimitRange: Resource(group="", version="v1", kind="LimitRange", plural="limitranges"),
        ResourceQuota: Resource(group="", version="v1", kind="ResourceQuota", plural="resourcequotas"),
        PowerBudget: Resource(
            group=GROUP, version=VERSION, kind="PowerBudget", plural="powerbudgets", namespaced=False
        ),
        PowerCappingPolicy: Resource(
            group=GROUP, version=VERSION, kind="PowerCappingPolicy", plural="powercappingpolicies"
        ),
        PowerRecommendation: Resource(
            group=GROUP, version=VERSION, kind="PowerRecommendation", plural="powerrecommendations"
        ),
        PowerMigration: Resource(group=GROUP, version=VERSION, kind="PowerMigration", plural="powermigrations"),
    }
)

LEASES = Resource(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases")
ENDPOINT_SLICES = Resource(group="discovery.k8s.io", version="v1", kind="EndpointSlice", plural="endpointslices")
EVENTS = Resource(group="events.k8s.io", version="v1", kind="Event", plural="events")
POD_METRICS = Resource(group="metrics.k8s.io", version="v1beta1", kind="PodMetrics", plural="pods")
CONFIG_MAPS = Resource(group="", version="v1", kind="ConfigMap", plural="configmaps")
SECRETS = Resource(group="", version="v1", kind="Secret", plural="secrets")
WEBHOOKS: Mapping[WebhookKind, Resource] = MappingProxyType(
    {
        "MutatingWebhookConfiguration": Resource(
            group="admissionregistration.k8s.io",
            version="v1",
            kind="MutatingWebhookConfiguration",
            plural="mutatingwebhookconfigurations",
            namespaced=False,
        ),
        "ValidatingWebhookConfiguration": Resource(
            group="admissionregistration.k8s.io",
            version="v1",
            kind="ValidatingWebhookConfiguration",
            plural="validatingwebhookconfigurations",
            namespaced=False,
        ),
    }
)
