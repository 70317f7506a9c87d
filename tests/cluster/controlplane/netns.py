"""Runs a command inside a network namespace of its own, with nothing in it but loopback.

    python -m tests.cluster.controlplane.netns -- COMMAND...

Nothing outside can then reach the control plane, and nothing in it can reach the network. Works without root where
the kernel allows user namespaces; where it does not, the command runs without a namespace, after one line that says so.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

CLONE_NEWNET = 0x4000_0000
CLONE_NEWUSER = 0x1000_0000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _unshare_as_user(flags: int) -> None:
    uid, gid = os.getuid(), os.getgid()
    _unshare(CLONE_NEWUSER | flags)
    # The same ids inside as outside; the kernel takes a group map only once setgroups is given up.
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny")
    (own / "uid_map").write_text(f"{uid} {uid} 1")
    (own / "gid_map").write_text(f"{gid} {gid} 1")


def unshare(flags: int) -> None:
    """Moves this process into new namespaces, and a user namespace too where it may not make them otherwise.

    Raises:
        OSError: the kernel allows neither here.
    """
    try:
        # As root there is no need of a user namespace, which would hide other users' files.
        _unshare(flags)
    except PermissionError:
        _unshare_as_user(flags)


def enter() -> None:
    """Moves this process into a new network namespace and brings its loopback up.

    Raises:
        OSError: the kernel allows neither network nor user namespaces here.
    """
    unshare(CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


def main(arguments: list[str]) -> int:
    """Replaces this process by the command; returns 2 when there is none."""
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        print(f"usage: {Path(sys.executable).name} -m tests.cluster.controlplane.netns -- COMMAND...", file=sys.stderr)
        return 2
    try:
        enter()
    except OSError as error:
        print(f"no network namespace ({error.strerror}): running on plain loopback", file=sys.stderr)
    return os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
