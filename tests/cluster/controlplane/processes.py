"""Starts and stops programs, each with a log of its own, by process id only.

A process that is asked to die with its parent gets SIGKILL from the kernel (PR_SET_PDEATHSIG) when the thread that
started it ends, so start such processes from the main thread.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.controlplane.errors import ProcessError

LOG_TAIL_BYTES = 4000
FIRST_PORT = 20_000
PORTS_PER_PROCESS = 1_000

# Runs between fork and the real program. A preexec_fn would do the same, but is unsafe in a parent with threads.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent has gone already")
os.execv(sys.argv[2], sys.argv[2:])
"""


def _ports() -> Iterator[int]:
    """Yields the ports that are this process's to give out, over and over.

    They lie below those that the kernel gives to connections on their way out (from 32768 on), which could else take
    one before its server does. Each process of a parallel run has a range of its own, and starts somewhere in it, so
    that two runs at a time seldom try the same.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + worker * PORTS_PER_PROCESS
    for number in itertools.count(os.getpid()):
        yield first + number % PORTS_PER_PROCESS


_own_ports = _ports()


def free_ports(count: int) -> list[int]:
    """Returns that many TCP ports of 127.0.0.1 on which nothing listens, all different and none given out lately.

    Raises:
        ProcessError: all of this process's ports are taken.
    """
    found: list[int] = []
    for port in itertools.islice(_own_ports, PORTS_PER_PROCESS):
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise ProcessError(f"fewer than {count} of the {PORTS_PER_PROCESS} ports of this process are free")


def start_ticks(pid: int) -> int | None:
    """Returns when the process started, in clock ticks since boot, or None when there is none (or a zombie).

    Together with the process id this identifies a process even after ids have been reused.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # The name before the bracket may hold spaces.
    return None if fields[0] == "Z" else int(fields[19])


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to run: its name in logs, its arguments (the program first), and additions to the environment."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


class Process:
    """A running program and its log."""

    def __init__(self, command: Command, folder: Path, *, dies_with_parent: bool = True) -> None:
        self.command = command
        self.log = folder / f"{command.name}.log"
        self._dies_with_parent = dies_with_parent
        self._popen = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        arguments = list(self.command.arguments)
        if self._dies_with_parent:
            launcher = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
            arguments = [*launcher, *arguments]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                arguments,
                env=os.environ | self.command.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal reaches the tests alone, which then stop everything in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._popen.poll() is None

    def tail(self) -> str:
        """Returns the end of the log."""
        text = self.log.read_bytes()[-LOG_TAIL_BYTES:] if self.log.exists() else b""
        return text.decode(errors="replace")

    def check_alive(self) -> None:
        """Does nothing while the program runs.

        Raises:
            ProcessError: it has ended; the message carries the log's tail.
        """
        if not self.alive:
            raise ProcessError(
                f"{self.command.name} ended with status {self._popen.returncode}; the end of {self.log}:\n{self.tail()}"
            )

    def stop(self, *, grace_seconds: float = 3.0) -> None:
        """Ends the program: SIGTERM, then SIGKILL after the grace; ends at once with a grace of 0."""
        if self.alive and grace_seconds > 0:
            self._popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace_seconds)
        self.kill()

    def kill(self) -> None:
        """Ends the program at once, as a crash would."""
        if self.alive:
            self._popen.kill()
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired as error:
            raise ProcessError(f"{self.command.name} (pid {self.pid}) survived SIGKILL") from error

    def restart(self) -> None:
        """Kills the program if it still runs and starts it again with the same arguments."""
        self.kill()
        self._popen = self._start()

    def pause(self) -> None:
        """Stops the program from running without ending it (SIGSTOP), as a hung one."""
        self._popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a paused program run on."""
        self._popen.send_signal(signal.SIGCONT)


def stop_recorded(name: str, pid: int, ticks: int, *, grace_seconds: float) -> bool:
    """Ends a process that another run started, if it is still the same process.

    Args:
        name: what to call it in errors.
        pid: its process id.
        ticks: its start time as `start_ticks` gave it when it was recorded.
        grace_seconds: how long after SIGTERM it may run; 0 kills at once.

    Returns:
        False when it had ended already.

    Raises:
        ProcessError: it survived SIGKILL.
    """
    if start_ticks(pid) != ticks:
        return False
    signals = ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 10.0)) if grace_seconds else ((signal.SIGKILL, 10.0),)
    for number, patience_seconds in signals:
        os.kill(pid, number)
        deadline = time.monotonic() + patience_seconds
        while start_ticks(pid) == ticks and time.monotonic() < deadline:
            time.sleep(0.05)
        if start_ticks(pid) != ticks:
            return True
    raise ProcessError(f"{name} (pid {pid}) survived SIGKILL")
