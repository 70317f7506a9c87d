"""The chart renders, and the real API server takes what it renders."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.chart import CHART, ChartError, helm, of_component, only, rendered_chart
from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.bench import Bench
from tests.cluster.controlplane.plane import Plane
from wattkeeper.api.admission import (
    ADMISSION_ENABLED,
    ADMISSION_LABEL,
    CAPPED_LABEL,
    INFERENCE_SERVICE_LABEL,
    LLM_INFERENCE_SERVICE,
    PART_OF_LABEL,
)
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
    "a backstop on trial, in some namespaces": {
        "backstop": {
            "enabled": True,
            "validationActions": ["Warn", "Audit"],
            "failurePolicy": "Fail",
            "namespaceSelector": {"matchLabels": {"team": "power"}},
        },
        "rbac": {"pinPods": False},
    },
    "no admission plugin": {"admission": {"enabled": False}},
    "no actuator": {"actuator": {"enabled": False}},
    "an actuator of one's own making": {
        "actuator": {
            "replicas": 1,
            "settings": {"WATTKEEPER_RAISE_SECONDS": 60},
            "extraEnv": [{"name": "WATTKEEPER_EXTRA", "value": "x"}],
            "restoreOnUninstall": False,
            "serviceAccount": {"name": "own-actuator", "annotations": {"note": "x"}},
            "metricsPort": 9100,
            "affinity": {"nodeAffinity": {}},
        },
    },
    "an admission plugin of one's own making": {
        "admission": {
            "replicas": 1,
            "settings": {"WATTKEEPER_PROMETHEUS_URL": "http://prometheus.monitoring:9090"},
            "extraEnv": [{"name": "WATTKEEPER_EXTRA", "value": "x"}],
            "serviceAccount": {"name": "own", "annotations": {"note": "x"}},
            "service": {"port": 8443, "annotations": {"note": "x"}},
            "webhook": {"failurePolicy": "Fail", "timeoutSeconds": 2, "annotations": {"note": "x"}},
            "tls": {"existingSecret": "mine"},
            "alerts": {"sinksSecret": "sinks"},
            "affinity": {"nodeAffinity": {}},
        },
    },
}


async def strictly(api: Api, item: Object) -> Object:
    """Applies an object without storing it; unknown and doubled fields are errors."""
    meta = item["metadata"]
    path = await api.path(item["apiVersion"], item["kind"], namespace=meta.get("namespace"), name=meta["name"])
    query = {"dryRun": "All", "fieldValidation": "Strict", "fieldManager": "tests", "force": "true"}
    return await api.request("PATCH", path, item, content_type="application/apply-patch+yaml", query=query)


def container(items: list[Object], component: str = "scaler") -> dict[str, Any]:
    (found,) = only(items, "Deployment", component)["spec"]["template"]["spec"]["containers"]
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
    assert [one for one in of_component(items, "scaler") if one["kind"] == "Secret"] == []


def test_only_pods_that_say_so_in_namespaces_that_were_opted_in_come_before_the_webhook(plane: Plane) -> None:
    hooks = only(rendered_chart(), "MutatingWebhookConfiguration", "admission")["webhooks"]
    opted_in = {"matchLabels": {ADMISSION_LABEL: ADMISSION_ENABLED}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    for hook in hooks:
        assert hook["namespaceSelector"] == opted_in
        assert hook["rules"] == [{**rule, "scope": "Namespaced"}]
        assert (hook["failurePolicy"], hook["sideEffects"]) == ("Ignore", "None")
        assert hook["timeoutSeconds"] <= 5
        assert hook["clientConfig"]["service"]["path"] == "/mutate-pods"
    assert [hook["objectSelector"] for hook in hooks] == [
        {"matchExpressions": [{"key": INFERENCE_SERVICE_LABEL, "operator": "Exists"}]},
        {"matchLabels": {PART_OF_LABEL: LLM_INFERENCE_SERVICE}},
        {"matchLabels": {CAPPED_LABEL: "true"}},
    ]


def test_by_default_the_plugin_keeps_its_own_certificates_in_what_the_chart_makes(plane: Plane) -> None:
    items = rendered_chart(namespace="power", values={"admission": {"tls": {"caBundle": "of no use here"}}})
    secret = only(items, "Secret", "admission")
    assert "data" not in secret
    environment = {one["name"]: one.get("value") for one in container(items, "admission")["env"]}
    assert environment["WATTKEEPER_CERTIFICATE_SECRET"] == secret["metadata"]["name"]
    assert json.loads(environment["WATTKEEPER_CERTIFICATE_NAMES"] or "")[0] == "wattkeeper-admission.power.svc"
    for kind in ("Mutating", "Validating"):
        configuration = only(items, f"{kind}WebhookConfiguration", "admission")
        assert environment[f"WATTKEEPER_{kind.upper()}_CONFIGURATION"] == configuration["metadata"]["name"]
        # An upgrade would else put its own in the place of what the plugin wrote.
        assert all("caBundle" not in hook["clientConfig"] for hook in configuration["webhooks"])
    assert "tls" not in [one["name"] for one in container(items, "admission")["volumeMounts"]]


@pytest.mark.parametrize(
    "tls", [{"existingSecret": "mine"}, {"certManager": {"enabled": True, "issuerRef": {"name": "x"}}}], ids=str
)
def test_where_others_make_certificates_the_plugin_may_write_none(plane: Plane, tls: dict[str, object]) -> None:
    items = rendered_chart(values={"admission": {"tls": tls}})
    rules = [*only(items, "ClusterRole", "admission")["rules"], *only(items, "Role", "admission")["rules"]]
    granted = {resource for rule in rules for resource in rule["resources"]}
    assert not granted & {"secrets", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"}
    environment = {one["name"] for one in container(items, "admission")["env"]}
    assert "WATTKEEPER_TLS_CERTIFICATE" in environment
    assert "WATTKEEPER_CERTIFICATE_SECRET" not in environment


def test_cert_manager_certifies_the_webhooks_address_and_writes_its_bundle(plane: Plane) -> None:
    issuer = {"name": "internal", "kind": "ClusterIssuer"}
    values = {"admission": {"tls": {"certManager": {"enabled": True, "issuerRef": issuer}}}}
    items = rendered_chart(namespace="power", values=values)
    certificate = only(items, "Certificate", "admission")
    assert certificate["spec"]["dnsNames"][0] == "wattkeeper-admission.power.svc"
    configuration = only(items, "MutatingWebhookConfiguration", "admission")
    injected = configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
    assert injected == f"power/{certificate['metadata']['name']}"
    assert all("caBundle" not in hook["clientConfig"] for hook in configuration["webhooks"])
    mounted = only(items, "Deployment", "admission")["spec"]["template"]["spec"]["volumes"]
    assert {"secretName": certificate["spec"]["secretName"], "defaultMode": 0o440} in [
        one.get("secret") for one in mounted
    ]


def test_without_the_admission_plugin_nothing_of_it_is_installed(plane: Plane) -> None:
    assert of_component(rendered_chart(values={"admission": {"enabled": False}}), "admission") == []


def policy_names(items: list[Object]) -> list[tuple[str, str]]:
    """Returns kind and name of every policy of the API server's and of every binding of one."""
    return sorted((one["kind"], one["metadata"]["name"]) for one in items if "AdmissionPolicy" in one["kind"])


def test_pods_are_pinned_and_replicas_are_not_held_unless_somebody_asks_for_it(plane: Plane) -> None:
    pin = [(f"ValidatingAdmissionPolicy{kind}", "wattkeeper-pod-pin") for kind in ("", "Binding")]
    backstop = [(kind, "wattkeeper-backstop") for kind, _ in pin]
    assert policy_names(rendered_chart()) == pin
    assert policy_names(rendered_chart(values={"backstop": {"enabled": True}})) == sorted(pin + backstop)
    assert policy_names(rendered_chart(values={"rbac": {"pinPods": False}})) == []


@pytest.mark.parametrize(
    "values",
    [{}, {"admission": {"enabled": False}}, {"serviceAccount": {"name": "own"}, "rbac": {"create": False}}],
    ids=str,
)
def test_the_pin_holds_every_account_of_the_chart(plane: Plane, values: dict[str, object]) -> None:
    items = rendered_chart(namespace="power", values=values)
    accounts = [one["metadata"]["name"] for one in items if one["kind"] == "ServiceAccount"]
    (pin,) = (one for one in items if one["kind"] == "ValidatingAdmissionPolicy")
    (condition,) = pin["spec"]["matchConditions"]
    named = re.findall(r'"system:serviceaccount:power:([^"]*)"', condition["expression"])
    assert sorted(named) == sorted(accounts)


def test_a_backstop_holds_where_it_is_asked_to(plane: Plane) -> None:
    selector = {"matchLabels": {"team": "power"}}
    values = {"backstop": {"enabled": True, "namespaceSelector": selector, "validationActions": ["Audit"]}}
    items = rendered_chart(values=values)
    (binding,) = (
        one["spec"]
        for one in items
        if (one["kind"], one["metadata"]["name"]) == ("ValidatingAdmissionPolicyBinding", "wattkeeper-backstop")
    )
    assert binding["matchResources"] == {"namespaceSelector": selector}
    assert binding["validationActions"] == ["Audit"]


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
    values = {
        "settings": {"WATTKEEPER_TICK_SECONDS": 10},
        "admission": {"settings": {"WATTKEEPER_USAGE_SECONDS": 20}},
        "actuator": {"settings": {"WATTKEEPER_RAISE_SECONDS": 60}},
    }
    items = rendered_chart(values=values)
    for component, name, value in (
        ("scaler", "WATTKEEPER_TICK_SECONDS", "10"),
        ("admission", "WATTKEEPER_USAGE_SECONDS", "20"),
        ("actuator", "WATTKEEPER_RAISE_SECONDS", "60"),
    ):
        assert {one["name"]: one.get("value") for one in container(items, component)["env"]}[name] == value


def test_alert_sinks_come_from_a_secret_that_changes_without_a_restart(plane: Plane) -> None:
    items = rendered_chart(values={"admission": {"alerts": {"sinksSecret": "sinks"}}})
    plugin = container(items, "admission")
    path = {one["name"]: one.get("value") for one in plugin["env"]}["WATTKEEPER_ALERT_SINKS_FILE"]
    (mount,) = [one for one in plugin["volumeMounts"] if one["name"] == "alerts"]
    assert path == f"{mount['mountPath']}/sinks.yaml"
    assert "subPath" not in mount, "it would never change"
    volumes = only(items, "Deployment", "admission")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "alerts", "secret": {"secretName": "sinks", "defaultMode": 0o440}} in volumes
    assert "WATTKEEPER_ALERT_SINKS_FILE" not in {one["name"] for one in container(rendered_chart(), "admission")["env"]}


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 2},
        {"replicas": 0},
        {"settings": {"PROMETHEUS_URL": "x"}},
        {"settings": {"WATTKEEPER_TICK_SECOND": 5}},
        {"service": {"port": "grpc"}},
        {"tls": {"certManager": {"enabled": True}}},
        {"backstop": {"enabled": True, "validationActions": []}},
        {"backstop": {"enabled": True, "validationActions": ["Deny", "Warn"]}},
        {"backstop": {"enabled": True, "failurePolicy": "Open"}},
        {"rbac": {"pinPods": "yes"}},
        {"admission": {"settings": {"WATTKEEPER_TICK_SECONDS": 5}}},
        {"admission": {"alerts": {"sinks": []}}},
        {"actuator": {"settings": {"WATTKEEPER_SCALER_ADDRESS": "x:1"}}},
        {"actuator": {"replicas": 0}},
        {"prometheusRule": {"labels": {"a": 1}}},
        {"admission": {"webhook": {"failurePolicy": "Warn"}}},
        {"admission": {"webhook": {"timeoutSeconds": 30}}},
        {"admission": {"tls": {"certManager": {"enabled": True}}}},
    ],
    ids=str,
)
def test_values_that_mean_nothing_are_refused(plane: Plane, values: dict[str, object]) -> None:
    with pytest.raises(ChartError):
        rendered_chart(values=values)


def test_without_the_actuator_nothing_of_it_is_installed(plane: Plane) -> None:
    assert of_component(rendered_chart(values={"actuator": {"enabled": False}}), "actuator") == []


def test_the_actuator_s_scaled_objects_ask_the_release_s_own_scaler(plane: Plane) -> None:
    items = rendered_chart(namespace="power")
    environment = {one["name"]: one.get("value") for one in container(items, "actuator")["env"]}
    service = only(items, "Service")
    port = {one["name"]: one["port"] for one in service["spec"]["ports"]}["grpc"]
    assert environment["WATTKEEPER_SCALER_ADDRESS"] == f"{service['metadata']['name']}.power.svc:{port}"
    assert environment["WATTKEEPER_SCALER_TLS"] == "true"
    authentication = only(items, "ClusterTriggerAuthentication")
    assert environment["WATTKEEPER_TRIGGER_AUTHENTICATION"] == authentication["metadata"]["name"]
    plain = rendered_chart(values={"tls": {"enabled": False}})
    environment = {one["name"]: one.get("value") for one in container(plain, "actuator")["env"]}
    assert environment["WATTKEEPER_SCALER_TLS"] == "false"
    assert "WATTKEEPER_TRIGGER_AUTHENTICATION" not in environment


def test_the_actuator_asks_the_scaler_where_the_chart_knows_its_authority(plane: Plane) -> None:
    def check(**tls: object) -> tuple[str, str, list[str]]:
        one = only(rendered_chart(values={"tls": tls}), "Deployment", "actuator")["spec"]["template"]["spec"]
        environment = {each["name"]: each.get("value") for each in one["containers"][0]["env"]}
        keys = [item["key"] for each in one["volumes"] for item in each.get("secret", {}).get("items", [])]
        authority = environment.get("WATTKEEPER_SCALER_AUTHORITY_FILE", "")
        return environment["WATTKEEPER_SCALER_CHECK"], authority, keys

    known = ("true", "/etc/wattkeeper/authority/ca.crt", ["ca.crt"])
    assert check() == known
    assert check(certManager={"enabled": True, "issuerRef": {"name": "x"}}) == known
    assert check(enabled=False) == ("true", "", [])
    assert check(existingSecret="own") == ("false", "", [])
    assert check(requireClientCertificate=True) == ("false", "", [])


def test_an_uninstallation_first_puts_back_what_the_actuator_has_changed(plane: Plane) -> None:
    job = only(rendered_chart(), "Job", "actuator")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == ["actuator", "--restore"]
    assert pod["serviceAccountName"] == only(rendered_chart(), "ServiceAccount", "actuator")["metadata"]["name"]
    without = rendered_chart(values={"actuator": {"restoreOnUninstall": False}})
    assert [one for one in without if one["kind"] == "Job"] == []


async def test_an_upgrade_without_the_actuator_first_puts_back_what_it_has_changed(bench: Bench) -> None:
    release = bench.namespace  # Unique, because roles for the whole cluster are named like the release.
    chart = (release, str(CHART), f"--namespace={release}", f"--set=crds.install=false,keda.namespace={release}")
    kubeconfig = bench.plane.kubeconfig

    def upgrade(*more: str) -> list[str]:
        """Returns the hooks of an upgrade without the actuator; nothing runs here that could do one."""
        planned = ("--set=actuator.enabled=false", "--dry-run=server", "--output=json", *more)
        rendered = json.loads(helm("upgrade", *chart, *planned, kubeconfig=kubeconfig))
        jobs = [one for one in rendered.get("hooks", []) if one["kind"] == "Job"]
        return [said for job in jobs for said in (*job["events"], job["manifest"])]

    helm("install", *chart, kubeconfig=kubeconfig)
    try:
        when, manifest = upgrade()
        assert when == "pre-upgrade"
        pod = yaml.safe_load(manifest)["spec"]["template"]["spec"]
        assert pod["containers"][0]["args"] == ["actuator", "--restore"]
        assert await bench.api.get("v1", "ServiceAccount", pod["serviceAccountName"], namespace=release)
        assert upgrade("--set=actuator.restoreOnUninstall=false") == []
        helm("upgrade", *chart, "--set=actuator.enabled=false", "--no-hooks", kubeconfig=kubeconfig)
        assert upgrade() == []
    finally:
        helm("uninstall", release, f"--namespace={release}", "--no-hooks", kubeconfig=kubeconfig)


async def test_an_upgrade_keeps_the_certificates(bench: Bench) -> None:
    release = bench.namespace  # Unique, because roles for the whole cluster are named like the release.
    place = (f"--namespace={release}", f"--set=crds.install=false,keda.namespace={release}")
    kubeconfig = bench.plane.kubeconfig

    async def certificates() -> list[tuple[str, Object]]:
        secrets = await bench.api.list(
            "v1", "Secret", namespace=release, selector=f"app.kubernetes.io/instance={release}"
        )
        return sorted(((one["metadata"]["name"], one.get("data", {})) for one in secrets), key=str)

    helm("install", release, str(CHART), *place, kubeconfig=kubeconfig)
    try:
        installed = await certificates()
        helm("upgrade", release, str(CHART), *place, "--set=replicas=3", kubeconfig=kubeconfig)
        assert await certificates() == installed
        assert [name for name, _ in installed] == [
            f"{release}-wattkeeper-admission-certificates",
            f"{release}-wattkeeper-ca",
            f"{release}-wattkeeper-tls",
        ]
        assert await bench.replicas(f"{release}-wattkeeper") == 3
    finally:
        # Nothing runs here that could put anything back.
        helm("uninstall", release, f"--namespace={release}", "--no-hooks", kubeconfig=kubeconfig)


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
