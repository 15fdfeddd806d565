"""Which process wrote a record, told so that a later process with the same number is not taken for it.

A number means something in its own PID namespace only (pid_namespaces(7)), and a record may have been written
in a container, or on another machine that shares the disk: of such a process nothing can be told here.
"""

from __future__ import annotations

import calendar
import contextlib
import hashlib
import os
import socket
import time

from deriva_ml_hooks import programs

_FIRST_NAMESPACE = str(0xEFFFFFFC)
"""The inode of the PID namespace that a machine starts with (include/linux/proc_ns.h, PROC_PID_INIT_INO)."""


def host() -> str:
    """This machine's name."""
    return socket.gethostname()


def account() -> str | None:
    """The account's name by its number: variables such as USER say what anybody likes."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container under a number of its own
        return None


def identity(pid: int) -> str | None:
    """When process `pid` started, in whatever form the system tells it; None where that cannot be told.

    Empty for one that has ended and only waits for its parent to ask how. Linux counts ticks since boot
    in /proc (proc_pid_stat(5), starttime), and a boot has an id; our PID namespace and the machine follow.
    Other systems are asked through ps(1).
    """
    if not os.path.isdir("/proc/self"):
        return _asked_of_ps(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in parentheses, may hold anything; field 22 is counted from after it.
            stat = file.read().rpartition(b")")[2].split()
        if stat[0] in (b"Z", b"X"):
            return ""
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
        return f"{boot}/{stat[19].decode('ascii')}/{namespace}/{_machine()}"
    except (OSError, IndexError):
        return None


def _machine() -> str:
    """What stands for this machine, and tells nothing else (machine-id(5))."""
    machine = b""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            machine = machine or file.read().strip()
    return hashlib.sha256(b"deriva-ml-hooks " + machine).hexdigest()[:16]


def _asked_of_ps(pid: int) -> str | None:
    # A date as everybody would write it, in whatever language and time zone they ask.
    env = os.environ | {"LC_ALL": "C", "TZ": "UTC"}
    words = ["ps", "-o", "lstart=", "-p", str(pid)]
    try:
        done = programs.run(words, env=env)
    except OSError:
        return None
    return done.stdout.decode("ascii", "replace").strip() or None


def is_gone(pid: int, known: str | None) -> bool:
    """Whether the process that was `pid`, known as `known`, has ended; False where it cannot be told."""
    if is_foreign(known):
        return False
    current = identity(pid)
    if current == "":
        return True
    if known is not None and current is not None:
        return current.split("/")[:2] != known.split("/")[:2]
    try:  # also where other people's processes are hidden (proc(5), hidepid)
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


def is_foreign(known: str | None) -> bool:
    """Whether a process with the identity `known` is in another PID namespace, or on another machine.

    What has another boot may be ours before the machine was started anew: only the first namespace of the
    same machine can tell that. What is known of no namespace was written by an earlier version, or by ps(1).
    """
    parts = (known or "").split("/")
    own = (identity(os.getpid()) or "").split("/")
    if len(parts) < 4 or len(own) < 4:
        return False
    if parts[2:] != own[2:]:
        return True
    return parts[0] != own[0] and own[2] != _FIRST_NAMESPACE


def is_elsewhere(host_: str, known: str | None) -> bool:
    """Whether a process of the host `host_` is one of which nothing can be told here."""
    return host_ != host() or is_foreign(known)


def started_at(pid: int) -> float | None:
    """When process `pid` started, in seconds since the epoch; None where that cannot be told."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat, open("/proc/uptime", "rb") as uptime:
            ticks = int(stat.read().rpartition(b")")[2].split()[19])
            up = float(uptime.read().split()[0])
        return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")
    except FileNotFoundError:
        said = _asked_of_ps(pid)
    except (OSError, IndexError, ValueError):
        return None
    try:
        return calendar.timegm(time.strptime(said or "", "%a %b %d %H:%M:%S %Y"))
    except ValueError:
        return None
