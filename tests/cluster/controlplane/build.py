"""Builds the control plane's programs from Go modules into a cache outside the checkout, and fetches Debian's.

The cache is keyed by everything that decides a binary: the module's go.mod and go.sum, the Go version, and the linker's
flags. A second call with the same key does nothing and needs no network; a lock keeps two sessions from building
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

from tests.cluster.controlplane import rooted
from tests.cluster.controlplane.debian import fetch_file
from tests.cluster.controlplane.errors import BuildError, MissingToolError
from tests.cluster.controlplane.suites import CONTROL_PLANE, KSERVE, LEADER_WORKER_SETS, Folder, Program, Suite

TOOLS = Path(__file__).resolve().parent.parent / "tools"


@dataclass(frozen=True, kw_only=True)
class Built:
    """Paths of a suite's programs, and of the folders copied from its modules, by name."""

    programs: dict[str, Path]
    folders: dict[str, Path]


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


def build(suite: Suite, *, go: str) -> Built:
    """Builds a suite's programs unless the cache has them, and copies its folders into the cache.

    Raises:
        BuildError: the compiler refused, or a module could not be fetched.
    """
    return Built(
        programs={program.name: _build_program(program, go=go) for program in suite.programs},
        folders={folder.name: _copy_folder(folder, go=go) for folder in suite.folders},
    )


def find_prometheus() -> Path:
    """Returns Prometheus from the PATH, or from Debian's package in the cache, fetched if need be.

    Raises:
        MissingToolError: it is not installed, and this is not a Debian.
        BuildError: the package could not be fetched.
    """
    return _find_debian("prometheus", program="prometheus")


def find_promtool() -> Path:
    """Returns Prometheus' tool for rules, found as Prometheus is; raises what `find_prometheus` raises."""
    return _find_debian("prometheus", program="promtool")


def find_alertmanager() -> tuple[str, ...]:
    """Returns how to run Alertmanager, found as Prometheus is; raises what `find_prometheus` raises."""
    package = "prometheus-alertmanager"
    binary = _find_debian(package, program=package)
    tree = cache_root() / "debian" / package
    # It looks for its templates where the package would have installed them.
    return rooted.arguments(tree, binary) if binary.is_relative_to(tree) else (str(binary),)


def _find_debian(package: str, *, program: str) -> Path:
    installed = shutil.which(program)
    if installed:
        return Path(installed)
    folder = cache_root() / "debian"
    path = f"usr/bin/{program}"
    binary = folder / package / path
    if not binary.exists():
        with _lock():
            if not binary.exists():
                fetch_file(package, path, into=folder)
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


def _copy_folder(wanted: Folder, *, go: str) -> Path:
    """Copies a folder of a Go module's tree into the cache, so that later runs need neither Go's cache nor network."""
    source = TOOLS / wanted.module
    folder = cache_root() / "go" / f"{wanted.name}-{_key(go, source, wanted.path)}"
    if folder.exists():
        return folder
    with _lock():
        if not folder.exists():
            _go(go, source, "mod", "download", wanted.go_module)
            tree = Path(_go(go, source, "list", "-m", "-f", "{{.Dir}}", wanted.go_module).strip())
            unfinished = folder.with_suffix(f".{os.getpid()}")
            shutil.copytree(tree / wanted.path, unfinished, copy_function=shutil.copyfile)
            for one in (unfinished, *unfinished.rglob("*")):
                one.chmod(0o755 if one.is_dir() else 0o644)  # Go's module cache is read-only, and copytree copies that.
            unfinished.rename(folder)
    return folder


def main() -> int:
    """Prepares everything, prints each path; exit status 1 with the tool's words when something fails."""
    paths: dict[str, Path] = {}
    try:
        go = require_go()
        for suite in (CONTROL_PLANE, KSERVE, LEADER_WORKER_SETS):
            built = build(suite, go=go)
            paths |= built.programs | built.folders
        paths |= {"prometheus": find_prometheus(), "alertmanager": Path(find_alertmanager()[-1])}
    except (BuildError, MissingToolError) as error:
        print(error, file=sys.stderr)
        return 1
    for name, path in paths.items():
        print(f"{name}\t{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
