"""Whether the process that wrote a record still runs, asked of real processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deriva_ml_hooks.executions import processes

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc here")


def test_a_process_that_runs_is_not_gone() -> None:
    pid = os.getpid()
    known = processes.identity(pid)
    assert known
    assert processes.identity(pid) == known
    assert not processes.is_gone(pid, known)
    assert not processes.is_gone(pid, None)


def test_a_process_that_has_ended_is_gone() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        known = processes.identity(child.pid)
        assert not processes.is_gone(child.pid, known)
    assert processes.identity(child.pid) is None
    assert processes.is_gone(child.pid, known)
    assert processes.is_gone(child.pid, None)


def test_another_process_with_the_same_number_is_not_taken_for_it() -> None:
    assert processes.is_gone(os.getpid(), "another boot/12345")


@needs_proc
def test_the_same_number_and_start_in_another_boot_is_another_process() -> None:
    known = processes.identity(os.getpid())
    assert known is not None
    boot_and_start = "0" * 36 + "/" + known.split("/")[1]
    assert processes.is_gone(os.getpid(), boot_and_start)


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="no waitid here")
def test_a_process_that_has_ended_and_nobody_has_waited_for_is_gone() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        known = processes.identity(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert processes.is_gone(child.pid, known)
        assert processes.is_gone(child.pid, None)


@needs_proc
def test_a_process_whose_name_looks_like_the_rest_of_its_status_is_read_right() -> None:
    # prctl(2), PR_SET_NAME: the name of a process may hold parentheses and spaces.
    script = (
        "import ctypes, sys\n"
        "ctypes.CDLL(None).prctl(15, b') R 1 2 (3', 0, 0, 0)\n"
        "sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        before = processes.identity(child.pid)
        assert child.stdout.readline() == b"ready\n"
        assert processes.identity(child.pid) == before
        assert not processes.is_gone(child.pid, before)
        child.kill()


@pytest.mark.skipif(not os.path.exists("/bin/ps"), reason="no ps(1) here")
def test_where_ps_has_to_tell_it_tells_every_caller_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    there = processes._asked_of_ps(os.getpid())
    monkeypatch.setenv("TZ", "America/New_York")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert there is not None
    assert processes._asked_of_ps(os.getpid()) == there
