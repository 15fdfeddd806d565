"""Which commands make a record of their own, and what becomes of them under the gate."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks import cli
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.runner.deriva_ml import records, starts

URL = "https://ada:planted-secret-1@git.example.org/x.git"
SHOW = '#!/bin/sh\necho "$@ ${DERIVA_ML_DRY_RUN-unset} $DERIVA_ML_HOOKS_DRY_RUN"\n'


@pytest.mark.parametrize(
    "words",
    [
        ["deriva-ml-run", "x"],
        ["uv", "run", "deriva-ml-run-notebook", "a.ipynb"],
        ["uv", "run", "--extra", "cuda", "--", "deriva-ml-run", "x=1"],
        ["uv", "run", "-m", "deriva_ml.run_model"],
        ["uvx", "--from", "deriva-ml", "deriva-ml-run", "x=1"],
        ["uvx", "deriva-ml-run"],
        ["uv", "tool", "run", "--from", "deriva-ml", "deriva-ml-run"],
        ["uv", "--directory", "x", "tool", "run", "--with=y", "deriva-ml-run-notebook", "a.ipynb"],
        ["/opt/bin/deriva-ml-run"],
        ["env", "A=1", "deriva-ml-run"],
        ["srun", "-n", "1", "python", "-m", "deriva_ml.run_model", "x=1"],
        ["python", "-m", "deriva_ml.run_notebook", "a.ipynb"],
        ["python", ".venv/bin/deriva-ml-run"],
    ],
    ids=" ".join,
)
def test_the_program_that_is_really_started_is_deriva_mls(repo: Any, words: list[str]) -> None:
    assert starts(words)
    assert records(words, measured(str(repo.path)), None)


@pytest.mark.parametrize(
    ("words", "recorded"),
    [
        (["sh", "-c", "cd nb && deriva-ml-run-notebook 'a b.ipynb'; true"], True),
        (["bash", "-c", "python -m deriva_ml.run_model x=1"], True),
        (["python", "train.py"], False),
        (["python", "train.py", "my-deriva-ml-run"], False),
        (["deriva-ml-hooks", "run"], False),
        (["python", "-m"], False),
        (["uv", "tool", "install", "deriva-ml-run"], True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_words_cannot_be_added_behind_another_program(repo: Any, words: list[str], recorded: bool) -> None:
    assert not starts(words)
    assert records(words, measured(str(repo.path)), None) is recorded


def cells(*sources: Any) -> str:
    made = [{"cell_type": "code", "source": source} for source in sources]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": "import deriva_ml"}, *made, 5]})


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os, deriva_ml.core as core\n", True),
        ("def f():\n    from deriva_ml import DerivaML\n", True),
        ("%pip install x\nfrom deriva_ml import DerivaML\n", True),
        (cells("x = 1", ["%matplotlib inline\n", "from deriva_ml import DerivaML\n"]), True),
        (cells("from deriva_ml.core import x"), True),
        (cells("print('deriva_ml')"), False),
        ("# import deriva_ml\nprint('import deriva_ml')\n", False),
        ("import deriva_ml_hooks\n", False),
        ("from . import deriva_ml\n", False),
        ("from .deriva_ml import x\n", False),
        ("'deriva_ml'" + "(" * 100_000, False),
        ('"deriva_ml"', False),
        ("[" * 100_000 + "deriva_ml", False),
    ],
)
def test_what_the_committed_code_imports_is_read_and_not_run(repo: Any, code: str, expected: bool) -> None:
    repo.write("src/train.py", code)
    repo.commit()
    repo.write("src/train.py", "import deriva_ml" if not expected else "")  # the commit counts
    blob = repo.git("rev-parse", "HEAD:src/train.py")
    assert records(["python", "src/train.py"], measured(str(repo.path)), blob) is expected


def test_code_that_is_not_there_imports_nothing(repo: Any) -> None:
    assert not records(["python", "x.py"], measured(str(repo.path)), "0" * 40)


class TestDryRun:
    @pytest.fixture(autouse=True)
    def here(self, repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        repo.write("bin/deriva-ml-run", SHOW).chmod(0o755)
        monkeypatch.chdir(repo.path)
        monkeypatch.setenv("DERIVA_ML_DRY_RUN", "true")

    def test_deriva_mls_programs_are_told_by_a_word(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["run", "--dry-run", "--", "env", "bin/deriva-ml-run", "model=a"]) == 0
        out, err = capfd.readouterr()
        assert out == "model=a dry_run=true unset true\n"
        assert "nothing is recorded, and dry_run=true is added to the command" in err

    def test_of_any_other_it_is_said_that_it_may_record(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["run", "--dry-run", "--", "sh", "bin/deriva-ml-run", "a"]) == 0
        assert cli.main(["run", "--dry-run", "--", "sh", "-c", "bin/deriva-ml-run b"]) == 0
        out, err = capfd.readouterr()
        assert out.splitlines()[1] == "b unset true"
        assert "nothing is recorded here; the command itself may record" in err


class TestCredentialInTheRemotesUrl:
    @pytest.fixture
    def run(
        self, repo: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> Callable[..., tuple[int, str]]:
        repo.write("src/own.py", "import deriva_ml\n")
        repo.write("bin/deriva-ml-run", "#!/bin/sh\n").chmod(0o755)
        repo.commit()
        repo.git("remote", "add", "origin", URL)
        monkeypatch.chdir(repo.path)

        def run(*words: str) -> tuple[int, str]:
            return cli.main([*words]), "".join(capfd.readouterr())

        return run

    def test_check_warns(self, run: Callable[..., tuple[int, str]]) -> None:
        code, said = run("check")
        assert code == 0
        assert "the URL of the remote origin holds a credential" in said
        assert "git remote set-url origin" in said
        assert "planted-secret-1" not in said

    def test_a_command_that_records_nothing_runs(self, run: Callable[..., tuple[int, str]]) -> None:
        code, said = run("run", "--", sys.executable, "src/train.py")
        assert (code, "holds a credential" in said) == (0, True)

    @pytest.mark.parametrize(
        ("setting", "words"),
        [
            ("auto", (sys.executable, "src/own.py")),
            ("runner", (sys.executable, "src/own.py")),
            ("auto", ("bin/deriva-ml-run",)),
            ("deriva-ml", ("true",)),
        ],
        ids=["code that imports deriva_ml", "also beside a row of ours", "a program of its own", "as is set"],
    )
    def test_deriva_ml_does_not_get_to_see_it(
        self, run: Callable[..., tuple[int, str]], repo: Any, setting: str, words: tuple[str, ...]
    ) -> None:
        repo.write(".deriva-ml-hooks.toml", f'recorded-by = "{setting}"\n')
        repo.commit()
        code, said = run("run", "--", *words)
        assert (code, "holds a credential" in said) == (125, True)
        assert "planted-secret-1" not in said
        assert not (Path(repo.git_dir) / "deriva-ml-hooks" / "executions.sqlite3").exists()


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        (URL, True),
        ("https://0123456789abcdef0123456789abcdef01234567@git.example.org/x", True),
        ("https://git.example.org/x?private_token=planted-secret-1", True),
        ("https://ada:plan/ted-secret@git.example.org/x", True),
        ("https://ada@github.com/x/y.git", False),
        ("https://github.com/x/y.git", False),
        ("ssh://git@git.example.org/x", False),
        ("git@github.com:x/y.git", False),
        ("/tmp/a:b@c", False),
    ],
)
def test_a_url_with_more_than_a_name_is_told(repo: Any, url: str, warned: bool) -> None:
    from deriva_ml_hooks.git.remotes import with_credentials

    repo.git("remote", "add", "origin", url)
    assert with_credentials(measured(str(repo.path))) == (["origin"] if warned else [])
