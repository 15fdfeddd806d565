"""The hook on real files against the real nbstripout program, under pre-commit and prek, and killed."""

from __future__ import annotations

import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.hooks.strip_notebook_outputs import main

DATA = Path(__file__).parent.parent / "data" / "notebooks"
ON_DISK = {path.name: path.read_bytes() for path in sorted(DATA.iterdir())}
JUPYTER = {name: data for name, data in ON_DISK.items() if name.endswith(".ipynb")}
JUPYTER["crlf.ipynb"] = JUPYTER["v4.ipynb"].replace(b"\n", b"\r\n")
JUPYTER["crlf_clean.ipynb"] = JUPYTER["clean_v4_5.ipynb"].replace(b"\n", b"\r\n")
JUPYTER["no_newline_at_the_end.ipynb"] = JUPYTER["v4.ipynb"].rstrip(b"\n")
ZEPPELIN = {name: data for name, data in ON_DISK.items() if name.endswith(".zpln")}
WITHOUT_PROPER_IDS = ("v4_5_double_ids.ipynb", "v4_5_missing_ids.ipynb")
DIRTY, CLEAN = JUPYTER["v4.ipynb"], JUPYTER["clean_v4_5.ipynb"]

HOOK = "strip-notebook-outputs"
ENTRY = [sys.executable, "-m", "deriva_ml_hooks", "hook", HOOK]


def lay_out(folder: Path, notebooks: Mapping[str, bytes]) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name, data in notebooks.items():
        (folder / name).write_bytes(data)
    return [str(folder / name) for name in notebooks]


def read(folder: Path, notebooks: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in notebooks}


def left_by_nbstripout(folder: Path, notebooks: Mapping[str, bytes], *words: str) -> dict[str, bytes]:
    files = lay_out(folder, notebooks)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "nbstripout", *words, "--", *files],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return read(folder, notebooks)


def left_by_hook(folder: Path, notebooks: Mapping[str, bytes], *words: str) -> dict[str, bytes]:
    files = lay_out(folder, notebooks)
    changed = main([*words, "--", *files])
    left = read(folder, notebooks)
    assert changed == (left != notebooks)
    return left


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory outside of any repository."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


OPTIONS = {
    "none": [],
    "keep output": ["--keep-output"],
    "keep count": ["--keep-count", "--max-size", "1k"],
    "keep id": ["--keep-id"],
    "extra keys": ["--extra-keys", "metadata.foo.bar cell.metadata.tags cell.metadata.foo"],
    "keep metadata keys": ["--extra-keys=metadata.foo", "--keep-metadata-keys=metadata.foo metadata.widgets"],
    "drop empty and tagged cells": ["--drop-empty-cells", "--drop-tagged-cells", "other to-drop"],
    "strip init cells": ["--strip-init-cells"],
    "max size": ["--max-size", "100"],
    "drop output types": ["--keep-output", "--drop-output-type", "error", "stream:stderr"],
    "drop one output type": ["--keep-output", "--drop-output-type=stream"],
    "keep output types": ["--keep-output-type", "stream:stdout", "execute_result"],
}


@pytest.mark.parametrize("words", OPTIONS.values(), ids=OPTIONS)
def test_every_option_leaves_the_bytes_that_nbstripout_leaves(folder: Path, words: list[str]) -> None:
    notebooks = {
        name: data
        for name, data in JUPYTER.items()
        if "--keep-id" not in words or name not in WITHOUT_PROPER_IDS  # nbformat makes their ids up
    }
    expected = left_by_nbstripout(folder / "theirs", notebooks, *words)
    assert left_by_hook(folder / "ours", notebooks, *words) == expected
    assert expected["v4.ipynb"] != DIRTY


def test_zeppelin_notebooks_are_known_by_their_suffix(folder: Path) -> None:
    expected = left_by_nbstripout(folder / "theirs", ZEPPELIN, "--mode", "zeppelin")
    assert left_by_hook(folder / "ours", ZEPPELIN) == expected != ZEPPELIN


def test_files_with_other_endings_are_left_alone_as_nbstripout_does(folder: Path) -> None:
    others = {"a.json": DIRTY, "b.txt": b"text"}
    assert left_by_nbstripout(folder / "theirs", others) == left_by_hook(folder / "ours", others) == others


# Where options come from


def test_keys_of_the_git_configuration_are_obeyed(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.git("config", "filter.nbstripout.extrakeys", "metadata.kernelspec cell.metadata.tags")
    repo.git(
        "config", "--global", "filter.nbstripout.keepmetadatakeys", "cell.metadata.tags metadata.widgets"
    )
    monkeypatch.chdir(repo.path)
    expected = left_by_nbstripout(repo.path / "theirs", JUPYTER, "--extra-keys", "metadata.foo")
    assert left_by_hook(repo.path / "ours", JUPYTER, "--extra-keys", "metadata.foo") == expected
    repo.git("config", "--unset", "filter.nbstripout.extrakeys")
    assert left_by_nbstripout(repo.path / "theirs", JUPYTER, "--extra-keys", "metadata.foo") != expected


TABLE = """\
[tool.deriva-ml-hooks.strip-notebook-outputs]
keep-output = true
keep-count = true
extra-keys = ["metadata.foo", "cell.metadata.tags"]
drop-output-type = ["error", "stream:stderr"]
"""
SAID_BY_THE_TABLE = [
    *("--keep-output", "--keep-count", "--extra-keys", "metadata.foo cell.metadata.tags"),
    *("--drop-output-type", "error", "stream:stderr"),
]


def test_the_table_says_what_arguments_do_not(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo.path)
    expected = left_by_nbstripout(repo.path / "theirs", JUPYTER, *SAID_BY_THE_TABLE)
    repo.write("pyproject.toml", TABLE)
    assert left_by_hook(repo.path / "ours", JUPYTER) == expected


def test_arguments_win_over_the_table(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo.path)
    words = ["--extra-keys", "metadata.kernelspec", "--keep-count"]
    expected = left_by_nbstripout(repo.path / "theirs", JUPYTER, *words)
    repo.write("pyproject.toml", TABLE)
    ours = left_by_hook(
        repo.path / "ours", JUPYTER, "--no-keep-output", "--extra-keys", "metadata.kernelspec"
    )
    assert ours == expected


def test_files_behind_a_list_of_types_are_files(folder: Path) -> None:
    expected = left_by_nbstripout(folder / "theirs", JUPYTER, "--keep-output", "--drop-output-type", "error")
    files = lay_out(folder / "ours", JUPYTER)
    assert main(["--keep-output", "--drop-output-type", "error", *files]) == 1
    assert read(folder / "ours", JUPYTER) == expected


@pytest.mark.parametrize(
    "words",
    [["--max-size", "10T"], ["--drop-output-type", "a:b:c"], ["--keep-outputs"], ["--mode", "zeppelin"]],
    ids=" ".join,
)
def test_options_that_do_not_fit_are_refused(
    program: Callable[..., Any], folder: Path, words: list[str]
) -> None:
    [file] = lay_out(folder, {"a.ipynb": DIRTY})
    assert program("hook", HOOK, *words, "--", file).code == 2
    assert Path(file).read_bytes() == DIRTY


def test_keys_that_cannot_be_are_told_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--extra-keys", "foo metadata.a", *lay_out(folder, {"a.ipynb": DIRTY, "b.ipynb": DIRTY})])
    assert capsys.readouterr().err == (
        "deriva-ml-hooks: extra key 'foo' ignored: not metadata.KEY or cell.KEY\n"
    )


# What is told, and what is left alone


def test_stripped_files_are_named_with_the_command_that_stages_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lay_out(folder, {"a b.ipynb": DIRTY, "clean.ipynb": CLEAN, "c.ipynb": DIRTY})
    assert main(["a b.ipynb", "clean.ipynb", "c.ipynb"]) == 1
    assert capsys.readouterr().out == (
        "a b.ipynb: stripped of outputs, counts and metadata\n"
        "c.ipynb: stripped of outputs, counts and metadata\n"
        "fix: git add -- 'a b.ipynb' c.ipynb\n"
    )
    assert main(["a b.ipynb", "clean.ipynb", "c.ipynb"]) == 0
    assert capsys.readouterr().out == ""


def test_findings_are_json_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay_out(folder, {"a.ipynb": DIRTY, "b.ipynb": b"{"})
    assert main(["--json", "a.ipynb", "b.ipynb", "c.ipynb"]) == 1
    told = {finding["path"]: finding["code"] for finding in json.loads(capsys.readouterr().out)}
    assert told == {"a.ipynb": "outputs", "b.ipynb": "invalid-notebook", "c.ipynb": "unreadable"}
    assert main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_without_files_there_is_nothing_to_do(program: Callable[..., Any]) -> None:
    done = program("hook", HOOK)
    assert (done.code, done.out, done.err) == (0, "", "")


def test_check_changes_nothing_and_names_the_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay_out(folder, {"a.ipynb": DIRTY, "clean.ipynb": CLEAN})
    before = (folder / "a.ipynb").stat()
    assert main(["--check", "--keep-count", "a.ipynb", "clean.ipynb"]) == 1
    after = (folder / "a.ipynb").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    out = capsys.readouterr().out
    assert out == (
        "a.ipynb: has outputs, counts or metadata to strip\n"
        f"fix: deriva-ml-hooks hook {HOOK} --keep-count a.ipynb clean.ipynb\n"
    )
    fix = shlex.split(out.splitlines()[-1])[4:]
    assert main(fix) == 1
    assert main(["--check", "--keep-count", "a.ipynb", "clean.ipynb"]) == 0


def test_what_cannot_be_stripped_is_named_and_the_others_are_done(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"half.ipynb": DIRTY[:300], "latin.ipynb": '{"cells": "ä"}'.encode("latin-1"), "v9.ipynb": b"[]"}
    lay_out(folder, {**broken, "z.ipynb": DIRTY})
    (folder / "folder.ipynb").mkdir()
    (folder / "loop.ipynb").symlink_to("loop.ipynb")
    os.mkfifo(folder / "pipe.ipynb")
    names = [*broken, "folder.ipynb", "loop.ipynb", "pipe.ipynb", "gone.ipynb"]
    assert main([*names, "z.ipynb"]) == 1
    out = capsys.readouterr().out
    for name in names:
        assert any(line.startswith(f"{name}: ") and "left as it is" in line for line in out.splitlines()), (
            name
        )
    assert "half.ipynb: not a notebook, no JSON: " in out
    assert "latin.ipynb: not a notebook, no UTF-8: " in out
    assert "folder.ipynb: a folder" in out
    assert "gone.ipynb: No such file or directory" in out
    assert read(folder, broken) == broken
    assert (folder / "z.ipynb").read_bytes() == left_by_nbstripout(folder / "theirs", {"z.ipynb": DIRTY})[
        "z.ipynb"
    ]
    assert main(names) == 1


def test_a_file_that_cannot_be_written_stays_and_is_named(folder: Path) -> None:
    [file] = lay_out(folder, {"a.ipynb": DIRTY})
    done = subprocess.run(
        [*ENTRY, file],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),  # bytes
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{file}: File too large; left as it is" in done.stdout
    assert [path.name for path in folder.iterdir()] == ["a.ipynb"]
    assert Path(file).read_bytes() == DIRTY


def test_clean_files_are_not_written_and_cost_no_import_of_nbformat(folder: Path) -> None:
    [file] = lay_out(folder, {"a.ipynb": CLEAN})
    os.utime(file, ns=(1, 1))
    before = os.stat(file)
    script = (
        "import sys; from deriva_ml_hooks.cli import main\n"
        "code = main(['hook', *sys.argv[1:]])\n"
        "heavy = {'nbformat', 'nbstripout', 'typer', 'rich', 'jsonschema', 'concurrent.futures'}\n"
        "print(code, *sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, HOOK, file], check=True, capture_output=True, text=True
    )
    assert done.stdout == "0\n"
    after = os.stat(file)
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_the_mode_stays_and_a_link_is_no_notebook(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay_out(folder, {"a.ipynb": DIRTY, "b.ipynb": DIRTY})
    (folder / "a.ipynb").chmod(0o754)
    (folder / "link.ipynb").symlink_to("b.ipynb")
    assert main(["link.ipynb", "a.ipynb"]) == 1
    assert os.readlink(folder / "link.ipynb") == "b.ipynb"
    assert (folder / "a.ipynb").stat().st_mode & 0o7777 == 0o754
    assert (folder / "a.ipynb").read_bytes() != DIRTY
    assert (folder / "b.ipynb").read_bytes() == DIRTY
    assert "link.ipynb: a symbolic link, not a notebook; left as it is" in capsys.readouterr().out


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("name", ["link.ipynb", "away/a.ipynb", "sub/../away/deep/b.ipynb"])
def test_nothing_is_written_through_a_link_that_leads_out_of_the_repository(
    repo: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, absolute: bool
) -> None:
    outside = tmp_path / "outside"
    lay_out(outside, {"a.ipynb": DIRTY})
    lay_out(outside / "deep", {"b.ipynb": DIRTY})
    (repo.path / "link.ipynb").symlink_to(outside / "a.ipynb")
    (repo.path / "away").symlink_to(outside)
    (repo.path / "sub").mkdir()
    repo.commit("Plant links")
    (tmp_path / "home").symlink_to(repo.path)
    monkeypatch.chdir(repo.path)
    assert main([str(tmp_path / "home" / name) if absolute else name]) == 1
    assert [path.read_bytes() for path in sorted(outside.rglob("*.ipynb"))] == [DIRTY, DIRTY]
    assert main([str(outside / "a.ipynb")]) == 1
    assert (outside / "a.ipynb").read_bytes() != DIRTY, "who names a file elsewhere means that file"


def test_a_link_inside_of_the_repository_may_lead_to_a_notebook(
    repo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.write("work/a.ipynb", DIRTY)
    (repo.path / "short").symlink_to("work")
    monkeypatch.chdir(repo.path)
    assert main(["short/a.ipynb"]) == 1
    assert (repo.path / "work/a.ipynb").read_bytes() != DIRTY


# Killed


def killed_after(count: int, folder: Path, notebooks: Mapping[str, bytes]) -> set[bytes]:
    """What is in the files after a kill -9 as soon as that many have been replaced."""
    files = lay_out(folder, notebooks)
    watched = Path(files[count - 1])
    old_file = watched.stat().st_ino
    process = subprocess.Popen([*ENTRY, *files], stdout=subprocess.DEVNULL)
    while watched.stat().st_ino == old_file and process.poll() is None:
        pass
    process.kill()
    process.wait()
    beside = {path.name for path in folder.iterdir()} - set(notebooks)
    assert all(name.startswith(".") and not name.endswith(".ipynb") for name in beside)
    return set(read(folder, notebooks).values())


@pytest.mark.slow
def test_a_kill_leaves_each_notebook_whole_old_or_new(tmp_path: Path) -> None:
    notebooks = {f"{number:03}.ipynb": DIRTY for number in range(200)}
    new = left_by_nbstripout(tmp_path / "theirs", {"a.ipynb": DIRTY})["a.ipynb"]
    left = {count: killed_after(count, tmp_path / str(count), notebooks) for count in (1, 10, 40, 100, 150)}
    assert all(contents <= {DIRTY, new} for contents in left.values())
    assert {DIRTY, new} in left.values()  # at least one kill was in the middle, however busy the machine is
    again = tmp_path / "1"
    main([str(again / name) for name in notebooks])
    assert set(read(again, notebooks).values()) == {new}


# Under the runners

CONFIG = f"""\
repos:
- repo: local
  hooks:
  - id: {HOOK}
    name: strip outputs
    language: system
    entry: {" ".join(ENTRY)}
    types: [jupyter]
    stages: [pre-commit, manual]
    args: [--keep-output, --drop-output-type, error, stream]
"""
PLANTED = ["--check.ipynb", "--max-size=9G.ipynb", "--extra-keys=metadata.x.ipynb", "-h.ipynb", "@x.ipynb"]


@pytest.mark.usefixtures("git_for_pre_commit")
@pytest.mark.parametrize("words", [["--all-files"], ["--files", "./--check.ipynb", "z.ipynb"], []])
@pytest.mark.parametrize("runner", ["pre-commit", pytest.param("prek", marks=pytest.mark.slow)])
def test_names_that_look_like_options_are_names(repo: Any, runner: str, words: list[str]) -> None:
    arguments = "[--keep-output, --drop-output-type, error, stream, --]"
    repo.write(".pre-commit-config.yaml", CONFIG.partition("    args:")[0] + f"    args: {arguments}\n")
    lay_out(repo.path, dict.fromkeys([*PLANTED, "z.ipynb"], DIRTY))
    repo.git("add", "--all")
    binary = str(Path(sys.executable).parent / runner)
    subprocess.run([binary, "run", *words], cwd=repo.path, check=False, capture_output=True)
    wanted = [words[1].removeprefix("./"), "z.ipynb"] if "--files" in words else [*PLANTED, "z.ipynb"]
    assert DIRTY not in {(repo.path / name).read_bytes() for name in wanted}


@pytest.mark.parametrize("name", PLANTED[:4])
def test_a_word_that_may_be_an_option_or_a_name_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    lay_out(folder, {name: DIRTY, "z.ipynb": DIRTY})
    with pytest.raises(UsageError, match="an option, and the name of a file"):
        main([name, "z.ipynb"])
    assert main(["--", name, "z.ipynb"]) == 1
    assert DIRTY not in read(folder, {name: DIRTY, "z.ipynb": DIRTY}).values()
    assert f"fix: git add -- {name} z.ipynb" in capsys.readouterr().out


@pytest.mark.usefixtures("git_for_pre_commit")
@pytest.mark.parametrize("runner", ["pre-commit", pytest.param("prek", marks=pytest.mark.slow)])
def test_a_commit_is_stopped_once_and_passes_after_git_add(repo: Any, runner: str) -> None:
    binary = str(Path(sys.executable).parent / runner)
    repo.write(".pre-commit-config.yaml", CONFIG)
    repo.commit("Use the hook")
    subprocess.run([binary, "install"], cwd=repo.path, check=True, capture_output=True)
    repo.write("work/a.ipynb", DIRTY)
    repo.git("add", "--all")
    stopped = subprocess.run(
        ["git", "commit", "-m", "Notebook"], cwd=repo.path, check=False, capture_output=True, text=True
    )
    assert stopped.returncode == 1
    assert "fix: git add -- work/a.ipynb && git commit" in stopped.stdout + stopped.stderr
    stripped = (repo.path / "work/a.ipynb").read_bytes()
    assert stripped != DIRTY
    assert repo.git("status", "--porcelain") == "AM work/a.ipynb"
    repo.git("add", "--", "work/a.ipynb")
    repo.git("commit", "-m", "Notebook")
    assert repo.git("status", "--porcelain") == ""
    everything = subprocess.run(
        [binary, "run", "--all-files"], cwd=repo.path, check=False, capture_output=True
    )
    assert everything.returncode == 0, everything.stdout


def test_a_notebook_that_only_lacked_cell_ids_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["v4_5_missing_ids.ipynb", "v4.ipynb"]
    for words, ids, outputs in (
        (["--check"], "has cell ids to add or renumber, no more", "has outputs, counts or metadata to strip"),
        ([], "given cell ids, or others; there was nothing to strip", "stripped of outputs, counts and"),
    ):
        lay_out(tmp_path, {name: JUPYTER[name] for name in names})
        assert main([*words, *names]) == 1
        out = capsys.readouterr().out
        assert f"{names[0]}: {ids}" in out
        assert f"{names[1]}: {outputs}" in out
