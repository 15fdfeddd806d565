"""No secret that a URL, a command or git's own words can hold is printed, or stored where we write."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.cli import guarded, main
from deriva_ml_hooks.commands import output
from deriva_ml_hooks.errors import GitError, HooksError, UsageError
from deriva_ml_hooks.gate import RefusedError, Verdict
from deriva_ml_hooks.hooks._hook import report
from deriva_ml_hooks.redact import shown_command
from deriva_ml_hooks.report import Finding, as_annotations, as_error, as_text

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

S = "Hunter2x4711"
URL = f"https://ada:{S}@github.com/o/r.git"
Program = Callable[..., "Ran"]


def git(*words: str) -> Callable[[Repo], object]:
    return lambda repo: repo.git(*words)


def submodule(url: str) -> Callable[[Repo], object]:
    def plant(repo: Repo) -> None:
        repo.git("clone", "--quiet", "--bare", str(repo.path), str(repo.path.parent / "lib.git"))
        repo.git("submodule", "--quiet", "add", str(repo.path.parent / "lib.git"), "sub")
        repo.git("config", "--file", ".gitmodules", "submodule.sub.url", url)
        repo.git("config", "submodule.sub.url", URL)
        repo.git("-C", "sub", "remote", "set-url", "origin", URL)
        repo.commit("Add a submodule")

    return plant


def file(name: str, content: str, *, commit: bool = True) -> Callable[[Repo], object]:
    def plant(repo: Repo) -> None:
        repo.write(name, content)
        if commit:
            repo.commit("Plant it")

    return plant


def upstream_missing(repo: Repo) -> None:
    """git's own words about an object that is not there name where it was promised from."""
    repo.git("remote", "add", "origin", f"https://ada:{S}@localhost:1/o/r.git")
    repo.git("config", "extensions.partialClone", "origin")
    repo.git("config", "remote.origin.promisor", "true")
    blob = repo.git("rev-parse", "HEAD:src/train.py")
    os.unlink(repo.git_dir / "objects" / blob[:2] / blob[2:])
    repo.write("src/train.py", "changed\n")


def tag_message(repo: Repo) -> None:
    repo.git("tag", "--annotate", "-m", f"see {URL}", "v1.0.0")


PLACES: dict[str, Callable[[Repo], object]] = {
    "a remote's URL": git("remote", "add", "origin", URL),
    "a token alone": git("remote", "add", "origin", f"https://{S}@github.com/o/r"),
    "a URL of ssh": git("remote", "add", "origin", f"ssh://ada:{S}@host.org:22/o/r"),
    "an scp-like URL": git("remote", "add", "origin", f"ada:{S}@github.com:o/r"),
    "a URL's query": git("remote", "add", "origin", f"https://host.org/o/r?private_token={S}"),
    "a password with a slash": git("remote", "add", "origin", f"https://ada:1/{S}@host.org/o/r"),
    "a password with a hash": git("remote", "add", "origin", f"https://ada:a#{S}@host.org/o/r"),
    "a URL without its scheme": git("remote", "add", "origin", f"ada:{S}@github.com/o/r"),
    "a remote helper's address": git("remote", "add", "origin", f"ext::curl -u ada:{S} host.org"),
    "a push URL": lambda repo: (
        repo.git("remote", "add", "origin", "https://github.com/o/r"),
        repo.git("remote", "set-url", "--push", "origin", URL),
    ),
    "the second of two URLs": lambda repo: (
        repo.git("remote", "add", "origin", "https://github.com/o/r"),
        repo.git("remote", "set-url", "--add", "origin", URL),
    ),
    "a base that URLs are rewritten to": lambda repo: (
        repo.git("config", f"url.https://ada:{S}@github.com/.insteadOf", "gh:"),
        repo.git("remote", "add", "origin", "gh:o/r"),
    ),
    "a prefix that is rewritten": lambda repo: (
        repo.git("config", "url.https://github.com/.insteadOf", f"https://ada:{S}@github.com/"),
        repo.git("remote", "add", "origin", URL),
    ),
    "the upstream of the branch": git("config", "branch.main.remote", URL),
    "where pushes go": git("config", "remote.pushDefault", URL),
    "a remote named by its URL": lambda repo: (
        repo.git("config", f"remote.{URL}.promisor", "true"),
        repo.git("config", f"remote.{URL}.url", URL),
    ),
    "a submodule": submodule(URL),
    "a relative submodule": lambda repo: (
        repo.git("remote", "add", "origin", URL),
        submodule(f"../lib.git?private_token={S}")(repo),
    ),
    "the configured remote": file("pyproject.toml", f'[tool.deriva-ml-hooks]\nremote = "{URL}"\n'),
    "a value of the wrong type": file("pyproject.toml", f'[tool.deriva-ml-hooks]\nledger = ["{URL}"]\n'),
    "a policy that is none": file("pyproject.toml", f'[tool.deriva-ml-hooks]\nunpushed = "{URL}"\n'),
    "a setting that is none": file("pyproject.toml", f'[tool.deriva-ml-hooks]\n"{URL}" = 1\n'),
    "a file that is not TOML": file("pyproject.toml", f"remote = {URL}\n"),
    "git's broken configuration": lambda repo: repo.write(
        ".git/config", f'[remote "origin"\n\turl = {URL}\n'
    ),
    "git's configuration without a section": lambda repo: (repo.git_dir / "config").write_text(
        f"url = {URL}\n"
    ),
    "git's words": upstream_missing,
    "the message of a tag": tag_message,
    "a lost submodule": lambda repo: (
        submodule(URL)(repo),
        (repo.path / "sub" / ".git").write_text(f"gitdir: {URL}\n"),
    ),
}

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("check",),
    ("check", "--json"),
    ("provenance",),
    ("provenance", "--json", "--refresh"),
    ("hook", "cache-provenance"),
    ("run", "--json", "record.log", "--description", "plain", "--", "true"),
    ("executions", "list"),
    ("executions", "list", "--json"),
    ("executions", "show", "0"),
    ("executions", "show", "--json", "0"),
)  # fmt: skip


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files, to look into."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture
def says(
    repo: Repo, program: Program, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the program, in this process where that will do, which is ten times as fast: all it says."""

    def run(*words: str) -> str:
        if words[0] == "run":  # waits for signals, which other threads of the test runner would take
            ran = program(*words)
            return ran.out + ran.err
        monkeypatch.chdir(repo.path)
        capfd.readouterr()
        main(words)
        return "".join(capfd.readouterr())

    return run


def assert_nothing_is_kept(repo: Repo, temp: Path) -> int:
    """No file that we may have written holds the secret; how many there are."""
    ours = [*repo.path.glob(".git/deriva-ml-hooks/**/*"), *temp.rglob("*"), *repo.path.glob("*.log")]
    ours += repo.path.glob(".git/modules/*/deriva-ml-hooks/**/*")
    files = [path for path in ours if path.is_file()]
    for path in files:
        assert S.encode() not in path.read_bytes(), path
    return len(files)


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_planted_there_is_nowhere_afterwards(
    repo: Repo, says: Callable[..., str], temp: Path, place: str
) -> None:
    PLACES[place](repo)
    for words in COMMANDS:
        said = says(*words)
        assert S not in said, words
        assert "Traceback" not in said, words
    assert_nothing_is_kept(repo, temp)


@pytest.mark.parametrize(
    "place", ["a remote's URL", "a base that URLs are rewritten to", "a relative submodule"]
)
def test_what_is_kept_holds_the_public_part(repo: Repo, program: Program, temp: Path, place: str) -> None:
    PLACES[place](repo)
    assert program("run", "--quiet", "--json", "record.log", "--", "true").code == 0
    assert "https://github.com/o/r" in program("provenance", "--json").out
    assert '"https://github.com/o/r"' in (repo.path / "record.log").read_text()
    assert (
        assert_nothing_is_kept(repo, temp) >= 4
    )  # the record, the cache, the ledger, the command's own record


WORDS: dict[str, tuple[str, ...]] = {
    "a URL": (URL,),
    "an option's value": ("--token", S),
    "an option with its value": (f"--api-key={S}",),
    "a setting": (f"trainer.password={S}",),
    "a header": ("-H", f"Authorization: Bearer {S}"),
    "a token by its form": (f"ghp_{S}0123456789abcdef",),
    "an scp-like URL": (f"ada:{S}@github.com:o/r",),
}


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("command", ["true", "false", "/nowhere/at/all", "sh"])
def test_a_secret_on_the_command_line_is_not_kept(
    repo: Repo, says: Callable[..., str], temp: Path, name: str, command: str
) -> None:
    words = ("sh", "-c", "kill -9 $$", *WORDS[name]) if command == "sh" else (command, *WORDS[name])
    description = f"with {' '.join(WORDS[name])}"
    said = says("run", "--json", "record.log", "--description", description, "--", *words)
    said += says("executions", "list") + says("executions", "list", "--json")
    said += says("executions", "show", "0") + says("executions", "show", "--json", "0")
    assert S not in said
    assert_nothing_is_kept(repo, temp)


def test_a_secret_in_a_refused_command_is_not_told(repo: Repo, program: Program, temp: Path) -> None:
    repo.write("new.py")
    ran = program(
        "run", "--json", "record.log", "--description", URL, "--", "python", "gone.py", URL, f"--token={S}"
    )
    assert ran.code == 125
    assert S not in ran.out + ran.err
    assert_nothing_is_kept(repo, temp)


def test_a_secret_in_the_environment_is_not_kept(repo: Repo, program: Program, temp: Path) -> None:
    env = dict.fromkeys(("HF_TOKEN", "GIT_ASKPASS", "GITHUB_TOKEN"), S)
    env |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "remote.origin.url", "GIT_CONFIG_VALUE_0": URL}
    for words in COMMANDS:
        ran = program(*words, env=env)
        assert S not in ran.out + ran.err, words
    assert assert_nothing_is_kept(repo, temp) >= 4


def test_a_secret_in_words_that_do_not_fit_is_not_repeated(repo: Repo, program: Program) -> None:
    for words in (
        ("executions", "show", URL),
        ("hook", URL),
        ("run", "--json", f"/nowhere/{URL}", "--quiet", "--", "true"),
    ):
        ran = program(*words)
        assert S not in ran.out + ran.err, words


TOKEN = f"ghp_{S}0123456789abcdef"
NAMED_LIKE_A_TOKEN: dict[str, Callable[[Repo], object]] = {
    "a branch": git("checkout", "--quiet", "-b", TOKEN),
    "a tag": git("tag", "--annotate", "-m", "x", f"v1.0.0-glpat-{TOKEN[4:]}"),
    "a remote": lambda repo: (
        repo.git("remote", "add", TOKEN, "https://github.com/o/r"),
        repo.git("config", "branch.main.remote", TOKEN),
    ),
    "an untracked file": file(TOKEN, "x", commit=False),
    "a lockfile's folder": file(f"{TOKEN}/uv.lock", "x"),
}


@pytest.mark.parametrize("name", NAMED_LIKE_A_TOKEN)
def test_what_is_named_like_a_token_is_neither_printed_nor_recorded(
    repo: Repo, says: Callable[..., str], name: str
) -> None:
    NAMED_LIKE_A_TOKEN[name](repo)
    commands = (
        *COMMANDS,
        ("provenance", "--format", "env"),
        ("verify",),
        ("verify", "--json"),
        ("hook", "check-clean-tree"),
        ("hook", "check-clean-tree", "--json"),
        ("doctor",),
        ("check", f"--{TOKEN}"),
        ("bump-version", "--no-push", "--dry-run"),
    )
    for words in commands:
        said = says(*words)
        assert S not in said, words
        assert "Traceback" not in said, words
    ledger = repo.git_dir / "deriva-ml-hooks"
    for path in [*ledger.glob("executions*"), *ledger.glob("executions/**/*")]:
        assert path.is_dir() or S.encode() not in path.read_bytes(), path


def test_the_later_words_of_a_command_are_kept(repo: Repo, program: Program) -> None:
    words = ("true", f"--api-key=it's {S}", "-p", "x", "--name=it's b", f"--token={S}", "-q")
    assert program("run", "--quiet", "--json", "record.log", "--", *words).code == 0
    kept = ["true", "--api-key=***", "-p", "x", "--name=it's b", "--token=***", "-q"]
    record = json.loads((repo.path / "record.log").read_text())
    assert record["command"] == kept
    shown = shown_command(kept)
    assert shown in program("executions", "list").out
    assert shown in program("executions", "show", record["id"]).out


PLANTED = f"see {URL} and {TOKEN}"
FOUND = Finding("a-code", TOKEN, PLANTED, f"git push {URL}")
BORDERS: dict[str, Callable[[], object]] = {
    "an error": lambda: sys.stdout.write(as_error(UsageError(PLANTED, fix=f"git push {URL}"))),
    "an error in somebody else's traceback": lambda: sys.stdout.write(str(UsageError(PLANTED, fix=""))),
    "an error of git": lambda: sys.stdout.write(str(GitError(PLANTED, URL))),
    "findings": lambda: sys.stdout.write(as_text([FOUND, FOUND])),
    "annotations": lambda: sys.stdout.write(as_annotations([FOUND])),
    "a finding as JSON": lambda: sys.stdout.write(json.dumps(FOUND.as_json())),
    "a verdict as JSON": lambda: sys.stdout.write(json.dumps(Verdict((FOUND,), (FOUND,)).as_json())),
    "a refusal": lambda: sys.stdout.write(str(RefusedError(Verdict((FOUND,))))),
    "what a hook finds": lambda: (report([FOUND], as_json=True), report([FOUND], as_json=False)),
    "a document": lambda: output.data({"url": URL, "words": [PLANTED], TOKEN: 1}),
    "an answer": lambda: output.text(f"{PLANTED}\n{PLANTED}"),
    "a line": lambda: output.line(PLANTED),
    "a note": lambda: output.note(PLANTED),
    "an error that a user can cause": lambda: guarded(raising(UsageError(PLANTED, fix=URL))),
    "an error that nobody has foreseen": lambda: guarded(raising(ValueError(PLANTED))),
}


def raising(error: Exception) -> Callable[[], int]:
    def action() -> int:
        raise error

    return action


@pytest.mark.parametrize("border", BORDERS)
def test_whatever_is_printed_has_lost_its_secrets(border: str, capsys: pytest.CaptureFixture[str]) -> None:
    BORDERS[border]()
    said = "".join(capsys.readouterr())
    assert S not in said
    assert "***" in said


def test_every_error_of_ours_has_lost_its_secrets() -> None:
    kinds = [HooksError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        error = kind.__new__(kind)
        HooksError.__init__(error, PLANTED, fix="")
        assert S not in str(error), kind
