"""The chart renders, the real API server takes what it renders, and the scaler may do what it must and no more."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.chart import CHART, ChartError, helm, rendered_access, rendered_chart
from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.plane import Plane
from wattkeeper.api.crds import definitions

ROOT = CHART.parents[1]
SAMPLES = ROOT / "manifests" / "samples"

VARIANTS: dict[str, dict[str, object]] = {
    "the chart's own values": {},
    "plaintext, one replica": {"tls": {"enabled": False}, "replicas": 1},
    "certificates of one's own": {"tls": {"existingSecret": "mine", "requireClientCertificate": True}},
    "settings and placement": {
        "settings": {"WATTKEEPER_PROMETHEUS_URL": "http://prometheus.monitoring:9090"},
        "extraEnv": [{"name": "WATTKEEPER_EXTRA", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}],
        "nodeSelector": {"role": "infra"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "podLabels": {"team": "power"},
        "podAnnotations": {"note": "x"},
        "priorityClassName": "system-cluster-critical",
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccount": {"annotations": {"note": "x"}},
        "service": {"annotations": {"note": "x"}, "port": 9443},
    },
}


async def strictly(api: Api, item: Object) -> Object:
    """Applies an object without storing it; unknown and doubled fields are errors."""
    meta = item["metadata"]
    path = await api.path(item["apiVersion"], item["kind"], namespace=meta.get("namespace"), name=meta["name"])
    query = {"dryRun": "All", "fieldValidation": "Strict", "fieldManager": "tests", "force": "true"}
    return await api.request("PATCH", path, item, content_type="application/apply-patch+yaml", query=query)


def only(items: list[Object], kind: str) -> Object:
    (found,) = (one for one in items if one["kind"] == kind)
    return found


def container(items: list[Object]) -> dict[str, Any]:
    (found,) = only(items, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def test_helm_finds_nothing_to_complain_about(plane: Plane) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize("name", VARIANTS)
async def test_the_api_server_takes_everything_that_is_rendered(bench: Bench, name: str) -> None:
    for item in rendered_chart(namespace=bench.namespace, values=VARIANTS[name]):
        assert await strictly(bench.api, item)


def test_certificates_by_cert_manager_name_the_services_address(plane: Plane) -> None:
    issuer = {"name": "internal", "kind": "ClusterIssuer"}
    values = {"tls": {"certManager": {"enabled": True, "issuerRef": issuer}}}
    items = rendered_chart(namespace="power", values=values)
    spec = only(items, "Certificate")["spec"]
    assert spec["dnsNames"][0] == "wattkeeper.power.svc"
    assert spec["issuerRef"] == issuer
    assert [one for one in items if one["kind"] == "Secret"] == []


def test_the_chart_carries_the_definitions_of_this_very_version(plane: Plane) -> None:
    rendered = {
        one["metadata"]["name"]: one["spec"] for one in rendered_chart() if one["kind"] == "CustomResourceDefinition"
    }
    assert rendered == {name: one["spec"] for name, one in definitions().items()}


def test_definitions_outlive_the_release(plane: Plane) -> None:
    for one in rendered_chart():
        if one["kind"] == "CustomResourceDefinition":
            assert one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_definitions_can_be_left_to_others(plane: Plane) -> None:
    kinds = {one["kind"] for one in rendered_chart(values={"crds": {"install": False}})}
    assert "CustomResourceDefinition" not in kinds


def test_a_packaged_chart_still_has_its_definitions(plane: Plane, tmp_path: Path) -> None:
    helm("package", str(CHART), f"--destination={tmp_path}")
    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as packed:
        names = packed.getnames()
    assert {f"wattkeeper/files/crds/{name}.yaml" for name in definitions()} <= set(names)


def test_the_container_port_is_the_headless_services_own(plane: Plane) -> None:
    items = rendered_chart(values={"service": {"port": 9443}})
    service = only(items, "Service")["spec"]
    assert service["clusterIP"] == "None"
    ports = {one["name"]: one["port"] for one in service["ports"]}
    assert {one["name"]: one["containerPort"] for one in container(items)["ports"]} == ports
    assert ports["grpc"] == 9443


def test_settings_become_environment_variables(plane: Plane) -> None:
    items = rendered_chart(values={"settings": {"WATTKEEPER_TICK_SECONDS": 10}})
    environment = {one["name"]: one.get("value") for one in container(items)["env"]}
    assert environment["WATTKEEPER_TICK_SECONDS"] == "10"


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 2},
        {"replicas": 0},
        {"settings": {"PROMETHEUS_URL": "x"}},
        {"settings": {"WATTKEEPER_TICK_SECOND": 5}},
        {"service": {"port": "grpc"}},
        {"tls": {"certManager": {"enabled": True}}},
    ],
    ids=str,
)
def test_values_that_mean_nothing_are_refused(plane: Plane, values: dict[str, object]) -> None:
    with pytest.raises(ChartError):
        rendered_chart(values=values)


async def test_an_upgrade_keeps_the_certificates(bench: Bench) -> None:
    release = bench.namespace  # Unique, because roles for the whole cluster are named like the release.
    place = (f"--namespace={release}", f"--set=crds.install=false,keda.namespace={release}")
    kubeconfig = bench.plane.kubeconfig

    async def certificates() -> list[tuple[str, Object]]:
        secrets = await bench.api.list(
            "v1", "Secret", namespace=release, selector=f"app.kubernetes.io/instance={release}"
        )
        return sorted(((one["metadata"]["name"], one["data"]) for one in secrets), key=str)

    helm("install", release, str(CHART), *place, kubeconfig=kubeconfig)
    try:
        installed = await certificates()
        helm("upgrade", release, str(CHART), *place, "--set=replicas=3", kubeconfig=kubeconfig)
        assert await certificates() == installed
        assert [name for name, _ in installed] == [f"{release}-wattkeeper-ca", f"{release}-wattkeeper-tls"]
        assert await bench.replicas(f"{release}-wattkeeper") == 3
    finally:
        helm("uninstall", release, f"--namespace={release}", kubeconfig=kubeconfig)


async def allowed(api: Api, verb: str, resource: str, *, namespace: str = "", group: str = "", sub: str = "") -> bool:
    """Asks the API server what the client's own account may do."""
    attributes = {"verb": verb, "resource": resource, "group": group, "namespace": namespace, "subresource": sub}
    review: Object = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await api.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


async def test_the_scaler_may_do_what_it_must_and_no_more(bench: Bench) -> None:
    name = bench.namespace  # Unique, because roles for the whole cluster are named like the release.
    for item in rendered_access(release=name, namespace=bench.namespace):
        await bench.apply(item)
    account = only(rendered_access(release=name, namespace=bench.namespace), "ServiceAccount")["metadata"]["name"]
    connection = (await bench.account(bench.namespace, account)).connection
    own, other = bench.namespace, "default"
    ours = "wattkeeper.dev"
    async with Api(connection) as api:
        for group, resource in (
            ("", "nodes"),
            ("", "namespaces"),
            ("", "pods"),
            ("apps", "deployments"),
            ("leaderworkerset.x-k8s.io", "leaderworkersets"),
            ("keda.sh", "scaledobjects"),
            (ours, "powerbudgets"),
            (ours, "powercappingpolicies"),
            (ours, "powerrecommendations"),
        ):
            assert await allowed(api, "list", resource, group=group), resource
            assert await allowed(api, "watch", resource, group=group), resource
            written = {"powerrecommendations": ("create", "patch", "delete"), "pods": ("patch",)}
            for verb in ("create", "patch", "update", "delete"):
                expected = verb in written.get(resource, ())
                assert await allowed(api, verb, resource, group=group) == expected, f"{verb} {resource}"
        for verb in ("create", "patch", "delete"):
            assert await allowed(api, verb, "powerrecommendations", group=ours, namespace=other)
        for kind in ("powerbudgets", "powercappingpolicies", "powerrecommendations"):
            assert await allowed(api, "patch", kind, group=ours, sub="status")
        assert await allowed(api, "create", "events", group="events.k8s.io", namespace=other)
        for resource, group in (("leases", "coordination.k8s.io"), ("configmaps", "")):
            assert await allowed(api, "create", resource, group=group, namespace=own)
            assert not await allowed(api, "create", resource, group=group, namespace=other)
        assert not await allowed(api, "patch", "deployments", group="apps", sub="scale", namespace=other)
        for sub in ("status", "eviction", "binding", "ephemeralcontainers", "resize"):
            for verb in ("create", "patch", "update"):
                assert not await allowed(api, verb, "pods", sub=sub, namespace=other), f"{verb} pods/{sub}"
        assert not await allowed(api, "get", "secrets", namespace=own)


async def test_every_sample_is_taken_as_it_is(bench: Bench) -> None:
    taken = 0
    for file in sorted(SAMPLES.glob("*.yaml")):
        for item in yaml.safe_load_all(file.read_text()):
            if item["apiVersion"].startswith("serving.kserve.io/"):
                continue  # KServe is not part of this control plane.
            if "namespace" in item["metadata"]:
                item["metadata"]["namespace"] = bench.namespace
            assert await strictly(bench.api, item)
            taken += 1
    assert taken >= 9
