"""The parts of Kubernetes objects that Wattkeeper's own kinds share."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

GROUP = "wattkeeper.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

StatusWord = Literal["True", "False", "Unknown"]


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A struct as the API server speaks it: camelCase, absent instead of null, unknown fields ignored."""


class OwnerReference(Wire, frozen=True, kw_only=True):
    """What owns an object."""

    kind: str
    name: str
    uid: str
    api_version: str = ""
    controller: bool = False


class ObjectMeta(Wire, frozen=True, kw_only=True):
    """The metadata that Wattkeeper reads and writes."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: str = ""
    deletion_timestamp: str = ""


class LabelExpression(Wire, frozen=True, kw_only=True):
    """One requirement of a label selector."""

    key: Annotated[str, Meta(min_length=1)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(Wire, frozen=True, kw_only=True):
    """Kubernetes' label selector: every entry must hold. An empty selector selects everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelExpression, ...] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Says whether labels satisfy the selector."""
        if any(labels.get(key) != value for key, value in self.match_labels.items()):
            return False
        return all(_holds(expression, labels) for expression in self.match_expressions)


def _holds(expression: LabelExpression, labels: dict[str, str]) -> bool:
    match expression.operator:
        case "In":
            return labels.get(expression.key) in expression.values
        case "NotIn":
            return labels.get(expression.key) not in expression.values
        case "Exists":
            return expression.key in labels
        case "DoesNotExist":
            return expression.key not in labels


class Condition(Wire, frozen=True, kw_only=True):
    """One condition of a status (field names are Kubernetes' metav1.Condition)."""

    type: str
    status: StatusWord
    reason: Annotated[str, Meta(min_length=1)]
    message: str = ""
    last_transition_time: str
    observed_generation: int = 0


class ScaleTargetRef(Wire, frozen=True, kw_only=True):
    """The workload that is scaled: one service."""

    kind: Literal["Deployment", "LeaderWorkerSet"]
    name: Annotated[str, Meta(min_length=1)]
    api_version: str = "apps/v1"
