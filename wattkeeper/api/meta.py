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
    finalizers: tuple[str, ...] = ()
    creation_timestamp: str = ""
    deletion_timestamp: str = ""


class LabelExpression(Wire, frozen=True, kw_only=True):
    """One requirement of a label selector."""

    key: Annotated[
        str, Meta(min_length=1, max_length=317, description="The label's key, with its prefix if it has one.")
    ]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"], Meta(description="How the label relates to values.")
    ]
    values: Annotated[
        tuple[Annotated[str, Meta(max_length=63)], ...],
        Meta(max_length=64, description="Only, and at least one, with In and NotIn."),
    ] = ()


class LabelSelector(Wire, frozen=True, kw_only=True):
    """Kubernetes' label selector: every entry must hold. An empty selector selects everything."""

    match_labels: Annotated[
        dict[str, Annotated[str, Meta(max_length=63)]],
        Meta(max_length=32, description="Labels that must be there with exactly these values."),
    ] = {}
    match_expressions: Annotated[
        tuple[LabelExpression, ...], Meta(max_length=32, description="Requirements that must all hold.")
    ] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Says whether labels satisfy the selector."""
        # Loops, because thousands of nodes and policies are held against selectors while somebody waits.
        for key, value in self.match_labels.items():
            if labels.get(key) != value:
                return False
        return not self.match_expressions or all(_holds(expression, labels) for expression in self.match_expressions)


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

    type: Annotated[str, Meta(description="What the condition is about, such as Ready.")]
    status: Annotated[StatusWord, Meta(description="Whether it holds.")]
    reason: Annotated[str, Meta(min_length=1, description="Why, in one word.")]
    message: Annotated[str, Meta(description="Why, for people.")] = ""
    last_transition_time: Annotated[str, Meta(description="When status last changed.")]
    observed_generation: Annotated[int, Meta(description="The generation of the spec that this is about.")] = 0


class ScaleTargetRef(Wire, frozen=True, kw_only=True):
    """The workload that is scaled: one service."""

    kind: Annotated[Literal["Deployment", "LeaderWorkerSet"], Meta(description="The workload's kind.")]
    name: Annotated[str, Meta(min_length=1, max_length=253, description="The workload's name, in this namespace.")]
    api_version: Annotated[str, Meta(min_length=1, max_length=317, description="The workload's group and version.")] = (
        "apps/v1"
    )
