"""Takes one file out of a Debian package without installing it, and without being root."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.controlplane.errors import BuildError, MissingToolError


def fetch_file(package: str, path: str, *, into: Path) -> Path:
    """Downloads a package by apt and unpacks it into a folder named after it.

    Args:
        package: the package's name.
        path: the program in it whose libraries must all be there, relative to the root.
        into: parent of the folder to make.

    Returns:
        The file's path.

    Raises:
        MissingToolError: apt-get or dpkg is not here.
        BuildError: the package could not be had, or needs libraries that this machine lacks.
    """
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise MissingToolError(f"{package} is not installed and {tool} is not here to fetch it: install {package}")
    into.mkdir(parents=True, exist_ok=True)
    print(f"fetching Debian's package {package} into {into}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=into) as name:
        work = Path(name)
        _download(package, work)
        archive = next(work.glob("*.deb"))
        _run(["dpkg", "-x", str(archive), str(work / "tree")], work)
        _check_libraries(package, work / "tree" / path, work)
        (work / "tree").rename(into / package)
    return into / package / path


def _download(package: str, work: Path) -> None:
    try:
        _run(["apt-get", "download", package], work)
    except BuildError:
        # No package lists, or stale ones: fetch lists of our own, which needs no rights on the system's.
        state = [f"-oDir::State={work / 'state'}", f"-oDir::Cache={work / 'cache'}"]
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (work / folder).mkdir(parents=True)
        # The list of installed packages stays the system's: apt refuses to start without one.
        state.append("-oDir::State::status=/var/lib/dpkg/status")
        _run(["apt-get", *state, "update"], work)
        _run(["apt-get", *state, "download", package], work)


def _check_libraries(package: str, binary: Path, work: Path) -> None:
    missing = [line.split()[0] for line in _run(["ldd", str(binary)], work).splitlines() if "not found" in line]
    if missing:
        raise BuildError(f"Debian's {package} needs {', '.join(missing)}: install {package} with its dependencies")


def _run(arguments: Sequence[str], work: Path) -> str:
    done = subprocess.run(
        arguments, cwd=work, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=300
    )
    if done.returncode:
        raise BuildError(f"{' '.join(arguments[:4])} failed:\n{done.stderr[-2000:]}")
    return done.stdout
