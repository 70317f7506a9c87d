"""Reference pages and value schemas, made from the kinds' definitions and from the settings classes."""

from __future__ import annotations

import inspect
import json
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from admission.settings import AdmissionSettings
from kserve_hooks.settings import ActuatorSettings
from scaler.settings import ScalerSettings
from wattkeeper.algorithms.registry import BUILT_INS
from wattkeeper.api.crds import KINDS, Kind, Schema, schema
from wattkeeper.api.meta import API_VERSION

PREFIX = "WATTKEEPER_"
# What the chart sets by other values, or by what only it knows.
SET_BY_CHART = frozenset(
    {
        "identity",
        "namespace",
        "kubeconfig",
        "context",
        "listen_address",
        "metrics_address",
        "tls_certificate",
        "tls_key",
        "tls_client_ca",
        "insecure",
        "certificate_secret",
        "certificate_names",
        "mutating_configuration",
        "validating_configuration",
        "alert_sinks_file",
        "scaler_address",
        "scaler_tls",
        "scaler_authority_file",
    }
)
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "maxLength": "characters at most",
    "maxItems": "entries at most",
}


def kinds_page() -> str:
    """Returns the page about every field of every kind."""
    parts = ["# Kinds\n", f"Group and version: `{API_VERSION}`. `kubectl get wattkeeper -A` lists all of them.\n"]
    parts += [_kind(kind) for kind in KINDS]
    return "\n".join(parts)


def _kind(kind: Kind) -> str:
    made = schema(kind)
    scope = "one namespace" if kind.namespaced else "the whole cluster"
    names = ", ".join(f"`{name}`" for name in kind.short_names)
    lines = [f"## {kind.name}\n", f"{made['description']} Belongs to {scope}; short name {names}.\n"]
    for part in ("spec", "status"):
        section = made["properties"][part]
        lines += [f"### {kind.name}.{part}\n", f"{section['description']}\n"]
        lines += ["| field | type | meaning |", "| --- | --- | --- |"]
        required = section.get("required", [])
        lines += [row for name, one in section["properties"].items() for row in _rows(name, one, name in required)]
        lines.append("")
    if kind.rules:
        lines += ["Rules that the API server checks:\n"]
        lines += [f"- {_cell(message)}." for message in dict.fromkeys(rule.message for rule in kind.rules)]
        lines.append("")
    return "\n".join(lines)


def _rows(path: str, node: Schema, required: bool) -> list[str]:
    """Returns a field's row of the table, then those of the fields in it."""
    rows = [f"| `{path}` | {_type(node)} | {_cell(_meaning(node, required))} |"]
    inner = node["items"] if node["type"] == "array" else node
    prefix = f"{path}[]" if node["type"] == "array" else path
    if path.endswith("conditions"):
        return rows  # Kubernetes' own form.
    for name, one in inner.get("properties", {}).items():
        rows += _rows(f"{prefix}.{name}", one, name in inner.get("required", []))
    return rows


def _type(node: Schema) -> str:
    match node["type"]:
        case "array":
            return f"list of {_type(node['items'])}s" if node["items"]["type"] != "object" else "list"
        case "object":
            return "object" if "properties" in node else "map of strings"
        case other:
            return str(other)


def _meaning(node: Schema, required: bool) -> str:
    words: list[str] = ["**Required.**"] if required else []
    words += [node["description"]] if "description" in node else []
    if "enum" in node:
        words.append(f"One of {', '.join(node['enum'])}.")
    bounds = [
        f"{node[name]} {text}" if name.startswith("max") and name != "maximum" else f"{text} {_number(node[name])}"
        for name, text in _BOUNDS.items()
        if name in node and not (name == "minimum" and node.get("exclusiveMinimum"))
    ]
    if node.get("exclusiveMinimum"):
        bounds.insert(0, f"above {_number(node['minimum'])}")
    if bounds:
        text = ", ".join(bounds)
        words.append(f"{text[0].upper()}{text[1:]}.")
    if "default" in node:
        words.append(f"Default: `{_number(node['default'])}`.")
    return " ".join(words)


def _number(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,.0f}" if isinstance(value, int | float) and value == int(value) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def settings_page() -> str:
    """Returns the page about every setting of the services."""
    lines = [
        "# Settings\n",
        "Each is an environment variable. Where the command has an option for it, that is the name without its prefix,",
        "in lower case, with dashes. In the chart the scaler's go into `settings`, the admission plugin's into",
        "`admission.settings` and the actuator's into `actuator.settings`; it sets those marked (chart) itself.\n",
    ]
    services: dict[str, type[BaseSettings]] = {
        "scaler": ScalerSettings,
        "admission": AdmissionSettings,
        "actuator": ActuatorSettings,
    }
    for command, settings in services.items():
        lines += [f"## `wattkeeper {command}`\n", "| variable | default | meaning |", "| --- | --- | --- |"]
        for name, field in settings.model_fields.items():
            mark = " (chart)" if name in SET_BY_CHART else ""
            meaning = _cell(inspect.cleandoc(field.description or ""))
            lines.append(f"| `{PREFIX}{name.upper()}`{mark} | {_default(field)} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined or field.default in (None, "", ()):
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def values_schema(text: str) -> str:
    """Returns the schema of the chart's values with the settings of this version in it.

    Args:
        text: the schema as it is; all but its settings is written by hand.
    """
    values: dict[str, Any] = json.loads(text)
    values["properties"]["settings"] = _settings_schema(ScalerSettings)
    values["properties"]["admission"]["properties"]["settings"] = _settings_schema(AdmissionSettings)
    values["properties"]["actuator"]["properties"]["settings"] = _settings_schema(ActuatorSettings)
    return json.dumps(values, indent=2) + "\n"


def _settings_schema(settings: type[BaseSettings]) -> Schema:
    given = {"type": ["string", "number", "boolean"]}
    known = {"enum": sorted(BUILT_INS)}
    names = [name for name in settings.model_fields if name not in SET_BY_CHART]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {f"{PREFIX}{name.upper()}": known if name == "algorithm" else given for name in names},
    }
