"""Runs a program of an unpacked Debian package as if the package were installed, without root.

    python -m tests.cluster.controlplane.rooted TREE PROGRAM ARGUMENTS...

Some programs look for their files at fixed places. In a mount namespace of this program alone, the package's own
usr/share lies over the system's.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from tests.cluster.controlplane.netns import unshare

CLONE_NEWNS = 0x0002_0000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000


def arguments(tree: Path, binary: Path) -> tuple[str, ...]:
    """Returns the command that runs a program of a package unpacked into a folder; its own arguments follow."""
    return (sys.executable, "-m", __name__, str(tree), str(binary))


def _mount(source: str, target: str, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), None, ctypes.c_ulong(flags), None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def main(words: list[str]) -> int:
    """Replaces this process by the program; exit status 1 with what to do where the kernel does not let it."""
    tree, program = words[:2]
    try:
        unshare(CLONE_NEWNS)
        _mount("none", "/", MS_REC | MS_PRIVATE)  # So that nothing of this reaches the system's own mounts.
        _mount(f"{tree}/usr/share", "/usr/share", MS_BIND)
    except OSError as error:
        name = Path(program).name
        print(f"no mount namespace ({error.strerror}): install {name}, which then needs none", file=sys.stderr)
        return 1
    return os.execv(program, words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
