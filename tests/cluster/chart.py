"""The Helm chart as the objects that it renders, for tests that want the very roles that users get."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import yaml

from tests.cluster.controlplane.api import Object
from tests.cluster.controlplane.build import build, require_go
from tests.cluster.controlplane.suites import CONTROL_PLANE

CHART = Path(__file__).resolve().parents[2] / "manifests" / "chart"
HELM_SECONDS = 60
ACCESS_KINDS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


class ChartError(Exception):
    """Helm refused; the message carries its own words."""


def rendered_chart(
    *, release: str = "wattkeeper", namespace: str = "wattkeeper", values: Mapping[str, object] | None = None
) -> list[Object]:
    """Returns every object of the chart.

    Args:
        release: name of the release, and of most objects.
        namespace: where it is installed; it need not exist.
        values: what is set besides the chart's own values.

    Raises:
        ChartError: Helm refused the values or the templates.
        MissingToolError: Go is not installed, so there is no Helm.
    """
    return cast("list[Object]", json.loads(_rendered(release, namespace, json.dumps(values or {}, sort_keys=True))))


def of_component(items: Iterable[Object], component: str) -> list[Object]:
    """Returns the objects of one part of the product: scaler or admission."""
    return [one for one in items if one["metadata"]["labels"]["app.kubernetes.io/component"] == component]


def only(items: Iterable[Object], kind: str, component: str = "scaler") -> Object:
    """Returns the one object of a kind that a part of the product has."""
    (found,) = (one for one in of_component(items, component) if one["kind"] == kind)
    return found


def rendered_access(
    component: str = "scaler", *, release: str = "wattkeeper", namespace: str = "wattkeeper"
) -> list[Object]:
    """Returns the service account and roles of one part of the product alone; the rest as above."""
    items = of_component(rendered_chart(release=release, namespace=namespace), component)
    return [one for one in items if one["kind"] in ACCESS_KINDS]


def helm(*arguments: str, kubeconfig: Path = Path("/dev/null")) -> str:
    """Runs Helm, which sees no cluster but that of the kubeconfig, and returns what it prints.

    Raises:
        ChartError: it failed.
        MissingToolError: Go is not installed, so there is no Helm.
    """
    program = build(CONTROL_PLANE, go=require_go()).programs["helm"]
    with TemporaryDirectory() as home:
        environment = os.environ | {"HOME": home, "HELM_CACHE_HOME": home, "HELM_CONFIG_HOME": home}
        environment |= {"HELM_DATA_HOME": home, "KUBECONFIG": str(kubeconfig)}
        done = subprocess.run(
            [program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=HELM_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    if done.returncode:
        raise ChartError(done.stderr + done.stdout)
    return done.stdout


@functools.cache
def _rendered(release: str, namespace: str, values: str) -> str:
    """Keeps text rather than objects, which a test might change."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "values.json")
        file.write_text(values)
        text = helm("template", release, str(CHART), f"--namespace={namespace}", f"--values={file}")
    return json.dumps([one for one in yaml.safe_load_all(text) if one])
