"""Each of the chart's accounts may do what it must and no more, as the real API server says."""

from __future__ import annotations

from tests.cluster.chart import only, rendered_access
from tests.cluster.controlplane.api import Api, Object
from tests.cluster.controlplane.bench import Bench
from wattkeeper.cluster.interface import WATCHED_BY_ACTUATOR, WATCHED_BY_ADMISSION
from wattkeeper.cluster.resources import RESOURCES


async def allowed(
    api: Api, verb: str, resource: str, *, namespace: str = "", group: str = "", sub: str = "", name: str = ""
) -> bool:
    """Asks the API server what the client's own account may do."""
    attributes = {"verb": verb, "resource": resource, "group": group, "namespace": namespace, "subresource": sub}
    attributes["name"] = name
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
        leases = "coordination.k8s.io"
        assert await allowed(api, "patch", "leases", group=leases, namespace=own, name="wattkeeper-scaler")
        assert not await allowed(api, "patch", "leases", group=leases, namespace=own, name="wattkeeper-admission")
        assert not await allowed(api, "patch", "deployments", group="apps", sub="scale", namespace=other)
        for sub in ("status", "eviction", "binding", "ephemeralcontainers", "resize"):
            for verb in ("create", "patch", "update"):
                assert not await allowed(api, verb, "pods", sub=sub, namespace=other), f"{verb} pods/{sub}"
        assert not await allowed(api, "patch", "nodes", sub="status")
        assert not await allowed(api, "get", "secrets", namespace=own)


async def test_the_admission_plugin_may_do_what_it_must_and_no_more(bench: Bench) -> None:
    name = bench.namespace  # Unique, because roles for the whole cluster are named like the release.
    items = rendered_access("admission", release=name, namespace=bench.namespace)
    for item in items:
        await bench.apply(item)
    account = only(items, "ServiceAccount", "admission")["metadata"]["name"]
    connection = (await bench.account(bench.namespace, account)).connection
    own, other = bench.namespace, "default"
    async with Api(connection) as api:
        for kind in WATCHED_BY_ADMISSION:
            resource = RESOURCES[kind]
            for verb in ("list", "watch"):
                assert await allowed(api, verb, resource.plural, group=resource.group), f"{verb} {resource.plural}"
            for verb in ("create", "patch", "update", "delete"):
                assert not await allowed(api, verb, resource.plural, group=resource.group), f"{verb} {resource.plural}"
        for kind in ("powerbudgets", "powercappingpolicies", "powerrecommendations"):
            assert not await allowed(api, "patch", kind, group="wattkeeper.dev", sub="status")
        assert await allowed(api, "list", "pods", group="metrics.k8s.io")
        assert await allowed(api, "create", "events", group="events.k8s.io", namespace=other)
        for verb in ("get", "create", "patch", "delete"):
            assert await allowed(api, verb, "configmaps", namespace=own)
            assert not await allowed(api, verb, "configmaps", namespace=other)
        leases = {"group": "coordination.k8s.io", "namespace": own}
        assert await allowed(api, "create", "leases", **leases)
        assert await allowed(api, "patch", "leases", **leases, name="wattkeeper-admission")
        assert not await allowed(api, "patch", "leases", **leases, name="wattkeeper-scaler")
        for sub in ("status", "eviction", "binding", "ephemeralcontainers", "resize"):
            assert not await allowed(api, "create", "pods", sub=sub, namespace=other), f"pods/{sub}"
        for verb in ("create", "patch", "update", "delete"):
            assert not await allowed(api, verb, "nodes"), f"{verb} nodes"
        assert not await allowed(api, "patch", "nodes", sub="status")
        assert not await allowed(api, "get", "nodes")


async def test_the_actuator_may_do_what_it_must_and_no_more(bench: Bench) -> None:
    name = bench.namespace  # Unique, because roles for the whole cluster are named like the release.
    items = rendered_access("actuator", release=name, namespace=bench.namespace)
    for item in items:
        await bench.apply(item)
    account = only(items, "ServiceAccount", "actuator")["metadata"]["name"]
    connection = (await bench.account(bench.namespace, account)).connection
    own, other = bench.namespace, "default"
    written = {
        "inferenceservices": ("patch",),
        "llminferenceservices": ("patch",),
        "scaledobjects": ("create", "patch", "delete"),
        "horizontalpodautoscalers": ("patch",),
        "powerrecommendations": ("patch",),
        "powermigrations": ("create", "patch", "delete"),
        "pods": ("patch",),
    }
    async with Api(connection) as api:
        for kind in WATCHED_BY_ACTUATOR:
            resource = RESOURCES[kind]
            for verb in ("list", "watch"):
                assert await allowed(api, verb, resource.plural, group=resource.group), f"{verb} {resource.plural}"
            for verb in ("create", "patch", "update", "delete"):
                expected = verb in written.get(resource.plural, ())
                found = await allowed(api, verb, resource.plural, group=resource.group)
                assert found == expected, f"{verb} {resource.plural}"
        for kind in ("powerrecommendations", "powermigrations"):
            assert await allowed(api, "patch", kind, group="wattkeeper.dev", sub="status")
            assert await allowed(api, "get", kind, group="wattkeeper.dev", namespace=other)
        assert await allowed(api, "list", "endpointslices", group="discovery.k8s.io", namespace=other)
        assert await allowed(api, "get", "pods", namespace=other)
        assert await allowed(api, "create", "pods", sub="eviction", namespace=other)
        for sub in ("status", "binding", "ephemeralcontainers", "resize"):
            for verb in ("create", "patch", "update"):
                assert not await allowed(api, verb, "pods", sub=sub, namespace=other), f"{verb} pods/{sub}"
        assert await allowed(api, "create", "events", group="events.k8s.io", namespace=other)
        leases = "coordination.k8s.io"
        assert await allowed(api, "patch", "leases", group=leases, namespace=own, name="wattkeeper-actuator")
        assert not await allowed(api, "patch", "leases", group=leases, namespace=own, name="wattkeeper-scaler")
        assert not await allowed(api, "create", "leases", group=leases, namespace=other)
        assert not await allowed(api, "patch", "deployments", group="apps", sub="scale", namespace=other)
        for resource in ("secrets", "configmaps", "nodes"):
            assert not await allowed(api, "list", resource, namespace=own), resource
