"""Definitions say what the structs say, in the words that the API server takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from wattkeeper.api.crds import KINDS, Kind, Rule, definitions, schema
from wattkeeper.api.meta import Wire
from wattkeeper.cli.crds import crds

Schema = dict[str, Any]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def nodes(node: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema inside a schema, with its path; `[]` for entries of lists, `{}` for values of maps."""
    yield path, node
    for name, one in node.get("properties", {}).items():
        yield from nodes(one, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}.[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from nodes(node["additionalProperties"], f"{path}.{{}}")


def kind_named(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


def field(kind: str, path: str) -> Schema:
    return dict(nodes(schema(kind_named(kind))))[path]


@EVERY_KIND
def test_a_schema_has_no_references_and_no_unions(kind: Kind) -> None:
    for path, node in nodes(schema(kind)):
        assert isinstance(node["type"], str), path
        assert not {"$ref", "$defs", "anyOf", "oneOf", "title", "nullable"} & set(node), path


@EVERY_KIND
def test_every_field_of_the_structs_is_there_by_its_wire_name(kind: Kind) -> None:
    made = schema(kind)["properties"]
    assert set(made) == {"apiVersion", "kind", "metadata", "spec", "status"}
    for name in ("spec", "status"):
        struct = type_of(kind, name)
        assert set(made[name]["properties"]) == set(struct.__struct_encode_fields__)


def type_of(kind: Kind, part: str) -> type[Wire]:
    module = import_module(kind.struct.__module__)
    return getattr(module, f"{kind.name}{part.capitalize()}")


@EVERY_KIND
def test_every_field_that_people_write_says_what_it_is(kind: Kind) -> None:
    for path, node in nodes(schema(kind)["properties"]["spec"]):
        if not path.endswith(("[]", "{}")):
            assert node.get("description"), path


@EVERY_KIND
def test_every_text_and_list_of_a_spec_is_bounded_so_that_rules_stay_cheap(kind: Kind) -> None:
    for path, node in nodes(schema(kind)["properties"]["spec"]):
        if node["type"] == "string" and "enum" not in node:
            assert "maxLength" in node, path
        if node["type"] == "array":
            assert "maxItems" in node, path
        if node["type"] in ("integer", "number"):
            assert "maximum" in node, path


@EVERY_KIND
def test_a_status_has_no_defaults(kind: Kind) -> None:
    assert [path for path, node in nodes(schema(kind)["properties"]["status"]) if "default" in node] == []


@EVERY_KIND
def test_rules_blame_fields_that_exist(kind: Kind) -> None:
    known = {path for path, _ in nodes(schema(kind))}
    for rule in kind.rules:
        steps = [step for step in (*rule.at.split("."), *rule.field.split(".")) if step]
        assert "".join(f".{step}" for step in steps) in known, rule.message


def test_a_rule_about_an_unknown_field_is_an_error() -> None:
    budget = kind_named("PowerBudget")
    typo = Kind(
        struct=budget.struct,
        plural=budget.plural,
        short_names=budget.short_names,
        namespaced=budget.namespaced,
        columns=budget.columns,
        rules=(Rule(at="spec.limitWats", rule="true", message="never"),),
        map_lists={},
    )
    with pytest.raises(KeyError, match="limitWats"):
        schema(typo)


def test_an_optional_struct_is_an_object_that_may_be_absent() -> None:
    spec = field("PowerBudget", ".spec")
    assert spec["properties"]["parentRef"]["type"] == "object"
    assert spec["required"] == ["limitWatts"]


def test_watts_are_numbers_and_replicas_are_32_bit_integers() -> None:
    assert field("PowerBudget", ".spec.limitWatts")["type"] == "number"
    replicas = field("PowerCappingPolicy", ".spec.maxReplicas")
    assert (replicas["type"], replicas["format"], replicas["minimum"]) == ("integer", "int32", 1)
    assert field("PowerBudget", ".status.nodes")["format"] == "int64"


def test_an_exclusive_bound_is_spelt_as_openapi_3_0_does() -> None:
    target = field("PowerCappingPolicy", ".spec.demand.targetPerReplica")
    assert (target["minimum"], target["exclusiveMinimum"]) == (0, True)


def test_defaults_that_say_something_are_kept_and_empty_ones_are_not() -> None:
    spec = field("PowerCappingPolicy", ".spec")["properties"]
    assert {name: one["default"] for name, one in spec.items() if "default" in one} == {
        "mode": "Off",
        "priority": 0,
        "minReplicas": 0,
        "maxReplicas": 100,
        "rollout": "Surge",
    }


def test_maps_of_labels_hold_texts() -> None:
    labels = field("PowerBudget", ".spec.nodeSelector.matchLabels")
    assert labels["type"] == "object"
    assert labels["additionalProperties"]["type"] == "string"


def test_conditions_are_one_per_type() -> None:
    conditions = field("PowerRecommendation", ".status.conditions")
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_columns_without_priority_are_the_ones_always_shown() -> None:
    (version,) = definitions()["powerbudgets.wattkeeper.dev"]["spec"]["versions"]
    shown = [one["name"] for one in version["additionalPrinterColumns"] if "priority" not in one]
    assert shown == ["Limit", "Guarded", "Headroom", "Over", "Readings", "Age"]


def test_only_budgets_belong_to_no_namespace() -> None:
    scopes = {one["spec"]["names"]["kind"]: one["spec"]["scope"] for one in definitions().values()}
    assert scopes == {
        "PowerBudget": "Cluster",
        "PowerCappingPolicy": "Namespaced",
        "PowerRecommendation": "Namespaced",
        "PowerMigration": "Namespaced",
    }


def test_the_command_prints_what_kubectl_applies() -> None:
    printed = CliRunner().invoke(crds)
    assert printed.exit_code == 0
    assert list(yaml.safe_load_all(printed.output)) == list(definitions().values())


def test_the_command_prints_json_as_one_list() -> None:
    printed = json.loads(CliRunner().invoke(crds, ["-o", "json"]).output)
    assert (printed["kind"], printed["items"]) == ("List", list(definitions().values()))
