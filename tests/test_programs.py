"""Programs other than git: what goes in, what comes out, and how long they may take."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deriva_ml_hooks import programs

ECHO = (
    "import os, sys; data = sys.stdin.buffer.read(); os.write(1, data); os.write(2, data[::-1]); sys.exit(3)"
)


def test_bytes_go_in_and_come_out_as_they_are() -> None:
    done = programs.run([sys.executable, "-c", ECHO], stdin=b"\x00\xff\n")
    assert done == (3, b"\x00\xff\n", b"\n\xff\x00")
    assert programs.run([sys.executable, "-c", ECHO]) == (3, b"", b"")


def test_what_is_shown_goes_where_ours_goes(capfd: pytest.CaptureFixture[str]) -> None:
    done = programs.run([sys.executable, "-c", ECHO], stdin=b"ab", shown=("stderr",))
    assert done == (3, b"ab", b"")
    assert capfd.readouterr() == ("", "ba")


def test_folder_environment_and_name_are_those_that_are_given(tmp_path: Path) -> None:
    script = "import os, sys; print(os.getcwd(), dict(os.environ).get('HOME'), os.environ['X'])"
    done = programs.run(
        ["python", "-c", script], executable=sys.executable, cwd=str(tmp_path), env={"X": "1"}
    )
    assert done.stdout.decode() == f"{tmp_path} None 1\n"


@pytest.mark.parametrize("words", [["no-such-program-anywhere"], ["tail", "-f", "/dev/null"]])
def test_one_that_is_not_there_or_takes_too_long_is_an_error_of_the_system(words: list[str]) -> None:
    with pytest.raises(OSError, match=r"no answer in 0 s|No such file"):
        programs.run(words, timeout=0.1)
