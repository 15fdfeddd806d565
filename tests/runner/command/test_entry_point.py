"""The entry point of an execution, by the real program in real repositories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.config import load
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.provenance.cache import provenance_of
from deriva_ml_hooks.report import as_line
from deriva_ml_hooks.runner.command.entry_point import Resolved, resolve

NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": 3,
            "id": "a",
            "metadata": {},
            "outputs": [{"name": "stdout", "output_type": "stream", "text": ["1\n"]}],
            "source": ["print(1)"],
        }
    ],
    "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def resolved(
    repo: Any, *argv: str, cwd: str = ".", explicit: str | None = None, executable: str | None = None
) -> Resolved:
    repository = measured(str(repo.path))
    provenance = provenance_of(repository, load(repository.worktree))
    return resolve(
        argv,
        cwd=os.path.normpath(repo.path / cwd),
        executable=executable,
        explicit=explicit,
        provenance=provenance,
    )


def path_of(repo: Any, *argv: str, cwd: str = ".", explicit: str | None = None) -> str | None:
    found = resolved(repo, *argv, cwd=cwd, explicit=explicit)
    assert found.reason is None
    assert found.entry_point is not None
    return found.entry_point.path


def reason_of(repo: Any, *argv: str, cwd: str = ".", explicit: str | None = None) -> str:
    found = resolved(repo, *argv, cwd=cwd, explicit=explicit)
    assert found.entry_point is None
    assert found.reason is not None
    assert found.reason.code == "entry-point"
    assert found.reason.fix
    return as_line(found.reason)


@pytest.mark.parametrize(
    ("argv", "cwd"),
    [
        (("python", "src/train.py", "--epochs", "3"), "."),
        (("python", "train.py"), "src"),
        (("python", "-m", "src.train"), "."),
        (("python", "-m", "train"), "."),
        (("python3", "-u", "-W", "error", "./src/../src/train.py"), "."),
        (("uv", "run", "python", "src/train.py"), "."),
        (("uv", "run", "--with", "numpy", "src/train.py"), "."),
        (("poetry", "run", "python", "src/train.py"), "."),
        (("env", "A=1", "nice", "-n", "5", "python", "src/train.py"), "."),
        (("bash", "-x", "src/train.py"), "."),
        (("./src/train.py",), "."),
        (("deriva-ml-run-notebook", "--host", "h", "src/train.py"), "."),
    ],
    ids=" ".join,
)
def test_a_tracked_file_is_named_by_its_path_in_the_repository(
    repo: Any, argv: tuple[str, ...], cwd: str
) -> None:
    assert path_of(repo, *argv, cwd=cwd) == "src/train.py"


@pytest.mark.parametrize("argv", [("make", "all"), ("true",), ("sh", "-c", "python src/train.py")])
def test_a_plain_program_stands_for_the_tree(repo: Any, argv: tuple[str, ...]) -> None:
    found = resolved(repo, *argv)
    assert found.reason is None
    assert found.warning is None
    assert found.entry_point is not None
    assert (found.entry_point.path, found.entry_point.blob) == (None, None)
    assert found.entry_point.checksum == repo.git("rev-parse", "HEAD^{tree}")
    assert repo.git("rev-parse", "HEAD") in found.entry_point.url


def test_what_is_not_in_the_commit_is_refused(repo: Any, tmp_path: Path) -> None:
    repo.write("new.py")
    repo.write(".git/info/exclude", "ignored.py\n")
    repo.write("ignored.py")
    (tmp_path / "outside.py").write_text("")
    (repo.path / "out").symlink_to(tmp_path / "outside.py")
    (repo.path / "folder").symlink_to(tmp_path)
    assert "new.py: not a file of commit" in reason_of(repo, "python", "new.py")
    assert "ignored.py: not a file of commit" in reason_of(repo, "python", "ignored.py")
    assert "outside the repository" in reason_of(repo, "python", "../outside.py")
    assert "outside the repository" in reason_of(repo, "python", "out")
    assert "outside the repository" in reason_of(repo, "bash", "folder/outside.py")
    assert "no such file" in reason_of(repo, "python", "missing.py")
    assert "no such file" in reason_of(repo, "python", "src/train.py/x")
    assert "standard input" in reason_of(repo, "python", "-")
    assert "standard input" in reason_of(repo, "bash", "-s")


@pytest.fixture
def loose(repo: Any) -> Any:
    """`repo` with ignored files of every sort, and tracked ones of the same."""
    repo.write(".gitignore", "ign*\nout/\n.venv/\n")
    repo.write("tracked.mk", "all:\n")
    repo.commit()
    repo.write("ign", "#!/bin/sh\n")
    repo.write("src/ign.py", "")
    for name in ("ign.py", "ign.mk", "ign.ipynb", "ign x.R", "out/ign.awk", "out/tracked.mk"):
        repo.write(name, "")
    for name in ("ign.csv", "ign.json", "ign.yaml", "ign.txt", "out/ign.bin"):
        repo.write(name, "1\n")
    repo.write(".venv/pyvenv.cfg", "")
    repo.write(".venv/bin/tool", "#!python\n")
    (repo.path / "ign-link").symlink_to("ign.py")
    return repo


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("nsys", "profile", "python", "ign.py"), "ign.py"),
        (("env", "-S", "python ign.py"), "ign.py"),
        (("watch", "python ./ign.py; true"), "ign.py"),
        (("sh", "-c", "cd . && python 'ign.py'"), "ign.py"),
        (("make", "-f", "ign.mk"), "ign.mk"),
        (("make", "-fign.mk"), "ign.mk"),
        (("make", "--file=ign.mk"), "ign.mk"),
        (("make", "-C", "out", "-f", "ign.awk"), "out/ign.awk"),
        (("make", "-C", "out", "-f", "tracked.mk"), "out/tracked.mk"),
        (("awk", "-f", "out/ign.awk"), "out/ign.awk"),
        (("python", "-m", "runpy", "ign.py"), "ign.py"),
        (("python", "-m", "pytest", "ign.py::test_x"), "ign.py"),
        (("wrapper", "--script=ign x.R"), "ign x.R"),
        (("wrapper", "ign"), "ign"),
        (("wrapper", "ign-link"), "ign.py"),
        (("wrapper", "ign.ipynb"), "ign.ipynb"),
    ],
    ids=lambda argv: " ".join(argv) if isinstance(argv, tuple) else "",
)
def test_a_program_of_no_table_is_given_no_code_that_is_not_committed(
    loose: Any, argv: tuple[str, ...], named: str
) -> None:
    for explicit in (None, "src/train.py"):
        assert reason_of(loose, *argv, explicit=explicit).startswith(f"{named}: code that is not a file of")


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("make",), "Makefile"),
        (("bash", "-c", "make all"), "Makefile"),
        (("make", "-C", "data"), "data/makefile"),
        (("snakemake", "--cores", "1"), "workflow/Snakefile"),
        (("bash", "-c", ". data/env"), "data/env"),
        *(
            (("wrapper", f"data/x.{suffix}"), f"data/x.{suffix}")
            for suffix in ["sql", "jar", "pyc", "so", "do", "sas"]
        ),
        (("python", "-c", "exec(open('data/test_x.py').read())"), "data/test_x.py"),
    ],
    ids=lambda argv: " ".join(argv) if isinstance(argv, tuple) else "",
)
def test_what_a_program_runs_unnamed_or_by_its_folder_is_code_too(
    repo: Any, argv: tuple[str, ...], named: str
) -> None:
    repo.write(".gitignore", "/data\n/Makefile\n/workflow\n")
    repo.commit()
    suffixes = "sql jar pyc so do sas yml csv json parquet"
    for name in ("test_x.py", "makefile", "env", *(f"x.{suffix}" for suffix in suffixes.split())):
        repo.write(f"data/{name}")
    repo.write("Makefile")
    repo.write("workflow/Snakefile")
    assert reason_of(repo, *argv).startswith(f"{named}: code that is not a file of")
    for data in ("data/x.csv", "data/x.json", "data/x.parquet"):
        assert resolved(repo, "wrapper", data).reason is None


@pytest.fixture
def science(repo: Any) -> Any:
    """`repo` with ignored data, settings and outputs of earlier runs, and a tracked Makefile."""
    repo.write(".gitignore", "/data\n/runs\n.env\n/conftest.py\n")
    repo.write("Makefile", "all:\n")
    repo.commit()
    for name in ("cfg.yaml", "labels", "README", "site.yml", "env", "plugin.py", "x.csv"):
        repo.write(f"data/{name}", "x\n")
    for name in ("log", "CHECKPOINT"):
        repo.write(f"runs/{name}", "x\n")
    repo.write(".env", "TOKEN=x\n")
    return repo


@pytest.mark.parametrize(
    "argv",
    [
        ("bash", "-c", "python src/train.py data/cfg.yaml"),
        ("bash", "-c", "python src/train.py --config data/cfg.yaml > runs/log"),
        ("make", "all", "CONFIG=data/cfg.yaml"),
        ("make", "all", "DATA=data/labels"),
        ("pytest", "--config", "data/cfg.yaml"),
        ("python", "-c", 'print(open("data/labels").read())'),
        ("python", "-c", 'f = open("data/labels"); print(f, "; data/labels")'),
        ("wc", "-l", "data/labels"),
        ("cat", "data/README"),
        ("cp", "data/cfg.yaml", "runs/"),
        ("sh", "-c", "for i in 1 2; do python src/train.py --out runs/CHECKPOINT; done"),
        ("wrapper", "-m", "data/labels (of May); data/labels"),
        ("sh", "-c", "python -m json.tool data/labels"),
        ("python", "src/train.py", "data/cfg.yaml"),
        ("src/train.py", "data/cfg.yaml"),
        ("sh", "-c", "sort < data/labels > runs/log"),
    ],
    ids=" ".join,
)
def test_data_given_to_a_program_is_neither_refused_nor_told(science: Any, argv: tuple[str, ...]) -> None:
    found = resolved(science, *argv)
    if found.warning is not None:  # that of inline code
        assert found.warning.path is None
    assert found.reason is None


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("sh", "-c", "python src/train.py --plugin data/plugin.py"), "data/plugin.py"),
        (("sh", "-c", "A=1 python -u src/train.py --plugin=data/plugin.py"), "data/plugin.py"),
        (("make", "all", "PLUGIN=data/plugin.py"), "data/plugin.py"),
        (("bash", "-c", "source .env; python src/train.py"), ".env"),
    ],
    ids=lambda argv: " ".join(argv) if isinstance(argv, tuple) else "",
)
def test_what_may_be_code_is_told_where_committed_code_is_given_it(
    science: Any, argv: tuple[str, ...], named: str
) -> None:
    found = resolved(science, *argv)
    assert found.reason is None
    assert found.warning is not None
    assert found.warning.path == named
    assert "not a file of commit" in found.warning.message
    assert (".env" in named) is not ("git add" in found.warning.fix)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("bash", "-c", ". data/env"), "data/env"),
        (("bash", "-c", "python data/labels"), "data/labels"),
        (("launch", "python", "data/cfg.yaml"), "data/cfg.yaml"),
        (("make", "-f", "data/labels"), "data/labels"),
        (("bash", "-c", "cd data && python labels"), "data/labels"),
        (("bash", "-c", "python src/train.py; python data/plugin.py"), "data/plugin.py"),
        (("make", "-C", "data", "-f", "x.csv"), "data/x.csv"),
        (("sh", "-c", "PYTHONPATH=data python -m plugin"), "data/plugin.py"),
    ],
    ids=lambda argv: " ".join(argv) if isinstance(argv, tuple) else "",
)
def test_what_is_sourced_interpreted_or_named_to_make_is_code_whatever_its_name(
    science: Any, argv: tuple[str, ...], named: str
) -> None:
    found = resolved(science, *argv)
    assert found.reason is not None
    assert found.reason.path == named
    assert (Path(named).suffix == "") is ("into the environment" in found.reason.fix)


@pytest.mark.parametrize(
    "argv",
    [
        ("bash", "-c", "python ~/evil.py"),
        ("bash", "-c", "cd ~ && python evil.py"),
        ("bash", "-c", "cd $HOME; python evil"),
        ("bash", "-c", 'python ".."/evil.py'),
        ("bash", "-c", "python ..'/evil'"),
        ("bash", "-c", "python '../evil.py"),
        ("launch", "python", "../evil"),
        ("launch", "python", "../evil.txt"),
        ("make", "-f", "../mk.txt"),
        ("env", "PYTHONPATH={out}", "python", "-m", "evil"),
        ("bash", "-c", "PYTHONPATH=.. python -m evil"),
        ("bash", "-c", "echo $(python ../evil)"),
        ("bash", "-c", "echo `python ../evil`"),
        ("bash", "-c", "if true; then python -W error ../evil; fi"),
        ("env", "-S", "python ../evil"),
    ],
    ids=" ".join,
)
def test_code_from_outside_is_seen_as_a_shell_would_spell_it(
    repo: Any, argv: tuple[str, ...], home: Path, tmp_path: Path
) -> None:
    for top in (home, tmp_path):
        for name in ("evil.py", "evil", "evil.txt", "mk.txt"):
            (top / name).write_text("print('evil')\n")
    assert "outside the repository" in reason_of(repo, *(word.format(out=tmp_path) for word in argv))


@pytest.mark.parametrize(
    "argv",
    [
        ("launch", "python", "{out}/evil.py"),
        ("launch", "python", "../evil.py"),
        ("bash", "-c", "python {out}/evil.py"),
        ("bash", "-c", "cd {out} && python evil.py"),
        ("make", "-f", "{out}/Makefile"),
        ("make", "-C", "{out}"),
        ("python", "-c", "import runpy; runpy.run_path('{out}/evil.py')"),
        ("wrapper", "{out}/tool"),
        ("launch", "python", "-u", "{out}/evil"),
        ("bash", "-c", "cd {out} && A=1 python evil | tee log"),
        ("bash", "-c", ". {out}/evil"),
        ("bash", "-c", "cd src && source '{out}/evil'; python train.py"),
        ("bash", "-c", "python $OUT/evil"),
        ("bash", "-c", "bash -c \"python '{out}/evil'\""),
    ],
    ids=" ".join,
)
def test_code_from_outside_is_refused_whatever_program_is_given_it(
    repo: Any, argv: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUT", str(tmp_path))
    for name in ("evil.py", "evil", "Makefile"):
        (tmp_path / name).write_text("print('evil')\n")
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    for explicit in (None, "src/train.py"):
        said = reason_of(repo, *(word.format(out=tmp_path) for word in argv), explicit=explicit)
        assert "outside the repository" in said


@pytest.mark.parametrize("words", ["set -a; . ./.env; src/train.py", "find . -name .git -prune"])
def test_settings_that_nobody_should_commit_are_no_code(repo: Any, words: str) -> None:
    repo.write(".git/info/exclude", ".env\n")
    repo.write(".env", "TOKEN=x\n")
    assert resolved(repo, "bash", "-c", words).reason is None


def test_what_is_installed_or_data_may_be_outside(repo: Any, tmp_path: Path) -> None:
    (tmp_path / "env/pyvenv.cfg").parent.mkdir()
    (tmp_path / "env/pyvenv.cfg").write_text("")
    package = tmp_path / "env/lib/python3.12/site-packages/tool.py"
    package.parent.mkdir(parents=True)
    package.write_text("")
    (tmp_path / "labels").write_text("a b\n")
    (tmp_path / "x.csv").write_text("a,b\n")
    words = (str(package), str(tmp_path / "labels"), str(tmp_path / "x.csv"), "/usr/bin/env", "/etc/profile")
    found = resolved(repo, "wrapper", *words)
    assert (found.reason, found.warning) == (None, None)


@pytest.mark.parametrize(
    "argv",
    [
        ("wrapper", "data"),
        ("wrapper", "--input=data", "--out", "results"),
        ("tar", "czf", "x.tgz", "data"),
        ("make", "-f", "tracked.mk"),
        ("make", "--file=tracked.mk", "data"),
        ("bash", "-c", "make -f tracked.mk"),
        ("make", "-C", "tracked"),
        ("wrapper", "data/x.csv", "data/x.vcf", "data/x.nii.gz", "data/model.pt", "data/x.unknown"),
        ("bash", "-c", "python src/train.py > results/log; cp src/train.py results"),
        ("bash", "-c", "python src/train.py --settings {out}/shared.yml"),
        ("wrapper", "{out}/shared.yml", "{out}/subjects", "{out}"),
        ("sh", "-c", "find . {out}/subjects -name .git -prune"),
        ("wrapper", "--mode", "python", "data/x.csv"),
        ("wrapper", "{out}/linked/.git", "{out}/linked"),
    ],
    ids=" ".join,
)
def test_data_settings_and_what_else_is_made_is_not_refused(
    repo: Any, argv: tuple[str, ...], tmp_path: Path
) -> None:
    repo.write(".gitignore", "/data\n/results\n/Makefile\n")
    for name in ("tracked.mk", "tracked/Makefile", "tracked/test_x.py"):
        repo.write(name)
    repo.commit()
    for name in (
        "Makefile",
        "data/Makefile",
        "data/download.py",
        "data/x.csv",
        "data/x.vcf",
        "data/x.unknown",
    ):
        repo.write(name)
    for name in ("data/x.nii.gz", "data/model.pt"):
        repo.write(name, b"PK\3\4\0")
    for name in ("results/train.py", "results/config.yaml"):
        repo.write(name)
    for name in ("shared.yml", "subjects", "x.py"):
        (tmp_path / name).write_text("x\n")
    repo.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    found = resolved(repo, *(word.format(out=tmp_path) for word in argv))
    assert (found.reason, found.warning) == (None, None)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("build/sim", "in.nml"), "build/sim"),
        (("mpirun", "-n", "2", "./build/sim"), "build/sim"),
        (("nsys", "profile", "build/sim"), "build/sim"),
        (("java", "-jar", "build/app.jar"), "build/app.jar"),
    ],
    ids=lambda argv: " ".join(argv) if isinstance(argv, tuple) else "",
)
def test_what_was_compiled_is_refused_or_told_where_its_source_is_named(
    repo: Any, argv: tuple[str, ...], named: str
) -> None:
    repo.write(".gitignore", "/build\n")
    repo.commit()
    repo.write("build/sim", b"\x7fELF\0")
    repo.write("build/app.jar", b"PK\3\4\0")
    assert reason_of(repo, *argv).startswith(f"{named}: ")
    found = resolved(repo, *argv, explicit="src/train.py")
    assert found.entry_point is not None
    assert found.warning is not None
    assert (found.entry_point.path, found.warning.path) == ("src/train.py", named)


def test_naming_a_workflow_helps_where_an_option_is_not_known(repo: Any) -> None:
    repo.write(".gitignore", "*.csv\n")
    repo.commit()
    repo.write("x.csv", "1\n")
    for value in ("x.csv", "7"):
        words = ("coverage", "run", "--brand-new", value, "src/train.py")
        assert reason_of(repo, *words)
        assert path_of(repo, *words, explicit="src/train.py") == "src/train.py"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("python", "{out}/evil.py"), "outside the repository"),
        (("python", "-"), "standard input"),
        (("wrapper", "-n", "2", "python", "-"), "standard input"),
        (("python",), "standard input"),
        (("bash", "/dev/stdin"), "standard input"),
        (("papermill", "https://example.org/x.ipynb", "out.ipynb"), "not in the repository"),
    ],
)
def test_naming_a_workflow_excuses_no_code_that_is_in_no_commit(
    repo: Any, argv: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / "evil.py").write_text("")
    words = [word.format(out=tmp_path) for word in argv]
    assert said in reason_of(repo, *words, explicit="src/train.py")


@pytest.mark.parametrize(
    "argv",
    [
        ("wrapper", "ign.csv", "--config=ign.json", "ign.txt", "out", "out/ign.bin"),
        ("wrapper", "-o", "ign.py"),
        ("wrapper", "--output=ign.py"),
        ("make", "-f", "tracked.mk"),
        ("wrapper", "src/train.py", ".venv/bin/tool"),
        ("wrapper", "missing.py", "", "-", "a\0b", "\ud800", "=" * 300, "~\0", "~\ud800", "$"),
    ],
)
def test_outputs_data_and_installed_programs_may_be_ignored(loose: Any, argv: tuple[str, ...]) -> None:
    found = resolved(loose, *argv)
    assert (found.reason, found.warning) == (None, None)


def test_naming_a_workflow_does_not_make_ignored_code_committed(loose: Any) -> None:
    said = reason_of(loose, "python", "ign.py", explicit="src/train.py")
    assert said.startswith("ign.py: not a file of commit")


def test_ignored_code_given_to_a_script_is_a_warning(loose: Any) -> None:
    found = resolved(loose, "python", "src/train.py", "--plugin=ign.py")
    assert found.entry_point is not None
    assert found.warning is not None
    assert (found.warning.code, found.warning.path) == ("entry-point", "ign.py")
    assert found.warning.fix.startswith("git add --force -- ign.py")
    assert resolved(loose, "python", "src/train.py", "ign.csv").warning is None


def test_the_notebook_that_papermill_writes_is_no_warning(loose: Any) -> None:
    loose.write("x.ipynb", json.dumps(NOTEBOOK))
    loose.commit()
    found = resolved(loose, "papermill", "x.ipynb", "ign.ipynb")
    assert found.entry_point is not None
    assert found.warning is None


def test_a_guessed_module_is_a_warning_unless_it_is_installed_from_there(
    repo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "env/lib/python3.12/site-packages"
    site.mkdir(parents=True)

    def warned() -> bool:
        python = str(tmp_path / "env/bin/python3")
        found = resolved(repo, "python", "-m", "train", executable=python)
        assert found.entry_point is not None
        assert found.entry_point.path == "src/train.py"
        return found.warning is not None and found.warning.code == "entry-point"

    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert warned()
    (site / "model.pth").write_text(f"{repo.path / 'src'}\n")
    assert not warned()
    (site / "train.py").write_text("")  # an installed copy goes before the editable one
    assert warned()
    (site / "train.py").unlink()
    (site / "model.pth").unlink()
    (site / "model.pth").write_text("import __editable___model_1_finder\n")
    (site / "__editable___model_1_finder.py").write_text(
        f"MAPPING = {{'train': {str(repo.path / 'src/train')!r}}}"
    )
    assert not warned()
    (site / "__editable___model_1_finder.py").unlink()
    monkeypatch.setenv("PYTHONPATH", "src")
    assert not warned()


def test_another_module_of_that_name_on_pythonpath_is_refused(
    repo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "outside the repository" in reason_of(repo, "python", "-m", "train")


@pytest.mark.parametrize("path", ["/dev/stdin", "/dev/fd/63", "/proc/self/fd/0"])
def test_a_stream_is_standard_input(repo: Any, path: str) -> None:
    said = reason_of(repo, "bash", path)
    assert said == f"{path}: the code comes from standard input, so it is in no commit"


def test_what_is_no_regular_file_is_said_to_be_none(repo: Any) -> None:
    said = reason_of(repo, "python", "/dev/null")
    assert said == "/dev/null: not a regular file, so no commit holds this code"


def test_a_notebook_at_an_address_is_refused_and_its_password_not_repeated(repo: Any) -> None:
    said = reason_of(repo, "papermill", "https://ada:hunter2@example.org/x.ipynb", "out.ipynb")
    assert "hunter2" not in said
    assert "example.org/x.ipynb: not in the repository" in said


def test_an_address_named_as_the_workflow_is_refused_and_its_password_not_repeated(repo: Any) -> None:
    found = resolved(repo, "true", explicit="https://ada:hunter2secret@example.org/x.py")
    assert found.reason is not None
    assert "hunter2secret" not in as_line(found.reason)


def test_the_named_file_is_the_workflow_whatever_runs(repo: Any, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("")
    repo.write("ignored.log")
    assert path_of(repo, "bash", "-c", "python src/train.py", explicit="src/train.py") == "src/train.py"
    assert path_of(repo, "make", cwd="src", explicit="train.py") == "src/train.py"
    assert "not a file of commit" in reason_of(repo, "true", explicit="ignored.log")
    assert "outside the repository" in reason_of(repo, "true", explicit="../outside.py")
    assert "src: not a regular file" in reason_of(repo, "true", explicit="src")


def test_a_link_to_a_tracked_file_is_that_file(repo: Any) -> None:
    (repo.path / "go.py").symlink_to("src/train.py")
    repo.commit()
    assert path_of(repo, "python", "go.py") == "src/train.py"


def test_inline_code_is_accepted_with_a_warning(repo: Any) -> None:
    found = resolved(repo, "python", "-c", "print(1)")
    assert found.reason is None
    assert found.warning is not None
    assert "command" in found.warning.message


@pytest.mark.parametrize(
    ("name", "content", "attributes"),
    [
        ("x.py", "print(1)\n", ""),
        ("caf\udce9 x.py", "print(1)\n", ""),
        ("crlf.py", "print(1)\r\nprint(2)\r\n", "*.py text eol=crlf\n"),
        ("empty.sh", "", ""),
    ],
)
def test_a_checksum_is_what_git_hash_object_says(repo: Any, name: str, content: str, attributes: str) -> None:
    repo.write(".gitattributes", attributes)
    repo.write(name, content)
    repo.commit()
    found = resolved(repo, "python", name).entry_point
    assert found is not None
    assert found.path == name
    assert found.checksum == found.blob == repo.git("hash-object", name)


@pytest.mark.parametrize("indent", [1, 4])
def test_the_checksum_of_a_notebook_is_that_of_what_nbstripout_prints(repo: Any, indent: int) -> None:
    repo.write("x.ipynb", json.dumps(NOTEBOOK, indent=indent))
    repo.commit()
    stripped = subprocess.run(
        [sys.executable, "-m", "nbstripout", "-t", "x.ipynb"], cwd=repo.path, capture_output=True, check=True
    ).stdout
    assert b"execution_count" in stripped
    hashed = subprocess.run(
        ["git", "hash-object", "--stdin"], cwd=repo.path, input=stripped, capture_output=True, check=True
    ).stdout
    found = resolved(repo, "papermill", "x.ipynb", "out.ipynb").entry_point
    assert found is not None
    assert found.path == "x.ipynb"
    assert found.checksum == hashed.decode().strip()
    assert found.blob == repo.git("rev-parse", "HEAD:x.ipynb") != found.checksum


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("git@github.com:lab/model.git", "https://github.com/lab/model/blob/{c}/src/train.py"),
        ("https://ada:hunter2@github.com/lab/model", "https://github.com/lab/model/blob/{c}/src/train.py"),
        (
            "ssh://git@gitlab.com/lab/sub/model.git",
            "https://gitlab.com/lab/sub/model/-/blob/{c}/src/train.py",
        ),
        ("git@bitbucket.org:lab/model.git", "https://bitbucket.org/lab/model/src/{c}/src/train.py"),
        ("git@git.example.org:lab/model.git", "https://git.example.org/lab/model/-/blob/{c}/src/train.py"),
        ("https://other.example.org/lab/model", "git+https://other.example.org/lab/model@{c}#src/train.py"),
        ("/srv/model.git", "git+file:///srv/model.git@{c}#src/train.py"),
        (None, "git+file://{here}@{c}#src/train.py"),
    ],
)
def test_the_url_holds_commit_and_path(repo: Any, remote: str | None, expected: str) -> None:
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks]\nhosts = { "git.example.org" = "gitlab" }\n')
    commit = repo.commit()
    if remote is not None:
        repo.git("remote", "add", "origin", remote)
    found = resolved(repo, "python", "src/train.py").entry_point
    assert found is not None
    assert found.url == expected.format(c=commit, here=repo.path)


def test_a_file_of_a_submodule_is_named_with_its_own_blob(
    repo: Any, make_repo: Callable[..., Any], program: Callable[..., Any]
) -> None:
    library = make_repo("library")
    library.write("tool.py", "print('from the submodule')\n")
    library.commit()
    repo.git("submodule", "--quiet", "add", str(library.path), "lib")
    repo.commit()
    found = resolved(repo, "python", "lib/tool.py").entry_point
    assert found is not None
    assert found.path == "lib/tool.py"
    assert found.checksum == library.git("rev-parse", "HEAD:tool.py")
    assert program("run", "--", sys.executable, "lib/tool.py").out == "from the submodule\n"
    repo.write("lib/tool.py", "print('changed')\n")
    assert program("run", "--", sys.executable, "lib/tool.py").code == 125
