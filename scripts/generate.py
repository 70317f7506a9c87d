"""Generates definitions for kubectl and for the chart, the reference for people, and the chart's copy of alert rules.

    python -m scripts.generate

The output is committed; a test makes it anew and fails on a difference. Stubs have their own generate_stubs.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.reference import kinds_page, settings_page, values_schema
from wattkeeper.api.crds import definitions, to_yaml

ROOT = Path(__file__).resolve().parent.parent

MADE_BY = "Generated from {} by make generate. Edit that instead."
ALERT_RULES = ("facts.yaml", "health.yaml")
VALUES_SCHEMA = "manifests/chart/values.schema.json"


def outputs() -> dict[str, str]:
    """Returns the text of every generated file by its path in the repository."""
    made: dict[str, str] = {}
    for name, definition in definitions().items():
        text = f"# {MADE_BY.format('wattkeeper/api')}\n{to_yaml(definition)}"
        made[f"manifests/crds/{name}.yaml"] = text
        made[f"manifests/chart/files/crds/{name}.yaml"] = text
    for name in ALERT_RULES:
        text = (ROOT / "manifests" / "alerts" / name).read_text()
        made[f"manifests/chart/files/alerts/{name}"] = f"# {MADE_BY.format(f'manifests/alerts/{name}')}\n{text}"
    made["docs/reference/kinds.md"] = f"<!-- {MADE_BY.format('wattkeeper/api')} -->\n\n{kinds_page()}"
    made["docs/reference/settings.md"] = (
        f"<!-- {MADE_BY.format('settings.py of scaler, admission and kserve_hooks')} -->\n\n{settings_page()}"
    )
    made[VALUES_SCHEMA] = values_schema((ROOT / VALUES_SCHEMA).read_text())
    return made


def main() -> int:
    """Writes what differs, says so."""
    for name, text in outputs().items():
        path = ROOT / name
        if path.exists() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
