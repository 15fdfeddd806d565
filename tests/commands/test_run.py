"""The `run` command: its options, the file it writes, and what it never writes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.cli import main

Program = Callable[..., Any]


def test_json_holds_the_record_or_the_verdict(repo: Any, program: Program, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    assert program("run", "--json", str(file), "--", "sh", "-c", "exit 3").code == 3
    record = json.loads(file.read_text())
    assert record == json.loads(program("executions", "show", "--json", record["id"]).out)
    assert record["exit_code"] == 3
    repo.write("new.py")
    assert program("run", "--json", str(file), "--", "true").code == 125
    verdict = json.loads(file.read_text())
    assert (verdict["schema"], verdict["accepted"]) == (1, False)
    assert [(r["code"], r["path"]) for r in verdict["reasons"]] == [("untracked", "new.py")]


def hidden_edit(repo: Any, name: str) -> None:
    """An edit of the same size that only a rehash can see: the index has the stamps of the edited file."""
    path = repo.path / name
    path.write_bytes(path.read_bytes().swapcase())
    os.utime(path, (1e9, 1e9))
    repo.make_the_index_believe(name)


@pytest.mark.parametrize(
    "words", [["run", "--paranoid", "--", "true"], ["run-notebook", "--paranoid", "a.ipynb"]]
)
def test_paranoid_finds_an_edit_that_every_stamp_denies(
    repo: Any, program: Program, words: list[str]
) -> None:
    repo.write("a.ipynb", "{}")
    repo.commit()
    hidden_edit(repo, "src/train.py")
    assert program("run", "--", "true").code == 0
    ran = program(words[0], "--paranoid", *words[1:])
    assert ran.code == 125
    assert "src/train.py: changed since the commit" in ran.err


def test_paranoid_finds_such_an_edit_after_the_run_too(repo: Any, program: Program, tmp_path: Path) -> None:
    # The command leaves an index that has the edited file's stamps, as a tool with an index of its own could.
    before = (repo.git_dir / "index").read_bytes()
    hidden_edit(repo, "src/train.py")
    (tmp_path / "index").write_bytes((repo.git_dir / "index").read_bytes())
    edited = tmp_path / "edited"
    (repo.path / "src/train.py").rename(edited)
    (repo.git_dir / "index").write_bytes(before)
    repo.git("checkout", "--", "src/train.py")
    repo.git("status")
    script = f"mv {edited} src/train.py; cp {tmp_path}/index .git/index"
    file = tmp_path / "run.json"
    assert program("run", "--paranoid", "--json", str(file), "--", "sh", "-c", script).code == 0
    changes = json.loads(file.read_text())["changed_during_run"]
    assert ("unstaged", "src/train.py") in {(change["code"], change["path"]) for change in changes}


def test_a_refused_entry_point_is_in_the_verdict(repo: Any, program: Program, tmp_path: Path) -> None:
    repo.write("ignored.log", "exit 0\n")
    file = tmp_path / "run.json"
    assert program("check").code == 0
    done = program("run", "--json", str(file), "--", "sh", "ignored.log")
    assert done.code == 125
    assert "ignored.log: not a file of commit" in done.err
    assert [r["code"] for r in json.loads(file.read_text())["reasons"]] == ["entry-point"]


def test_json_into_a_device_or_pipe_writes_there_and_replaces_nothing(
    repo: Any, program: Program, tmp_path: Path
) -> None:
    before = os.stat("/dev/null")
    assert program("run", "--json", "/dev/null", "--", "true").code == 0
    after = os.stat("/dev/null")
    assert stat.S_ISCHR(after.st_mode)
    assert (after.st_ino, after.st_dev) == (before.st_ino, before.st_dev)
    done = program("run", "--json", "/dev/stdout", "--", "true")
    assert json.loads(done.out)["status"] == "Completed"


def test_a_json_file_that_cannot_be_written_does_not_change_the_exit_code(
    repo: Any, program: Program, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    script = f"rm -r '{folder}'; exit 3"
    done = program("run", "--quiet", "--json", str(folder / "x.json"), "--", "sh", "-c", script)
    assert done.code == 3
    assert "not written" in done.err
    assert "fix: " in done.err


def test_without_a_command_it_is_a_usage_error(repo: Any, program: Program) -> None:
    assert program("run").code == 2
    assert program("run", "--").code == 2
    assert program("run", "--no-such-option", "--", "true").code == 2


def test_standard_input_as_code_is_refused_and_inline_code_is_warned_of(repo: Any, program: Program) -> None:
    done = program("run", "--", sys.executable, stdin="print('ran')")
    assert (done.code, done.out) == (125, "")
    assert "standard input" in done.err
    done = program("run", "--", sys.executable, "-c", "print('ran')")
    assert (done.code, done.out) == (0, "ran\n")
    assert "recorded only there" in done.err


def test_a_secret_is_nowhere_in_the_files_or_the_output(repo: Any, program: Program, tmp_path: Path) -> None:
    repo.git("remote", "add", "origin", "https://ada:hunter2-remote@example.org/lab/model.git")
    file = tmp_path / "run.json"
    words = (
        *("run", "--json", str(file), "--description", "from https://ada:hunter2-why@example.org/x", "--"),
        *(
            "true",
            "--token",
            "hunter2-next",
            "--api-key=hunter2-equals",
            "https://ada:hunter2-url@example.org/",
        ),
        *("PASSWORD=hunter2-variable", "--url", "https://example.org/?access_token=hunter2-query"),
    )
    said = program(*words)
    assert said.code == 0
    outputs = [said, program("executions", "list"), program("executions", "list", "--json")]
    record = json.loads(outputs[-1].out)[0]
    outputs += [program("executions", "show", record["id"], *json_) for json_ in ((), ("--json",))]
    assert record["command"][:3] == ["true", "--token", "***"]
    for done in outputs:
        assert "hunter2" not in done.out + done.err
    files = [path for path in (repo.git_dir / "deriva-ml-hooks").rglob("*") if path.is_file()]
    assert any(path.name == "executions.sqlite3" for path in files)
    assert any(path.name == "provenance.json" for path in files)
    for path in (*files, file):
        assert b"hunter2" not in path.read_bytes(), path
    repo.write("new.py")
    refused = program(*words)
    assert refused.code == 125
    assert "hunter2" not in refused.err + file.read_text()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["run", "--json", "left.log", "--", "no-such-program"], 127),
        (["run", "--json", "left.log", "--output", "x", "--", "true"], 2),
        (["rerun", "zzzz", "--json", "left.log"], 125),
    ],
)
def test_a_call_that_leaves_no_record_leaves_the_file_that_is_there(
    repo: Any, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int
) -> None:
    monkeypatch.chdir(repo.path)
    repo.write("left.log", "of an earlier run\n")
    assert main(words) == code
    assert (repo.path / "left.log").read_text() == "of an earlier run\n"


def test_a_link_is_replaced_and_what_it_leads_to_is_not_touched(
    repo: Any, program: Program, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("kept\n")
    (repo.path / "link.log").symlink_to(kept)
    assert program("run", "--json", "link.log", "--", "cat", str(kept)).code == 0
    assert kept.read_text() == "kept\n"
    assert json.loads((repo.path / "link.log").read_text())["status"] == "Completed"


def test_standard_output_that_is_a_file_is_added_to_and_stays_what_it_is(
    repo: Any, program: Program, tmp_path: Path
) -> None:
    file = tmp_path / "out.txt"
    line = f"{sys.executable} -m deriva_ml_hooks run --quiet --json /dev/stdout -- echo first > {file}"
    assert subprocess.run(["sh", "-c", line], cwd=repo.path, check=False).returncode == 0
    first, _, rest = file.read_text().partition("\n")
    assert (first, json.loads(rest)["status"]) == ("first", "Completed")
    assert os.path.islink("/dev/stdout")


WRITING = [
    ("run", "--json", "{}", "--", "touch", "ran.log"),
    ("run-notebook", "x.ipynb", "--json", "{}"),
    ("provenance", "--format", "json", "--output", "{}"),
]


@pytest.mark.parametrize("words", WRITING, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("README.md", "a tracked file"),
        ("link", "a tracked file"),
        ("src", "a folder"),
        (".git/index", "inside a git directory"),
        ("away/x.json", "is a link of the repository, and leads out of it"),
    ],
)
def test_a_file_that_the_user_names_replaces_nothing_that_has_to_stay(
    repo: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    file: str,
    said: str,
    words: tuple[str, ...],
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (repo.path / "away").symlink_to(tmp_path / "elsewhere")
    (repo.path / "link").symlink_to(tmp_path / "no-such-file")
    repo.commit("Links")
    monkeypatch.chdir(repo.path)
    assert main([word.format(file) for word in words]) == 2
    told = capsys.readouterr().err
    assert f" {file}: " in told
    assert said in told
    assert "fix: " in told
    assert repo.git("status", "--porcelain", "--ignored") == ""
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_json_file_that_cannot_be_written_is_told_before_anything_runs(
    repo: Any, program: Program, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    ran = program("run", "--json", str(tmp_path / "none" / "x.json"), "--", "touch", str(marker))
    assert ran.code == 2
    assert not marker.exists()


def test_the_log_that_a_shell_makes_for_our_own_output_is_a_warning(repo: Any, program: Program) -> None:
    line = f"{sys.executable} -m deriva_ml_hooks run -- python3 src/train.py > sweep_1.txt 2>&1"
    assert subprocess.run(["sh", "-c", line], cwd=repo.path, check=False).returncode == 0
    assert "trained" in (repo.path / "sweep_1.txt").read_text()
    [record] = json.loads(program("executions", "list", "--json").out)
    assert ("untracked", "sweep_1.txt") in {(w["code"], w["path"]) for w in record["warnings"]}
    assert record["changed_during_run"] == []
    assert program("run", "--", "true").code == 125  # now it is a file like any other
