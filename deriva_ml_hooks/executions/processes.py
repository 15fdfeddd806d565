"""Which process wrote a record, told so that a later process with the same number is not taken for it."""

from __future__ import annotations

import os
import socket
import subprocess


def host() -> str:
    """This machine's name."""
    return socket.gethostname()


def identity(pid: int) -> str | None:
    """When process `pid` started, in whatever form the system tells it; None where there is no such process.

    Linux counts ticks since boot in /proc (proc_pid_stat(5), starttime), and a boot has an id; other
    systems are asked through ps(1).
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may hold anything; field 22 is counted from after it.
            started = file.read().rpartition(b")")[2].split()[19].decode("ascii")
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}/{started}"
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return None
    except (OSError, IndexError):
        return None
    return _asked_of_ps(pid)


def _asked_of_ps(pid: int) -> str | None:
    try:
        done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout.decode("ascii", "replace").strip() or None


def is_gone(pid: int, known: str | None) -> bool:
    """Whether the process that was `pid`, with the identity `known`, has ended on this host."""
    if known is None:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False
    return identity(pid) != known
