"""The configuration is read strictly: what is not understood is never silently off."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks.config import KEYS, Config, hook_settings, load
from deriva_ml_hooks.errors import ConfigError
from deriva_ml_hooks.hooks import declared, hook_ids
from deriva_ml_hooks.toml import parse_toml

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

PYPROJECT, STANDALONE = "pyproject.toml", ".deriva-ml-hooks.toml"


def write(folder: Path, text: str | bytes, name: str = PYPROJECT) -> Path:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def table(folder: Path, text: str) -> Path:
    return write(folder, f"[tool.deriva-ml-hooks]\n{text}\n")


def problem(folder: Path) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        load(str(folder))
    return raised.value


ACCEPTED: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ('remote = "upstream"', {"remote": "upstream"}),
    ("hosts = {}", {"hosts": {}}),
    ('hosts = { "Git.Example.org" = "gitlab" }', {"hosts": {"git.example.org": "gitlab"}}),
    ('hosts = { "a:8443" = "github", "b" = "bitbucket" }', {"hosts": {"a:8443": "github", "b": "bitbucket"}}),
    ("untracked-ignore = []", {"untracked_ignore": ()}),
    ('untracked-ignore = ["data/", "*.log"]', {"untracked_ignore": ("data/", "*.log")}),
    ('ledger = "~/runs.sqlite3"', {"ledger": "~/runs.sqlite3"}),
    *(
        (f'{key} = "{policy}"', {key.replace("-", "_"): policy})
        for key in ("unpushed", "no-remote", "untagged", "shallow", "foreign-filter")
        for policy in ("refuse", "warn", "ignore")
    ),
    ("paranoid = true", {"paranoid": True}),
    ('catalog = "www.example.org/7"', {"catalog": "www.example.org/7"}),
    ('schema = "ml"', {"schema": "ml"}),
    ('workflow-type = "Training"', {"workflow_type": ("Training",)}),
    ('workflow-type = ["Training", "Testing"]', {"workflow_type": ("Training", "Testing")}),
    ('workflow-name = "Train"', {"workflow_name": "Train"}),
    *((f'on-catalog-error = "{what}"', {"on_catalog_error": what}) for what in ("defer", "refuse")),
    *((f"catalog-timeout = {number}", {"catalog_timeout": float(number)}) for number in (5, 0.5)),
    *((f'recorded-by = "{who}"', {"recorded_by": who}) for who in ("auto", "runner", "deriva-ml")),
    *((f"correct-workflow = {value}", {"correct_workflow": value == "true"}) for value in ("true", "false")),
)


@pytest.mark.parametrize(("text", "values"), ACCEPTED, ids=[text for text, _ in ACCEPTED])
def test_a_value_that_fits_is_taken(tmp_path: Path, text: str, values: Mapping[str, Any]) -> None:
    assert load(str(table(tmp_path, text))) == Config(**values)
    write(tmp_path / ".", text, STANDALONE)
    (tmp_path / PYPROJECT).unlink()
    assert load(str(tmp_path)) == Config(**values)


def test_every_key_of_this_table_is_one() -> None:
    assert {text.partition(" ")[0] for text, _ in ACCEPTED} <= set(KEYS)


@pytest.mark.parametrize(
    "text",
    [
        *('remote = ""', "remote = 7", "remote = true", 'remote = ["origin"]', "remote = {}"),
        *(
            'hosts = "x"',
            "hosts = []",
            'hosts = {"x" = "gitea"}',
            'hosts = {"x" = 7}',
            'hosts = {"x" = ["github"]}',
        ),
        *('hosts.git.example.org = "gitlab"', 'hosts = {"x" = "GitLab"}'),
        *(
            'untracked-ignore = "data/"',
            "untracked-ignore = [7]",
            'untracked-ignore = [""]',
            "untracked-ignore = {}",
        ),
        *('ledger = ""', "ledger = false", "ledger = 1.5", "ledger = 2026-11-23"),
        *('unpushed = "Refuse"', 'unpushed = "error"', "unpushed = true", "unpushed = []", 'unpushed = ""'),
        *('no-remote = "off"', "untagged = 0", 'shallow = "warn "', "shallow = {}"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_named(tmp_path: Path, text: str) -> None:
    error = problem(table(tmp_path, text))
    key = text.partition(" ")[0].partition(".")[0]
    assert (error.file, error.key, error.exit_code) == (PYPROJECT, key, 2)
    assert str(error).startswith(f"{PYPROJECT}: {key}: expected ")
    assert ", found " in str(error)
    assert error.fix.startswith(f"set {key} to ")


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("unpushd = 'refuse'", "unpushd", "unpushed"),
        ("Unpushed = 'refuse'", "Unpushed", "unpushed"),
        ("no_remote = 'refuse'", "no_remote", "no-remote"),
        ("noremote = 'refuse'", "noremote", "no-remote"),
        ("untracked_ignore = []", "untracked_ignore", "untracked-ignore"),
        ("untracked-ignored = []", "untracked-ignored", "untracked-ignore"),
        ("host = {}", "host", "hosts"),
        ("ledgers = 'x'", "ledgers", "ledger"),
        ("tagged = 'refuse'", "tagged", "untagged"),
        ("check_large_files = {}", "check_large_files", "check-large-files"),
        ("check-large-file = {}", "check-large-file", "check-large-files"),
    ],
)
def test_a_key_that_is_nearly_one_is_told_which(tmp_path: Path, text: str, key: str, meant: str) -> None:
    error = problem(table(tmp_path, text))
    assert str(error) == f"{PYPROJECT}: {key}: no such setting"
    assert error.fix == f"did you mean {meant}?"


@pytest.mark.parametrize("key", ["zzz", "tool", "jjj", "cache-provenance"])
def test_a_key_that_is_nothing_like_one_gets_the_list(tmp_path: Path, key: str) -> None:
    error = problem(table(tmp_path, f"{key} = 1"))
    assert str(error) == f"{PYPROJECT}: {key}: no such setting"
    assert error.fix.startswith(
        (f"remove it from {PYPROJECT}; the settings are: remote, hosts", "did you mean check-")
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[project]\nname = 'x'\n",
        "[tool.other]\nremote = 7\n",
        "[tool]\n",
        "tool = 7\n",
        "[tool.deriva-ml-hooks]\n",
    ],
)
def test_without_the_table_everything_is_as_documented(tmp_path: Path, text: str) -> None:
    assert load(str(write(tmp_path, text))) == Config()


def test_the_documented_defaults(tmp_path: Path) -> None:
    config = load(str(tmp_path))
    assert (config.remote, dict(config.hosts), config.untracked_ignore, config.ledger) == (None, {}, (), None)
    assert (config.unpushed, config.no_remote, config.untagged, config.shallow) == (
        "warn",
        "warn",
        "ignore",
        "warn",
    )


@pytest.mark.parametrize(
    "text",
    [
        "[tool.deriva_ml_hooks]\nunpushed = 'refuse'\n",
        "[tool.Deriva-ML-Hooks]\nunpushed = 'refuse'\n",
        "[tool.deriva-ml_hooks]\nunpushed = 'refuse'\n",
    ],
)
def test_a_table_with_a_slip_in_its_name_is_not_passed_over(tmp_path: Path, text: str) -> None:
    error = problem(write(tmp_path, text))
    assert "no such table" in str(error)
    assert error.fix == "write it as [tool.deriva-ml-hooks]"


def test_the_file_of_its_own_counts_only_where_there_is_no_pyproject(tmp_path: Path) -> None:
    write(tmp_path, "remote = 'own'\n", STANDALONE)
    assert load(str(tmp_path)).remote == "own"
    write(tmp_path, "[project]\nname = 'x'\n")
    assert load(str(tmp_path)).remote is None


@pytest.mark.parametrize(
    "text", ["[tool.deriva-ml-hooks]\nremote = 'x'\n", "[deriva-ml-hooks]\nremote = 'x'\n"]
)
def test_the_file_of_its_own_has_no_table(tmp_path: Path, text: str) -> None:
    error = problem(write(tmp_path, text, STANDALONE))
    assert error.file == STANDALONE


@pytest.mark.parametrize("name", [PYPROJECT, STANDALONE])
@pytest.mark.parametrize(
    "content", [b"nonsense", b"a = 1\na = 2\n", b"a = '\xff'\n", b"[a\n", b"a = " + b"[" * 50_000, b"\x00"]
)
def test_a_file_that_is_not_toml_is_an_error_that_names_it(tmp_path: Path, name: str, content: bytes) -> None:
    error = problem(write(tmp_path, content, name))
    assert (error.file, error.key) == (name, None)
    assert str(error).startswith(f"{name}: not valid TOML: ")


HOSTILE: tuple[tuple[str, bytes], ...] = (
    ("a key of 30,000 parts", b".".join([b"a"] * 30_000) + b" = 1"),
    ("a header of 30,000 parts", b"[" + b" . ".join([b"a"] * 30_000) + b"]"),
    ("a key of 30,000 quoted parts", b".".join([b'"a.b"', b"'c'"] * 15_000) + b" = 1"),
    ("such a key inside braces", b"x = { y = 1, " + b".".join([b"a"] * 30_000) + b" = 1 }"),
    ("such a key after a string that is not closed", b"'x\n" + b".".join([b"a"] * 30_000) + b" = 1"),
    ("an integer of 5,000 digits", b"a = " + b"9" * 5_000),
    ("brackets", b"a = " + b"[" * 500),
    ("braces", b"a = " + b"{a = " * 500),
    ("quotes", b'a = "' + b'\\"' * 500_000),
    ("triple quotes", b'a = """' + b'\\"""' * 200_000),
    ("a dot and blanks", b"a . " + b" " * 1_000_000),
    ("2 MB", b"# comment\n" * 200_000),
    ("NUL", b"a = 1\0"),
)


@pytest.mark.parametrize("content", [content for _, content in HOSTILE], ids=[name for name, _ in HOSTILE])
def test_no_document_takes_for_ever_or_ends_in_a_traceback(tmp_path: Path, content: bytes) -> None:
    before = time.process_time()
    with pytest.raises(ConfigError, match=r"not valid TOML: |cannot be read: larger than"):
        load(str(write(tmp_path, content)))
    with pytest.raises(ConfigError, match=r"not valid TOML: "):
        parse_toml(content, "pyproject.toml")
    assert time.process_time() - before < 5, "seconds of this process, not of the clock"


@pytest.mark.parametrize(
    "content",
    [
        b"a = [" + b"0.1, " * 500 + b"]",
        b"a = [" + b"'x>=1.2.3', " * 200 + b"]",
        b'a = """\n' + b"." * 500 + b"\n" + b"[" * 90 + b'\n"""',
        b"# " + b"a.b." * 500,
        b"a = '" + b"a.b." * 500 + b"'",
        b".".join([b"a"] * 20) + b" = 1",
        b"a = " + b"[" * 90 + b"]" * 90,
    ],
)
def test_what_only_looks_like_such_a_document_is_read(tmp_path: Path, content: bytes) -> None:
    assert load(str(write(tmp_path, content))) == Config()


@pytest.mark.parametrize(
    "text",
    [
        'ledger = "\\u0000"',
        'catalog = "a\\u0000"',
        'untracked-ignore = ["\\u0000"]',
        'workflow-type = "\\u0000"',
        "catalog-timeout = 0x" + "f" * 9_000,
        "catalog-timeout = nan",
        "remote = 0x" + "f" * 9_000,
        "check-large-files.max-kb = 0x" + "f" * 9_000,
        'check-version-tags.prefix = "\\u0000"',
    ],
)
def test_a_value_that_no_system_call_takes_is_named(tmp_path: Path, text: str) -> None:
    error = problem(table(tmp_path, text))
    assert error.key == text.partition(" ")[0]
    assert len(str(error)) < 300


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to(path.name)])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / PYPROJECT)
    assert str(problem(tmp_path)).startswith(f"{PYPROJECT}: cannot be read: ")


def test_a_value_is_shown_short_and_without_its_secrets(tmp_path: Path) -> None:
    error = problem(table(tmp_path, "remote = ['https://ada:Hunter2@github.com/o/r', '" + "x" * 200 + "']"))
    assert "Hunter2" not in str(error)
    assert len(str(error)) < 160


@pytest.mark.parametrize("hook", [hook for hook in hook_ids() if declared(hook).settings])
def test_the_table_of_a_hook_is_read_as_strictly(tmp_path: Path, hook: str) -> None:
    table(tmp_path, f"[tool.deriva-ml-hooks.{hook}]\nnonsense = 1")
    error = problem(tmp_path)
    assert str(error) == f"{PYPROJECT}: {hook}.nonsense: no such setting"
    assert all(key in error.fix for key in declared(hook).settings) or error.fix.startswith("did you mean ")
    with pytest.raises(ConfigError):
        hook_settings(str(tmp_path), hook)
    table(tmp_path, f"{hook} = 7")
    assert str(problem(tmp_path)) == f"{PYPROJECT}: {hook}: not a table"
    table(tmp_path, f"[tool.deriva-ml-hooks.{hook}]")
    assert load(str(tmp_path)) == Config()
    assert hook_settings(str(tmp_path), hook) == {}


@pytest.mark.parametrize(
    ("hook", "text", "values"),
    [
        ("check-large-files", 'max-kb = 0\nallow = ["*.bin"]', {"max-kb": 0, "allow": ("*.bin",)}),
        (
            "check-version-tags",
            'prefix = ""\nallow-pre-releases = false',
            {"prefix": "", "allow-pre-releases": False},
        ),
        (
            "check-branch-name",
            'protected = ["main"]\npattern = "x/.*"',
            {"protected": ("main",), "pattern": "x/.*"},
        ),
    ],
)
def test_the_settings_of_a_hook_are_what_its_table_sets(
    tmp_path: Path, hook: str, text: str, values: Mapping[str, Any]
) -> None:
    assert hook_settings(str(table(tmp_path, f"[tool.deriva-ml-hooks.{hook}]\n{text}")), hook) == values


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        ("check-large-files", "max-kb = -1"),
        ("check-large-files", "max-kb = true"),
        ("check-large-files", "max-kb = 1.5"),
        ("check-large-files", "max_kb = 1"),
        ("check-version-tags", "allow-pre-releases = 1"),
        ("check-branch-name", 'protected = "main"'),
    ],
)
def test_a_value_of_a_hook_that_does_not_fit_is_refused(tmp_path: Path, hook: str, text: str) -> None:
    error = problem(table(tmp_path, f"[tool.deriva-ml-hooks.{hook}]\n{text}"))
    assert error.key == f"{hook}.{text.partition(' ')[0]}"


@pytest.mark.parametrize(
    "words", [["check"], ["run", "--", "true"], ["provenance"], ["executions", "list"], ["check", "--json"]]
)
def test_the_program_ends_with_2_and_names_file_and_key(
    repo: Repo, program: Callable[..., Ran], words: list[str]
) -> None:
    table(repo.path, 'unpushd = "refuse"')
    repo.commit("A slip")
    ran = program(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"deriva-ml-hooks: {PYPROJECT}: unpushd: no such setting\nfix: did you mean unpushed?\n"
    assert not (repo.git_dir / "deriva-ml-hooks" / "executions.sqlite3").exists()


def test_a_subfolder_has_the_configuration_of_its_repository(repo: Repo, program: Callable[..., Ran]) -> None:
    table(repo.path / "src", "nonsense = 1")
    repo.commit("Not at the top")
    assert program("check", cwd=repo.path / "src").code == 0
    table(repo.path, "nonsense = 1")
    assert program("check", cwd=repo.path / "src").code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    table(tmp_path, "").joinpath(PYPROJECT).chmod(0)
    assert "cannot be read" in str(problem(tmp_path))


def test_a_glob_that_is_none_is_an_error(repo: Repo) -> None:
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks]\nuntracked-ignore = ["["]\n')
    with pytest.raises(ConfigError, match="untracked-ignore: expected an array of globs"):
        load(str(repo.path))


def test_a_pipe_in_the_place_of_the_configuration_is_not_waited_for(repo: Repo) -> None:
    os.mkfifo(repo.path / "pyproject.toml")
    with pytest.raises(ConfigError, match="not a regular file"):
        load(str(repo.path))
