"""What the control plane is built from: Go programs, and folders of their modules' trees, in sets that start together.

Each program's module, with its exact versions, is a folder under tools/.
"""

from __future__ import annotations

from dataclasses import dataclass

KUBERNETES_VERSION = "v1.36.4"
KEDA_MODULE = "github.com/kedacore/keda/v2"
KEDA_VERSION = "v2.21.0"
KSERVE_MODULE = "github.com/kserve/kserve"
LEADER_WORKER_SET_MODULE = "sigs.k8s.io/lws"


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program: the module folder under tools/ that pins it, its package, and linker flags."""

    name: str
    module: str
    package: str
    ldflags: str = "-s -w"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder of a Go module's tree, such as its manifests: the module folder under tools/ that pins the module."""

    name: str
    module: str
    go_module: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What is built together, because one thing of it is of no use without the rest."""

    programs: tuple[Program, ...]
    folders: tuple[Folder, ...]


_KUBERNETES_LDFLAGS = (
    # Without a version stamped in, the server calls itself v0.0.0 and clients complain.
    f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"
    " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
)

CONTROL_PLANE = Suite(
    programs=(
        Program(name="etcd", module="etcd", package="go.etcd.io/etcd/server/v3"),
        Program(name="kwok", module="kwok", package="sigs.k8s.io/kwok/cmd/kwok"),
        *(
            Program(
                name=name, module="kubernetes", package=f"k8s.io/kubernetes/cmd/{name}", ldflags=_KUBERNETES_LDFLAGS
            )
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
        ),
        Program(name="keda-operator", module="keda", package=f"{KEDA_MODULE}/cmd/operator"),
        Program(name="keda-adapter", module="keda", package=f"{KEDA_MODULE}/cmd/adapter"),
        Program(name="helm", module="helm", package="helm.sh/helm/v4/cmd/helm"),
    ),
    folders=(Folder(name="keda-crds", module="keda", go_module=KEDA_MODULE, path="config/crd/bases"),),
)

KSERVE = Suite(
    programs=(
        Program(name="kserve-manager", module="kserve", package=f"{KSERVE_MODULE}/cmd/manager"),
        Program(name="kserve-llmisvc", module="kserve", package=f"{KSERVE_MODULE}/cmd/llmisvc"),
    ),
    folders=(
        Folder(name="kserve-config", module="kserve", go_module=KSERVE_MODULE, path="config"),
        # KServe's own dependencies, at the versions that it was compiled with: both controllers look for their kinds.
        Folder(name="gateway-crds", module="kserve", go_module="sigs.k8s.io/gateway-api", path="config/crd/standard"),
        Folder(
            name="inference-crds",
            module="kserve",
            go_module="sigs.k8s.io/gateway-api-inference-extension",
            path="config/crd/bases",
        ),
        Folder(
            name="variant-crds",
            module="kserve",
            go_module="github.com/llm-d/llm-d-workload-variant-autoscaler",
            path="config/crd/bases",
        ),
        Folder(name="kserve-lws-crds", module="kserve", go_module=LEADER_WORKER_SET_MODULE, path="config/crd/bases"),
    ),
)

LEADER_WORKER_SETS = Suite(
    programs=(Program(name="lws", module="lws", package=f"{LEADER_WORKER_SET_MODULE}/cmd"),),
    folders=(Folder(name="lws-config", module="lws", go_module=LEADER_WORKER_SET_MODULE, path="config"),),
)
