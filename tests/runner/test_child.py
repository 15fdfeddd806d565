"""The command's own streams, signals, terminal and exit code, with real processes under the real program."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.runner import child
from deriva_ml_hooks.runner.child import CommandNotFoundError, Ending, NotExecutableError, located

linux = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux's /proc")

DEADLINE = 30.0
"""Seconds after which something that should come is taken never to come."""
RUN = (sys.executable, "-m", "deriva_ml_hooks", "run", "--quiet", "--")
PYTHON = (sys.executable, "-S", "-E", "-c")
# os.write: a handler that prints may interrupt a print (RuntimeError, reentrant call).
WAITS = "import os, signal\nos.write(1, b'ready\\n')\nwhile True: signal.pause()"
TRAPS = (
    "import os, signal\n"
    "def stop(number, frame): os.write(1, b'got %d\\n' % number); os._exit(0)\n"
    "for s in (1, 2, 15): signal.signal(s, stop)\n" + WAITS
)


def line(descriptor: int) -> str:
    """One line from a pipe or terminal; fails when it does not come."""
    got = b""
    while not got.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], DEADLINE)
        assert ready, f"nothing came after {got!r}"
        try:
            byte = os.read(descriptor, 1)
        except OSError:  # EIO: a terminal whose other side is closed
            byte = b""
        assert byte, f"ended after {got!r}"
        got += byte
    return got.decode().strip()


@contextlib.contextmanager
def running(repo: Any, words: Sequence[str], **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`words` in the repository, in a session of its own, ended for certain."""
    with subprocess.Popen(
        [*words], cwd=repo.path, start_new_session=True, stdout=subprocess.PIPE, **how
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def last(program: Callable[..., Any], cwd: Path | None = None) -> dict[str, Any]:
    newest: dict[str, Any] = json.loads(program("executions", "list", "--json", cwd=cwd).out)[0]
    return newest


class TestLocating:
    def test_a_program_is_found_on_path_and_a_path_from_here(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tool = tmp_path / "tool"
        tool.write_text("#!/bin/sh\n")
        tool.chmod(0o755)
        assert located("tool", path=str(tmp_path)) == str(tool)
        monkeypatch.chdir(tmp_path)
        assert located("./tool") == str(tool)

    @pytest.mark.parametrize("name", ["no-such-program", "./no-such-file", "no/such/folder/x", ""])
    def test_what_is_nowhere_is_not_found(self, name: str) -> None:
        with pytest.raises(CommandNotFoundError) as caught:
            located(name)
        assert caught.value.exit_code == 127

    def test_a_folder_and_a_plain_file_are_not_executable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder").mkdir()
        (tmp_path / "plain").write_text("")
        for name, why in (("./folder", "is a folder"), ("./plain", "not executable")):
            with pytest.raises(NotExecutableError, match=why) as caught:
                located(name)
            assert caught.value.exit_code == 126
        with pytest.raises(NotExecutableError):
            located("plain", path=str(tmp_path))

    def test_a_secret_in_the_name_is_not_repeated(self) -> None:
        with pytest.raises(CommandNotFoundError) as caught:
            located("https://ada:hunter2@example.org/x")
        assert "hunter2" not in str(caught.value) + caught.value.fix


@pytest.mark.parametrize(
    ("ending", "code", "aborted"),
    [
        (Ending(0, None, None), 0, False),
        (Ending(255, None, None), 255, False),
        (Ending(0, None, signal.SIGTERM), 0, True),
        (Ending(0, signal.SIGTERM, None), 143, True),
        (Ending(0, signal.SIGKILL, None), 137, False),
    ],
)
def test_an_ending_is_told_as_a_shell_tells_it(ending: Ending, code: int, aborted: bool) -> None:
    assert (ending.exit_code, ending.aborted) == (code, aborted)


class TestExitCodes:
    @pytest.mark.parametrize("code", [0, 1, 2, 3, 125, 255])
    def test_the_commands_own_code_is_ours(self, repo: Any, program: Callable[..., Any], code: int) -> None:
        assert program("run", "--", "sh", "-c", f"exit {code}").code == code
        record = last(program)
        assert (record["exit_code"], record["signal"]) == (code, None)
        assert record["status"] == ("Failed" if code else "Completed")

    @pytest.mark.parametrize(
        ("number", "status"),
        [
            (signal.SIGTERM, "Aborted"),
            (signal.SIGINT, "Aborted"),
            (signal.SIGHUP, "Aborted"),
            (signal.SIGKILL, "Failed"),
            (signal.SIGSEGV, "Failed"),
        ],
    )
    def test_death_by_a_signal_is_128_and_its_number(
        self, repo: Any, program: Callable[..., Any], number: int, status: str
    ) -> None:
        done = program("run", "--", "sh", "-c", f"ulimit -c 0; kill -{int(number)} $$")
        assert done.code == 128 + number
        record = last(program)
        assert (record["status"], record["signal"], record["exit_code"]) == (status, number, 128 + number)

    def test_a_script_without_an_interpreter_line_is_run_by_sh(
        self, repo: Any, program: Callable[..., Any]
    ) -> None:
        repo.write("go", 'echo "$0 $1"; exit 7\n').chmod(0o755)
        repo.commit()
        done = program("run", "--", "./go", "a b")
        assert (done.code, done.out) == (7, f"{repo.path}/go a b\n")

    def test_an_interpreter_that_is_missing_is_126_and_the_record_says_so(
        self, repo: Any, program: Callable[..., Any]
    ) -> None:
        repo.write("go", "#!/no/such/interpreter\n").chmod(0o755)
        repo.commit()
        done = program("run", "--", "./go")
        assert done.code == 126
        assert "fix:" in done.err
        record = last(program)
        assert (record["status"], record["exit_code"]) == ("Failed", 126)

    def test_the_first_double_dash_is_ours_and_every_other_the_commands(
        self, repo: Any, program: Callable[..., Any]
    ) -> None:
        for words in (("--", "printf", "%s|", "a", "--", "--quiet"), ("printf", "%s|", "a", "--", "--quiet")):
            assert program("run", *words).out == "a|--|--quiet|"

    def test_a_byte_that_is_not_utf8_reaches_the_command(
        self, repo: Any, program: Callable[..., Any]
    ) -> None:
        assert program("run", "--", "printf", "%s", "caf\udce9").out == "caf\udce9"


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_to_the_runner_alone_reaches_the_command(
        self, repo: Any, program: Callable[..., Any], number: signal.Signals
    ) -> None:
        with running(repo, [*RUN, *PYTHON, "import signal\nsignal.signal(2, signal.SIG_DFL)\n" + WAITS]) as p:
            assert p.stdout is not None
            assert line(p.stdout.fileno()) == "ready"
            p.send_signal(number)
            assert p.wait(DEADLINE) == 128 + number
        record = last(program)
        assert (record["status"], record["signal"]) == ("Aborted", number)
        assert record["ended_at"] is not None

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_command_that_stops_in_good_order_was_aborted_too(
        self, repo: Any, program: Callable[..., Any], number: signal.Signals
    ) -> None:
        with running(repo, [*RUN, *PYTHON, TRAPS]) as p:
            assert p.stdout is not None
            assert line(p.stdout.fileno()) == "ready"
            p.send_signal(number)
            assert line(p.stdout.fileno()) == f"got {int(number)}"
            assert p.wait(DEADLINE) == 0
        record = last(program)
        assert (record["status"], record["exit_code"], record["signal"]) == ("Aborted", 0, None)
        assert str(int(number)) in record["detail"]

    def test_a_signal_for_the_command_itself_passes_and_ends_nothing(
        self, repo: Any, program: Callable[..., Any]
    ) -> None:
        script = (
            "import os, signal\n"
            "def save(*_): os.write(1, b'saved\\n'); os._exit(0)\n"
            "signal.signal(signal.SIGUSR1, save)\n" + WAITS
        )
        with running(repo, [*RUN, *PYTHON, script]) as p:
            assert p.stdout is not None
            assert line(p.stdout.fileno()) == "ready"
            p.send_signal(signal.SIGUSR1)
            assert line(p.stdout.fileno()) == "saved"
            assert p.wait(DEADLINE) == 0
        assert last(program)["status"] == "Completed"

    def test_what_was_ignored_stays_ignored(self, repo: Any, program: Callable[..., Any]) -> None:
        script = "import signal\nprint(signal.getsignal(1) == signal.SIG_IGN, flush=True)\n" + TRAPS.replace(
            "(1, 2, 15)", "(2, 15)"
        )
        words = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *RUN, *PYTHON, script]
        with running(repo, words) as p:
            assert p.stdout is not None
            assert line(p.stdout.fileno()) == "True"
            assert line(p.stdout.fileno()) == "ready"
            p.send_signal(signal.SIGHUP)
            p.send_signal(signal.SIGTERM)
            assert line(p.stdout.fileno()) == "got 15"
            assert p.wait(DEADLINE) == 0
        assert last(program)["detail"] == "signal 15"

    @linux
    def test_the_command_starts_with_no_signal_blocked_or_ignored(
        self, repo: Any, program: Callable[..., Any]
    ) -> None:
        done = program("run", "--", "cat", "/proc/self/status")
        status = dict(row.split(":\t", 1) for row in done.out.splitlines() if ":\t" in row)
        assert int(status["SigBlk"], 16) == 0
        # glibc's posix_spawn(3) leaves its own two signals, 32 and 33, ignored.
        assert int(status["SigIgn"], 16) & 0x7FFFFFFF == 0

    def test_a_second_signal_while_the_record_is_closed_loses_nothing(
        self, repo: Any, program: Callable[..., Any]
    ) -> None:
        """The filter that measuring starts waits until the second signal has been sent."""
        begun, go_on, ran = (repo.git_dir / name for name in ("begun", "go-on", "ran"))
        for fifo in (begun, go_on):
            os.mkfifo(fifo)
        slow = f"if [ -e {ran} ]; then echo measuring > {begun}; read x < {go_on}; fi; cat"
        repo.git("config", "filter.slow.clean", f"sh -c '{slow}'")
        repo.write(".gitattributes", "src/train.py filter=slow\n")
        repo.commit()
        pipes = [os.open(fifo, os.O_RDWR) for fifo in (begun, go_on)]
        command = f"touch {ran} {repo.path}/src/train.py; exit 5"
        with running(repo, [*RUN, "sh", "-c", command]) as process:
            assert line(pipes[0]) == "measuring"
            process.send_signal(signal.SIGTERM)
            os.write(pipes[1], b"go on\n")
            assert process.wait(DEADLINE) == 5
        for pipe in pipes:
            os.close(pipe)
        ran.unlink()
        record = last(program)
        assert (record["status"], record["exit_code"]) == ("Failed", 5)
        assert [change["code"] for change in record["changed_during_run"]] == ["git-error"]


class TestStreams:
    def test_binary_data_passes_through_untouched(self, repo: Any) -> None:
        data = bytes(range(256)) * 4000
        done = subprocess.run(
            [*RUN, "sh", "-c", "tee /dev/fd/2"], cwd=repo.path, input=data, capture_output=True, check=True
        )
        assert done.stdout == data
        assert done.stderr == data

    def test_input_that_the_command_does_not_read_is_left_for_the_next(self, repo: Any) -> None:
        words = ["sh", "-c", '"$@"; cat', "sh", *RUN, "sh", "-c", "read x; echo $x"]
        reading, writing = os.pipe()
        os.write(writing, b"first\nsecond\n")
        os.close(writing)
        done = subprocess.run(words, cwd=repo.path, stdin=reading, capture_output=True, check=True)
        os.close(reading)
        assert done.stdout == b"first\nsecond\n"

    def test_another_open_descriptor_is_the_commands_too(self, repo: Any) -> None:
        reading, writing = os.pipe()
        subprocess.run(
            [*RUN, "sh", "-c", f"echo there > /dev/fd/{writing}"],
            cwd=repo.path,
            pass_fds=[writing],
            check=True,
        )
        os.close(writing)
        with os.fdopen(reading) as pipe:
            assert pipe.read() == "there\n"

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    def test_a_closed_stream_harms_neither_the_command_nor_its_record(
        self, repo: Any, program: Callable[..., Any], tmp_path: Path, closed: str
    ) -> None:
        words = ["sh", "-c", f'"$@" {closed}', "sh", *RUN, "sh", "-c", f"echo ran > {tmp_path}/ran; exit 4"]
        words.remove("--quiet")
        done = subprocess.run(words, cwd=repo.path, capture_output=True, check=False)
        assert done.returncode == 4, done.stderr
        assert (tmp_path / "ran").read_text() == "ran\n"
        assert last(program)["exit_code"] == 4

    def test_a_reader_of_stderr_who_has_left_changes_nothing(
        self, repo: Any, program: Callable[..., Any], tmp_path: Path
    ) -> None:
        def stderr_without_a_reader(*words: str) -> int:
            reading, writing = os.pipe()
            os.close(reading)
            try:
                whole = [sys.executable, "-m", "deriva_ml_hooks", "run", "--", *words]
                return subprocess.run(whole, cwd=repo.path, stderr=writing, check=False).returncode
            finally:
                os.close(writing)

        assert stderr_without_a_reader("sh", "-c", f"touch {tmp_path}/ran; exit 6") == 6
        assert (tmp_path / "ran").exists()
        assert last(program)["status"] == "Failed"
        repo.write("dirty")
        assert stderr_without_a_reader("true") == 125


class TestTerminal:
    """The runner leads a session on a terminal of its own, as it does under ssh -t and in tmux."""

    TAKE = (
        "import fcntl, os, sys, termios\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "os.execv(sys.executable, sys.argv[1:])"
    )

    @contextlib.contextmanager
    def on_terminal(
        self, repo: Any, script: str, **how: Any
    ) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        master, slave = os.openpty()
        words = [sys.executable, "-c", self.TAKE, *RUN, *PYTHON, script]
        process = subprocess.Popen(
            words, cwd=repo.path, start_new_session=True, stdin=slave, stdout=slave, stderr=slave, **how
        )
        os.close(slave)
        try:
            yield process, master
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            with contextlib.suppress(OSError):
                os.close(master)

    def test_ctrl_c_reaches_the_command_exactly_once(self, repo: Any, program: Callable[..., Any]) -> None:
        script = (
            "import os, signal\n"
            "count = 0\n"
            "def counted(*_):\n    global count\n    count += 1\n    os.write(1, b'got it\\n')\n"
            "def stop(*_): os.write(1, b'count %d\\n' % count); os._exit(0)\n"
            "signal.signal(2, counted); signal.signal(15, stop)\n" + WAITS
        )
        with self.on_terminal(repo, script) as (process, master):
            assert line(master) == "ready"
            os.write(master, b"\x03")
            assert line(master).endswith("got it")  # after the echo: ^C
            process.send_signal(signal.SIGTERM)  # handed on after a SIGINT would have been
            assert line(master) == "count 1"
            assert process.wait(DEADLINE) == 0
        assert last(program)["status"] == "Aborted"

    def test_the_terminal_is_the_commands_own(self, repo: Any, program: Callable[..., Any]) -> None:
        script = (
            "import os, sys\n"
            "print(*(os.isatty(fd) for fd in (0, 1, 2)), os.tcgetpgrp(0) == os.getpgrp(), flush=True)\n"
            "print('read', sys.stdin.readline().strip(), flush=True)"
        )
        with self.on_terminal(repo, script) as (process, master):
            assert line(master) == "True True True True"
            os.write(master, b"hello\n")
            assert line(master) == "hello"  # its echo
            assert line(master) == "read hello"
            assert process.wait(DEADLINE) == 0
        assert last(program)["status"] == "Completed"

    def test_the_end_of_the_terminal_reaches_the_command(
        self, repo: Any, program: Callable[..., Any]
    ) -> None:
        reading, writing = os.pipe()
        script = (
            "import os, signal\n"
            f"def hung_up(*_): os.write({writing}, b'hung up\\n'); os._exit(0)\n"
            "signal.signal(1, hung_up)\n" + WAITS
        )
        with self.on_terminal(repo, script, pass_fds=[writing]) as (process, master):
            os.close(writing)
            assert line(master) == "ready"
            os.close(master)
            assert line(reading) == "hung up"
            process.wait(DEADLINE)
        os.close(reading)
        record = last(program)
        assert (record["status"], record["detail"]) == ("Aborted", "signal 1")


def test_interruptible_gives_the_answer_and_holds_signals_again() -> None:
    with child.held_signals() as mask:
        held = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert child.interruptible(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, []), mask) == mask
        assert child.interruptible(lambda: os.kill(os.getpid(), signal.SIGTERM) or 1, mask) is None
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == held
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_thread_that_has_the_signal_of_the_childs_end_keeps_nobody_waiting() -> None:
    code = """if True:
        import os, threading
        from deriva_ml_hooks.runner import child
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        with child.held_signals() as mask:
            spawn = child._spawn
            def ended_at_once(*words):
                pid = spawn(*words)
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                return pid
            child._spawn = ended_at_once
            raise SystemExit(child.run("/bin/sh", ["sh", "-c", "exit 3"], os.environ, mask).exit_code)
        """
    done = subprocess.run([sys.executable, "-c", code], timeout=DEADLINE, check=False)
    assert done.returncode == 3
