"""Which process wrote a record, told so that a later process with the same number is not taken for it."""

from __future__ import annotations

import os
import socket
import subprocess


def host() -> str:
    """This machine's name."""
    return socket.gethostname()


def identity(pid: int) -> str | None:
    """When process `pid` started, in whatever form the system tells it; None where that cannot be told.

    Empty for one that has ended and only waits for its parent to ask how. Linux counts ticks since boot
    in /proc (proc_pid_stat(5), starttime), and a boot has an id; other systems are asked through ps(1).
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may hold anything; field 22 is counted from after it.
            stat = file.read().rpartition(b")")[2].split()
        if stat[0] in (b"Z", b"X"):
            return ""
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}/{stat[19].decode('ascii')}"
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return None
    except (OSError, IndexError):
        return None
    return _asked_of_ps(pid)


def _asked_of_ps(pid: int) -> str | None:
    # A date as everybody would write it, in whatever language and time zone they ask.
    env = os.environ | {"LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], env=env, capture_output=True, check=False
        )
    except OSError:
        return None
    return done.stdout.decode("ascii", "replace").strip() or None


def is_gone(pid: int, known: str | None) -> bool:
    """Whether the process that was `pid`, with the identity `known`, has ended on this host."""
    current = identity(pid)
    if current == "":
        return True
    if known is not None and current is not None:
        return current != known
    try:  # also where other people's processes are hidden (proc(5), hidepid)
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
