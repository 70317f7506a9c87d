"""Builds the control plane's programs from Go modules into a cache outside the checkout, and fetches Prometheus.

The cache is keyed by everything that decides a binary: the module's go.mod and go.sum, the Go version, and the flags
below. A second call with the same key does nothing and needs no network; a lock keeps two sessions from building
the same thing twice.

Run as a program it prepares everything and prints each path:

    python -m tests.cluster.controlplane.build
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.controlplane.debian import fetch_file
from tests.cluster.controlplane.errors import BuildError, MissingToolError

TOOLS = Path(__file__).resolve().parent.parent / "tools"
KUBERNETES_VERSION = "v1.36.4"
KEDA_MODULE = "github.com/kedacore/keda/v2"
KEDA_VERSION = "v2.21.0"


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program: the module folder under tools/ that pins it, its package, and linker flags."""

    name: str
    module: str
    package: str
    ldflags: str = "-s -w"


_KUBERNETES_LDFLAGS = (
    # Without a version stamped in, the server calls itself v0.0.0 and clients complain.
    f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"
    " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
)

PROGRAMS: tuple[Program, ...] = (
    Program(name="etcd", module="etcd", package="go.etcd.io/etcd/server/v3"),
    Program(name="kwok", module="kwok", package="sigs.k8s.io/kwok/cmd/kwok"),
    *(
        Program(name=name, module="kubernetes", package=f"k8s.io/kubernetes/cmd/{name}", ldflags=_KUBERNETES_LDFLAGS)
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    ),
    Program(name="keda-operator", module="keda", package=f"{KEDA_MODULE}/cmd/operator"),
    Program(name="keda-adapter", module="keda", package=f"{KEDA_MODULE}/cmd/adapter"),
    Program(name="helm", module="helm", package="helm.sh/helm/v4/cmd/helm"),
)


@dataclass(frozen=True, kw_only=True)
class Built:
    """Paths of the programs by name, and of the folder with KEDA's custom resource definitions."""

    programs: dict[str, Path]
    keda_definitions: Path


def cache_root() -> Path:
    """Returns the folder that holds every build: $WATTKEEPER_CACHE, else ~/.cache/wattkeeper."""
    override = os.environ.get("WATTKEEPER_CACHE")
    return Path(override) if override else Path.home() / ".cache" / "wattkeeper"


def find_go() -> str | None:
    """Returns the path of the go command, or None where Go is not installed."""
    return shutil.which("go") or next((p for p in ("/usr/local/go/bin/go",) if os.access(p, os.X_OK)), None)


def require_go() -> str:
    """Returns the path of the go command.

    Raises:
        MissingToolError: Go is not installed.
    """
    go = find_go()
    if go is None:
        raise MissingToolError("Go is not installed: the real control plane cannot be built; install Go 1.26 or newer")
    return go


def build_all(*, go: str) -> Built:
    """Builds every program unless the cache has it, and copies KEDA's definitions into the cache.

    Raises:
        BuildError: the compiler refused, or a module could not be fetched.
    """
    return Built(
        programs={program.name: _build_program(program, go=go) for program in PROGRAMS},
        keda_definitions=_module_folder("keda", KEDA_MODULE, "config/crd/bases", name="keda-crds", go=go),
    )


def find_prometheus() -> Path:
    """Returns Prometheus from the PATH, or from Debian's package in the cache, fetched if need be.

    Raises:
        MissingToolError: it is not installed, and this is not a Debian.
        BuildError: the package could not be fetched.
    """
    installed = shutil.which("prometheus")
    if installed:
        return Path(installed)
    folder = cache_root() / "debian"
    binary = folder / "prometheus" / "usr" / "bin" / "prometheus"
    if not binary.exists():
        with _lock():
            fetch_file("prometheus", "usr/bin/prometheus", into=folder)
    return binary


@contextmanager
def _lock() -> Generator[None]:
    """Lets one session at a time build or fetch; the kernel drops the lock of a session that dies."""
    path = cache_root() / "build.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _go(go: str, module: Path, *arguments: str) -> str:
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    done = subprocess.run(
        [go, *arguments],
        cwd=module,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise BuildError(
            f"go {' '.join(arguments[:2])} in {module} failed (modules come over the network: build once outside of a"
            f" network namespace, with python -m tests.cluster.controlplane.build):\n{done.stderr[-4000:]}"
        )
    return done.stdout


@functools.cache
def _go_version(go: str) -> str:
    return _go(go, TOOLS, "env", "GOVERSION")


def _key(go: str, module: Path, *more: str) -> str:
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((module / name).read_bytes())
    for word in (_go_version(go), *more):
        digest.update(word.encode())
    return digest.hexdigest()[:16]


def _build_program(program: Program, *, go: str) -> Path:
    module = TOOLS / program.module
    binary = cache_root() / "go" / f"{program.name}-{_key(go, module, program.package, program.ldflags)}" / program.name
    if binary.exists():
        return binary
    with _lock():
        if not binary.exists():
            binary.parent.mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            print(f"building {program.name} (cached afterwards in {binary.parent})", file=sys.stderr, flush=True)
            unfinished = binary.with_suffix(f".{os.getpid()}")
            _go(go, module, "build", "-ldflags", program.ldflags, "-o", str(unfinished), program.package)
            unfinished.rename(binary)  # Atomic, so that a build cut short never looks finished.
            print(f"built {program.name} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return binary


def _module_folder(module: str, go_module: str, path: str, *, name: str, go: str) -> Path:
    """Copies a folder of a Go module's tree into the cache, so that later runs need neither Go's cache nor network."""
    source = TOOLS / module
    folder = cache_root() / "go" / f"{name}-{_key(go, source, path)}"
    if folder.exists():
        return folder
    with _lock():
        if not folder.exists():
            _go(go, source, "mod", "download", go_module)
            tree = Path(_go(go, source, "list", "-m", "-f", "{{.Dir}}", go_module).strip())
            unfinished = folder.with_suffix(f".{os.getpid()}")
            shutil.copytree(tree / path, unfinished, copy_function=shutil.copyfile)
            unfinished.chmod(0o755)  # Go's module cache is read-only, and copytree copies that.
            unfinished.rename(folder)
    return folder


def main() -> int:
    """Prepares everything, prints each path; exit status 1 with the tool's words when something fails."""
    try:
        built = build_all(go=require_go())
        paths = {**built.programs, "keda-crds": built.keda_definitions, "prometheus": find_prometheus()}
    except (BuildError, MissingToolError) as error:
        print(error, file=sys.stderr)
        return 1
    for name, path in paths.items():
        print(f"{name}\t{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
