"""The CustomResourceDefinitions, made from the kinds' own structs.

A struct says types, defaults, bounds and descriptions; what a struct cannot say stands in KINDS below: names, printer
columns, and rules in CEL. Rules see only what was asked for, so their messages say what to do.

Defaults of a spec are written into the definition, so that `kubectl get -o yaml` shows what holds. Defaults of a
status are not: what nobody has written must look unwritten. Empty ones ("", [], {}) are left out: Kubernetes calls
them absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import msgspec
import yaml

from wattkeeper.api.meta import GROUP, VERSION, Wire
from wattkeeper.api.power_budget import PowerBudget
from wattkeeper.api.power_capping_policy import PowerCappingPolicy
from wattkeeper.api.power_migration import PowerMigration
from wattkeeper.api.power_recommendation import PowerRecommendation

Schema = dict[str, Any]

CATEGORY: Final = "wattkeeper"
_INT32: Final = (-(2**31), 2**31 - 1)
# Bounds and annotations that both JSON schema and Kubernetes' structural schema spell the same way.
_KEPT: Final = (
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of `kubectl get`.

    Attributes:
        path: JSONPath from the object's root.
        priority: 0 is always shown, 1 only with `-o wide`.
    """

    name: str
    path: str
    type: Literal["string", "integer", "number", "date"] = "string"
    priority: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One CEL rule that the API server checks.

    Attributes:
        at: the field whose value is `self`, as a path ("spec.demand"); "" is the object.
        rule: the CEL expression; false refuses the write.
        message: what is wrong and what to do.
        field: the field to blame, as a path from `at`; "" blames `at` itself.
        sees_creation: the rule also runs when there is no old value: oldSelf is then an optional.
    """

    at: str
    rule: str
    message: str
    field: str = ""
    sees_creation: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind, as far as its struct does not say it.

    Attributes:
        map_lists: lists that hold one entry per value of a key: path -> key.
    """

    struct: type[Wire]
    plural: str
    short_names: tuple[str, ...]
    namespaced: bool
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...]
    map_lists: Mapping[str, str]

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.struct.__name__


def _selector_rules(at: str) -> tuple[Rule, ...]:
    """Returns what a label selector must keep to: Kubernetes would refuse it, but only when it is used."""
    return (
        Rule(
            at=f"{at}.matchExpressions.[]",
            rule="self.operator in ['In', 'NotIn'] ? size(self.?values.orValue([])) > 0 "
            ": size(self.?values.orValue([])) == 0",
            message="values must name at least one value for In and NotIn, and none for Exists and DoesNotExist",
            field="values",
        ),
    )


KINDS: Final[tuple[Kind, ...]] = (
    Kind(
        struct=PowerBudget,
        plural="powerbudgets",
        short_names=("pb",),
        namespaced=False,
        columns=(
            Column(name="Limit", path=".spec.limitWatts", type="number"),
            Column(name="Guarded", path=".status.guardedWatts", type="number"),
            Column(name="Headroom", path=".status.headroomWatts", type="number"),
            Column(name="Over", path=".status.overWatts", type="number"),
            Column(name="Readings", path=".status.readings"),
            Column(name="Meter", path=".spec.meter", priority=1),
            Column(name="Measured", path=".status.meterWatts", type="number", priority=1),
            Column(name="Expected", path=".status.expectedWatts", type="number", priority=1),
            Column(name="Nodes", path=".status.nodes", type="integer", priority=1),
            Column(name="Parent", path=".spec.parentRef.name", priority=1),
            Column(name="Evaluated", path=".status.lastEvaluated", type="date", priority=1),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
        rules=(
            Rule(
                at="",
                rule="!has(self.spec.parentRef) || self.spec.parentRef.name != self.metadata.name",
                message="parentRef.name must name another budget: a budget cannot be its own parent",
                field="spec.parentRef.name",
            ),
            # A cut of limitWatts must pass whatever is reserved: refusing it would leave the higher limit in force.
            Rule(
                at="spec",
                rule="self.reservedWatts <= self.limitWatts || "
                "(oldSelf.hasValue() && self.reservedWatts <= oldSelf.value().reservedWatts)",
                message="reservedWatts must not exceed limitWatts: lower reservedWatts or raise limitWatts",
                field="reservedWatts",
                sees_creation=True,
            ),
            *_selector_rules("spec.nodeSelector"),
        ),
        map_lists={"spec.namespacePriorities": "namespace", "status.conditions": "type"},
    ),
    Kind(
        struct=PowerCappingPolicy,
        plural="powercappingpolicies",
        short_names=("pcp",),
        namespaced=True,
        columns=(
            Column(name="Mode", path=".spec.mode"),
            Column(name="Priority", path=".spec.priority", type="integer"),
            Column(name="Min", path=".spec.minReplicas", type="integer"),
            Column(name="Max", path=".spec.maxReplicas", type="integer"),
            Column(name="Services", path=".status.services", type="integer"),
            Column(name="Demand", path=".spec.demand.metric", priority=1),
            Column(name="Per replica", path=".spec.demand.targetPerReplica", type="number", priority=1),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
        rules=(
            Rule(
                at="spec",
                rule="self.maxReplicas >= self.minReplicas",
                message="maxReplicas must be at least minReplicas: raise maxReplicas or lower minReplicas",
                field="maxReplicas",
            ),
            Rule(
                at="spec",
                rule="self.mode in ['Off', 'Initial'] || size(self.selector.?matchLabels.orValue({})) > 0 || "
                "size(self.selector.?matchExpressions.orValue([])) > 0",
                message="selector must not be empty in an enforcing mode: it would cap every workload of the "
                "namespace; name labels, or use mode Off",
                field="selector",
            ),
            Rule(
                at="spec.demand",
                rule="(self.metric == 'PromQL') == (size(self.?query.orValue('')) > 0)",
                message="query must be given with metric PromQL, and only with it",
                field="query",
            ),
            *_selector_rules("spec.selector"),
        ),
        map_lists={"spec.requests.containers": "name", "status.conditions": "type"},
    ),
    Kind(
        struct=PowerRecommendation,
        plural="powerrecommendations",
        short_names=("prec",),
        namespaced=True,
        columns=(
            Column(name="Target", path=".status.target.replicas", type="integer"),
            Column(name="Uncapped", path=".status.uncappedTarget.replicas", type="integer"),
            Column(name="Watts", path=".status.target.watts", type="number"),
            Column(name="Reason", path=".status.reason"),
            Column(name="Budget", path=".status.bindingBudget"),
            Column(name="Ready", path=".status.conditions[?(@.type=='Ready')].status"),
            Column(name="Mode", path=".status.mode", priority=1),
            Column(name="Policy", path=".spec.policy", priority=1),
            Column(name="Autoscaler", path=".status.actuation.autoscaler", priority=1),
            Column(name="Actuated", path=".status.conditions[?(@.type=='Actuated')].reason", priority=1),
            Column(name="Violation", path=".status.violations[0].type", priority=1),
            Column(name="Message", path=".status.message", priority=1),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
        rules=(
            Rule(
                at="spec.scaleTargetRef",
                rule="self == oldSelf",
                message="scaleTargetRef cannot change: delete this recommendation; the leader writes one per target",
            ),
        ),
        map_lists={"status.waitingPods": "name", "status.actuation.fields": "field", "status.conditions": "type"},
    ),
    Kind(
        struct=PowerMigration,
        plural="powermigrations",
        short_names=("pm",),
        namespaced=True,
        columns=(
            Column(name="Service", path=".spec.scaleTargetRef.name"),
            Column(name="Pod", path=".spec.pod.name"),
            Column(name="Budget", path=".spec.budget"),
            Column(name="Phase", path=".status.phase"),
            Column(name="Since", path=".status.since", type="date"),
            Column(name="New pod", path=".status.newPod.name", priority=1),
            Column(name="Reservation", path=".status.reservation.state", priority=1),
            Column(name="Message", path=".status.message", priority=1),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
        rules=(
            Rule(
                at="spec",
                rule="self == oldSelf",
                message="a migration cannot change: delete it, which rolls it back, and make another",
            ),
        ),
        map_lists={"status.conditions": "type"},
    ),
)


def definitions() -> dict[str, Schema]:
    """Returns the CustomResourceDefinitions by their names (`powerbudgets.wattkeeper.dev`)."""
    return {f"{kind.plural}.{GROUP}": definition(kind) for kind in KINDS}


def definition(kind: Kind) -> Schema:
    """Returns one CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": list(kind.short_names),
                "categories": [CATEGORY],
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": schema(kind)},
                }
            ],
        },
    }


def schema(kind: Kind) -> Schema:
    """Returns the structural schema of a kind: no references, no unions, rules at the fields they are about."""
    document = msgspec.json.schema(kind.struct)
    known: Mapping[str, Schema] = document["$defs"]
    parts: Schema = known[kind.name]["properties"]
    root: Schema = {
        "description": known[kind.name]["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _structural(parts["spec"], known, defaults=True),
            "status": _structural(parts["status"], known, defaults=False),
        },
    }
    for path, key in kind.map_lists.items():
        _field(root, path).update({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]})
    for rule in kind.rules:
        _field(root, rule.at).setdefault("x-kubernetes-validations", []).append(_validation(rule))
    return root


def to_yaml(document: Schema) -> str:
    """Returns a document as YAML, keys in the order of the document."""
    return yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)


def _column(column: Column) -> Schema:
    made: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return made | ({"priority": column.priority} if column.priority else {})


def _validation(rule: Rule) -> Schema:
    made: Schema = {"rule": rule.rule, "message": rule.message}
    if rule.field:
        made["fieldPath"] = f".{rule.field}"
    if rule.sees_creation:
        made["optionalOldSelf"] = True
    return made


def _field(root: Schema, path: str) -> Schema:
    """Returns the schema of a field. `[]` steps into the entries of a list.

    Raises:
        KeyError: the kind has no such field.
    """
    found = root
    for step in path.split(".") if path else ():
        found = found["items"] if step == "[]" else found["properties"][step]
    return found


def _structural(node: Schema, known: Mapping[str, Schema], *, defaults: bool) -> Schema:
    """Returns a JSON schema of msgspec's as Kubernetes takes it."""
    node = _resolved(node, known)
    made: Schema = {"description": node["description"]} if "description" in node else {}
    made["type"] = node.get("type", "string")  # Literals carry none; all of ours are words.
    made |= {name: node[name] for name in _KEPT if name in node}
    if "exclusiveMinimum" in made:  # JSON schema gives the bound itself, OpenAPI 3.0 a bound and a flag.
        made |= {"minimum": made["exclusiveMinimum"], "exclusiveMinimum": True}
    if defaults and node.get("default") not in (None, "", [], (), {}):
        default: Any = node["default"]
        made["default"] = [*cast("tuple[Any, ...]", default)] if isinstance(default, tuple) else default
    match made["type"]:
        case "object" if "properties" in node:
            made["properties"] = {
                name: _structural(one, known, defaults=defaults) for name, one in node["properties"].items()
            }
            if node.get("required"):
                made["required"] = node["required"]
        case "object":
            made["additionalProperties"] = _structural(node["additionalProperties"], known, defaults=defaults)
        case "array":
            made["items"] = _structural(node["items"], known, defaults=defaults)
        case "integer":
            low, high = node.get("minimum"), node.get("maximum")
            narrow = low is not None and high is not None and low >= _INT32[0] and high <= _INT32[1]
            made["format"] = "int32" if narrow else "int64"
        case _:
            pass
    return made


def _resolved(node: Schema, known: Mapping[str, Schema]) -> Schema:
    """Replaces a reference by what it names, and `X | null` by X; what stands beside them wins."""
    while True:
        if "$ref" in node:
            target = known[node["$ref"].rpartition("/")[2]]
        elif "anyOf" in node:
            (target,) = (one for one in node["anyOf"] if one.get("type") != "null")
        else:
            return node
        node = target | {name: value for name, value in node.items() if name not in ("$ref", "anyOf")}
