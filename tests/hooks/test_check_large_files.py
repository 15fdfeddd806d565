"""Which blobs are refused: at real commits and pushes, through pre-commit and prek, and by name."""

from __future__ import annotations

import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks.hooks import _advice

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

Program = Callable[..., "Ran"]
HOOK = ("hook", "check-large-files")
COMMAND = [sys.executable, "-m", "deriva_ml_hooks", *HOOK]
BIG = "x" * 2048
SMALL = "x" * 1024
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 99999\n"


def found(ran: Ran) -> list[tuple[str, str | None]]:
    """Code and path of each finding of a run with --json."""
    assert ran.code in (0, 1), ran
    findings = json.loads(ran.out)
    assert ran.code == bool(findings)
    return sorted((one["code"], one["path"]) for one in findings)


@pytest.fixture
def weigh(repo: Repo, program: Program) -> Callable[..., list[tuple[str, str | None]]]:
    """Runs the hook with a limit of 1 kB; what it found."""

    def run(*words: str, **options: Any) -> list[tuple[str, str | None]]:
        return found(program(*HOOK, "--json", "--max-kb", "1", *words, **options))

    return run


Weigh = Callable[..., list[tuple[str, str | None]]]


def native(repo: Repo, hook: str, *words: str) -> None:
    """Have git run the hook."""
    path = repo.git_dir / "hooks" / hook
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f"#!/bin/sh\nexec {shlex.join([*COMMAND, *words])}"
        + (' --pre-push "$@"' if hook == "pre-push" else "")
        + "\n"
    )
    path.chmod(0o755)


def refused(repo: Repo, *words: str) -> str:
    """What git said, refusing, but for how a file may stay; empty where it did not refuse."""
    done = subprocess.run(["git", *words], cwd=repo.path, capture_output=True, check=False)
    said = os.fsdecode(done.stdout + done.stderr)
    assert done.returncode == 0 or "over the limit" in said or "refused" in said, said
    return said if done.returncode else ""


# At commit


def test_what_is_staged_is_weighed_to_the_byte(repo: Repo, weigh: Weigh) -> None:
    repo.write("exact", SMALL)
    repo.write("over", SMALL + "x")
    repo.git("add", "--all")
    assert weigh() == [("large-file", "over")]


def test_the_default_limit_is_512000_bytes(repo: Repo, program: Program) -> None:
    repo.write("exact", b"x" * 512000)
    repo.git("add", "--all")
    assert found(program(*HOOK, "--json")) == []
    repo.write("exact", b"x" * 512001)
    repo.git("add", "--all")
    assert found(program(*HOOK, "--json")) == [("large-file", "exact")]


def test_the_blob_is_weighed_and_not_the_file(repo: Repo, weigh: Weigh) -> None:
    repo.write("shrunk", BIG)
    repo.write("grown", SMALL)
    repo.git("add", "--all")
    repo.write("shrunk", SMALL)
    repo.write("grown", BIG)
    assert weigh() == weigh("shrunk", "grown") == [("large-file", "shrunk")]
    (repo.path / "shrunk").unlink()
    assert weigh() == [("large-file", "shrunk")]


@pytest.mark.parametrize(
    ("before", "after", "is_refused"),
    [(10, 2000, True), (2000, 2001, True), (2000, 2000, False), (3000, 2000, False), (10, 1024, False)],
    ids=["grew past it", "grew further", "as large as before", "shrank", "grew up to it"],
)
def test_a_file_that_head_has(repo: Repo, weigh: Weigh, before: int, after: int, is_refused: bool) -> None:
    repo.commit("Before", data="a" * before)
    repo.write("data", "b" * after)
    repo.git("add", "data")
    assert weigh() == weigh("data") == ([("large-file", "data")] if is_refused else [])


def test_moving_copying_and_chmod_add_nothing(repo: Repo, weigh: Weigh) -> None:
    repo.commit("Before", one=BIG, two=BIG + "2", three=BIG + "3")
    repo.git("mv", "one", "moved")
    repo.write("copied", BIG + "2")
    repo.git("add", "copied")
    repo.git("update-index", "--chmod=+x", "three")
    assert weigh() == []


def test_deleting_a_large_file_is_free(repo: Repo, weigh: Weigh) -> None:
    repo.commit("Before", one=BIG)
    repo.git("rm", "--quiet", "one")
    assert weigh() == []


def test_only_the_staged_of_the_named_files_count_at_commit(repo: Repo, weigh: Weigh) -> None:
    repo.write("a", BIG)
    repo.write("b", BIG)
    repo.git("add", "--all")
    assert weigh("a", "README.md") == [("large-file", "a")]


def test_the_first_commit(make_repo: Callable[..., Repo], program: Program) -> None:
    repo = make_repo("first")
    repo.write("a.pt", BIG)
    repo.write("b", SMALL)
    repo.git("add", "--all")
    for words in ((), ("a.pt", "b")):
        ran = program(*HOOK, "--json", "--max-kb=1", *words, cwd=repo.path)
        assert found(ran) == [("large-file", "a.pt")]
        assert "git rm --cached -- a.pt" in ran.out


def test_sha256(make_repo: Callable[..., Repo], program: Program) -> None:
    repo = make_repo("sha256", "--object-format=sha256")
    repo.commit("One", one="1")
    repo.write("two", BIG)
    repo.git("add", "--all")
    assert found(program(*HOOK, "--json", "--max-kb=1", cwd=repo.path)) == [("large-file", "two")]


@pytest.mark.parametrize(
    "name", [b"a\nb", b"\xff\xfe", "ü".encode(), b" lead", b'"q"', b"a//b".replace(b"//", b"/:")]
)
def test_names_of_any_bytes(repo: Repo, weigh: Weigh, name: bytes) -> None:
    path = os.fsdecode(name)
    repo.write(path, BIG)
    repo.git("add", "--all")
    assert [code for code, _ in weigh()] == ["large-file"]
    assert weigh(path) == [("large-file", path)]
    assert weigh("--allow", "*") == []
    assert weigh("--allow", "*.pt") == [("large-file", path)]


def test_many_staged_files_of_every_kind_of_storage(repo: Repo, weigh: Weigh) -> None:
    """Loose or packed, hard or easy to compress: none that is large is missed."""
    for number in range(1100):
        repo.write(f"many/{number}", f"{number}")
    repo.write("many/packed", "p" * 1025)
    repo.git("add", "--all")
    listed = repo.git("ls-files", "--stage", "many/packed", "many/7").split()
    subprocess.run(
        ["git", "pack-objects", "-q", str(repo.git_dir / "objects/pack/pack")],
        input="\n".join(word for word in listed if len(word) == 40).encode() + b"\n",
        cwd=repo.path,
        check=True,
        capture_output=True,
    )
    repo.git("prune-packed", "-q")
    repo.write("many/dense", os.urandom(1025))
    repo.write("many/just", os.urandom(1024))
    repo.write("many/easy", "e" * 1025)
    repo.write("many/zeros", bytes(2_000_000))
    repo.git("add", "--all")
    expected = [("large-file", f"many/{name}") for name in ("dense", "easy", "packed", "zeros")]
    assert weigh() == weigh(*repo.git("ls-files", "many").split()) == expected
    assert weigh("--max-kb=1900") == [("large-file", "many/zeros")]
    assert weigh("--max-kb=1954", "--deny=7") == [("denied-file", "many/7")]


def test_submodules_are_left_out(repo: Repo, make_repo: Callable[..., Repo], weigh: Weigh) -> None:
    inner = make_repo("inner")
    inner.commit("Inner", file=BIG)
    repo.git("submodule", "--quiet", "add", str(inner.path), "sub")
    assert weigh() == weigh("sub", ".gitmodules") == weigh("--all-files") == []


def test_an_accepted_merge_brings_only_its_own(repo: Repo, weigh: Weigh) -> None:
    repo.git("switch", "--quiet", "--create", "side")
    repo.commit("Side", side=BIG, both=BIG + "side")
    repo.git("switch", "--quiet", "main")
    repo.commit("Main", mine=BIG + "mine", both=BIG + "main")
    repo.git("merge", "--quiet", "side", check=False)
    repo.write("both", BIG + "resolved")
    repo.git("add", "both")
    assert weigh() == weigh("side", "both", "mine") == [("large-file", "both")]


@pytest.mark.parametrize("words", [("-a",), ("--", "README.md"), ("--include", "README.md")])
def test_a_commit_with_an_index_of_its_own(repo: Repo, words: tuple[str, ...]) -> None:
    native(repo, "pre-commit", "--max-kb=1")
    repo.write("README.md", BIG)
    assert "README.md: 2 kB, 0.1 kB in HEAD, over the limit of 1 kB" in refused(
        repo, "commit", "-m", "x", *words
    )
    repo.write("README.md", SMALL)
    assert not refused(repo, "commit", "-m", "x", *words)


def test_what_a_partial_commit_leaves_out_is_not_weighed(repo: Repo) -> None:
    native(repo, "pre-commit", "--max-kb=1")
    repo.write("big", BIG)
    repo.git("add", "big")
    repo.write("README.md", "small\n")
    assert not refused(repo, "commit", "-m", "x", "--", "README.md")
    assert "big" in refused(repo, "commit", "-m", "x")


def test_a_linked_worktree(repo: Repo, tmp_path: Path) -> None:
    native(repo, "pre-commit", "--max-kb=1")
    repo.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    linked = type(repo)(tmp_path / "linked")
    linked.write("sub/big.csv", BIG)
    linked.git("add", "--all")
    assert "sub/big.csv: 2 kB" in refused(linked, "-C", "sub", "commit", "-m", "x")


def test_a_git_directory_elsewhere(repo: Repo, tmp_path: Path) -> None:
    """As with dotfiles: nothing in the worktree says where the git directory is."""
    native(repo, "pre-commit", "--max-kb=1")
    repo.git_dir.rename(tmp_path / "elsewhere")
    repo.write("big", BIG)
    words = [f"--git-dir={tmp_path / 'elsewhere'}", f"--work-tree={repo.path}"]
    repo.git(*words, "add", "big")
    assert "big: 2 kB" in refused(repo, *words, "commit", "-m", "x")


# Rules


def test_allow_and_deny(repo: Repo, weigh: Weigh) -> None:
    for name in ("a.pt", "models/b.pt", "models/keep.pt", "c.csv", "data/in/d.csv"):
        repo.write(name, BIG if name.endswith("csv") else f"small {name}")
    repo.git("add", "--all")
    assert weigh("--deny", "*.pt", "--allow", "keep.pt", "--allow", "data/") == [
        ("denied-file", "a.pt"),
        ("denied-file", "models/b.pt"),
        ("large-file", "c.csv"),
    ]
    assert weigh("--deny", "/*.pt", "--allow", "*.csv") == [("denied-file", "a.pt")]


def test_a_denied_kind_is_refused_whenever_it_changes(repo: Repo, weigh: Weigh) -> None:
    repo.commit("Before", **{"a.pt": "long", "b.pt": "b"})
    repo.write("a.pt", "new")
    repo.git("mv", "b.pt", "c.pt")
    repo.git("add", "--all")
    assert weigh("--deny=*.pt") == [("denied-file", "a.pt")]
    assert weigh("--deny=*.pt", "--all-files") == [("denied-file", "a.pt"), ("denied-file", "c.pt")]


def test_settings_hold_and_arguments_win(repo: Repo, program: Program) -> None:
    repo.write(
        "pyproject.toml",
        '[tool.deriva-ml-hooks.check-large-files]\nmax-kb = 1\nallow = ["a"]\ndeny = ["*.pt"]\n',
    )
    for name in ("a", "b", "c.pt"):
        repo.write(name, BIG)
    repo.git("add", "--all")
    assert found(program(*HOOK, "--json")) == [("denied-file", "c.pt"), ("large-file", "b")]
    assert found(program(*HOOK, "--json", "--allow=b")) == [("denied-file", "c.pt"), ("large-file", "a")]
    assert found(program(*HOOK, "--json", "--max-kb=5")) == [("denied-file", "c.pt")]
    assert found(program(*HOOK, "--json", "--deny=b")) == [("denied-file", "b"), ("large-file", "c.pt")]


@pytest.mark.parametrize("words", [("--max-kb", "-1"), ("--max-kb", "1.5"), ("--frozen",)])
def test_arguments_that_make_no_sense(repo: Repo, program: Program, words: tuple[str, ...]) -> None:
    with_dash = words if words[0] != "--max-kb" else (f"{words[0]}={words[1]}",)
    assert program(*HOOK, *with_dash).code == 2


def test_pointers_of_git_lfs_pass_and_full_content_does_not(
    repo: Repo, weigh: Weigh, program: Program
) -> None:
    repo.write(".gitattributes", "*.pt filter=lfs diff=lfs merge=lfs -text\n")
    repo.write("pointer.pt", POINTER)
    repo.write("full.pt", BIG)
    repo.git("add", "--all")
    assert weigh("--max-kb=0", "--allow=.gitattributes") == [("large-file", "full.pt")]
    assert weigh("--deny=*.pt") == [("denied-file", "full.pt")]
    fix = "git lfs install --skip-repo && git rm --cached -- full.pt && git add -- full.pt .gitattributes"
    assert f"fix: {fix}\n" in program(*HOOK, "--max-kb=1").out


@pytest.mark.parametrize(
    ("content", "passes"),
    [
        (POINTER, True),
        (POINTER.removesuffix("\n"), True),
        (POINTER.replace("git-lfs", "hawser"), True),
        (POINTER.replace("oid", "ext-0-caesar sha256:" + "1" * 64 + "\noid"), True),
        (POINTER + "secret = 1\n", False),
        (POINTER.replace("\noid", "\nsecret = 1\noid"), False),
        (POINTER.partition("\n")[0] + "\nsecret = 1\n", False),
        (POINTER.replace("99999", "many"), False),
        (POINTER.replace("0" * 64, "0" * 63), False),
        (POINTER.replace("\n", "\r\n"), False),
    ],
)
def test_a_pointer_of_git_lfs_is_one_from_its_first_byte_to_its_last(
    repo: Repo, weigh: Weigh, content: str, passes: bool
) -> None:
    repo.write("a.pem", content)
    repo.git("add", "--all")
    assert weigh("--deny=*.pem") == ([] if passes else [("denied-file", "a.pem")])


@pytest.mark.parametrize("words", [("--allow=# a",), ("--deny=",), ("--allow=[a",), ("--allow", "a" * 70000)])
def test_what_is_no_glob_is_an_error(repo: Repo, program: Program, words: tuple[str, ...]) -> None:
    ran = program(*HOOK, *words)
    assert (ran.code, "not all of these are patterns" in ran.err) == (2, True)


def test_no_glob_takes_longer_than_it_is_long(repo: Repo, weigh: Weigh) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    repo.write("pyproject.toml", f'[tool.deriva-ml-hooks.check-large-files]\nallow = ["{"*a" * 25}b"]\n')
    name = "/".join(["a" * 200] * 4)
    repo.write(name, BIG)
    repo.git("add", "--all")
    assert weigh() == [("large-file", name)]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5, "seconds of CPU time"


# Files that are named, with nothing staged


def test_named_files_are_weighed_by_their_blobs(repo: Repo, weigh: Weigh) -> None:
    repo.commit("Before", **{"sub/big": BIG, "sub/small": SMALL, "sub/deep/big": BIG})
    repo.write("sub/small", BIG)
    assert weigh("sub/big", "sub/small") == [("large-file", "sub/big")]
    assert weigh("big", "../sub/small", cwd=repo.path / "sub") == [("large-file", "sub/big")]
    assert weigh(str(repo.path / "sub" / "big")) == [("large-file", "sub/big")]
    assert weigh("sub/") == weigh(".") == [("large-file", "sub/big"), ("large-file", "sub/deep/big")]
    assert weigh() == []
    assert weigh("--all-files") == [("large-file", "sub/big"), ("large-file", "sub/deep/big")]


def test_a_file_that_is_not_tracked_is_weighed_itself(repo: Repo, weigh: Weigh, tmp_path: Path) -> None:
    repo.write(".gitattributes", "*.pt filter=lfs\n")
    repo.write("new.bin", BIG)
    repo.write("new.pt", BIG)
    assert weigh("new.bin", "new.pt") == [("large-file", "new.bin")]
    (tmp_path / "outside").write_text(BIG)
    assert weigh("../outside", "README.md") == [("large-file", "../outside")]


def test_outside_of_a_repository_files_are_weighed_as_they_are(tmp_path: Path, program: Program) -> None:
    (tmp_path / "big").write_text(BIG)
    (tmp_path / "small").write_text(SMALL)
    assert found(program(*HOOK, "--json", "--max-kb=1", "big", "small", cwd=tmp_path)) == [
        ("large-file", "big")
    ]
    ran = program(*HOOK, cwd=tmp_path)
    assert ran.code == 1
    assert "not inside a git repository" in ran.err


def test_a_name_that_is_nowhere_is_an_error(repo: Repo, program: Program) -> None:
    ran = program(*HOOK, "nowhere")
    assert (ran.code, "nowhere: No such file" in ran.err) == (2, True)


@pytest.mark.parametrize(
    "name", ["uv.lock", "sub/uv.lock", "pixi.lock", "poetry.lock", "requirements-gpu.txt"]
)
def test_a_lock_file_has_no_limit_but_can_be_denied(repo: Repo, weigh: Weigh, name: str) -> None:
    repo.write(name, BIG)
    repo.git("add", "--all")
    assert weigh() == []
    assert weigh(name) == []
    assert weigh("--deny=*.lock", "--deny=*.txt") == [("denied-file", name)]


@pytest.mark.parametrize("name", ["docs/over view.svg", "[1] what?.ipynb", "back\\slash*.html", "é.svg"])
@pytest.mark.parametrize("standalone", [False, True])
def test_the_glob_that_lets_a_file_pass_can_be_pasted(
    repo: Repo, program: Program, name: str, standalone: bool
) -> None:
    file, table = "pyproject.toml", "[tool.deriva-ml-hooks.check-large-files]"
    if standalone:
        file, table = ".deriva-ml-hooks.toml", "[check-large-files]"
    repo.write(file, f'{table}\nmax-kb = 1\nallow = ["*.nb"]\n')
    for one in (name, "other.nb"):
        repo.write(one, BIG)
    repo.git("add", "--all")
    out = program(*HOOK).out
    glob = out.partition("to keep it, add ")[2].partition(f" to allow in {file} under {table}, or ")[0]
    repo.write(file, f'{table}\nmax-kb = 1\nallow = ["*.nb", {glob}]\n')
    assert program(*HOOK).out == ""
    repo.write(f"x/{name}", BIG)
    repo.git("add", "--all")
    assert program(*HOOK).code == 1


# At push


@pytest.fixture
def guarded(repo: Repo, remote: Repo) -> Repo:
    """A repository whose pushes are weighed with a limit of 1 kB."""
    native(repo, "pre-push", "--max-kb=1", "--deny=*.pt")
    return repo


def test_a_push_names_commit_path_and_size_of_what_was_removed_again(guarded: Repo) -> None:
    base = guarded.git("rev-parse", "HEAD")
    oid = guarded.commit("Add", **{"out/model.h5": BIG})
    guarded.git("rm", "--quiet", "out/model.h5")
    guarded.commit("Remove")
    said = refused(guarded, "push", "origin", "main")
    assert f"out/model.h5: 2 kB, over the limit of 1 kB, added by commit {oid[:12]}" in said
    assert f"fix: git reset --soft {oid[:12]}^ && " in said
    guarded.git("reset", "--quiet", "--hard", base)
    guarded.commit("Small", small=SMALL)
    assert not refused(guarded, "push", "origin", "main")


def test_a_lock_file_is_pushed_and_no_way_out_of_history_takes_it_away(guarded: Repo) -> None:
    guarded.commit("Lock", **{"uv.lock": BIG + "1"})
    assert not refused(guarded, "push", "origin", "main")
    guarded.commit("Lock again", **{"uv.lock": BIG + "2"})
    guarded.commit("Add", big=BIG)
    mended(guarded, refused(guarded, "push", "origin", "main"))
    assert not refused(guarded, "push", "origin", "main")
    assert guarded.git("ls-tree", "--name-only", "origin/main", "uv.lock") == "uv.lock"


def test_a_path_is_told_once_with_its_largest_blob_and_its_first_commit(guarded: Repo) -> None:
    oid = guarded.commit("Add", big=BIG)
    guarded.commit("Grow", big=BIG + BIG)
    guarded.commit("Shrink", big=BIG + "1")
    said = refused(guarded, "push", "origin", "main")
    assert said.count("big: ") == 1
    assert f"big: 4 kB, over the limit of 1 kB, added by commit {oid[:12]}, and by 2 more" in said


def mended(repo: Repo, said: str) -> None:
    """Run the first fix that was printed, literally."""
    fix = said.partition("fix: ")[2].partition("\n")[0]
    done = subprocess.run(["bash", "-c", fix], cwd=repo.path, check=False, capture_output=True)
    assert done.returncode == 0, (fix, done)


def merged(repo: Repo) -> None:
    """A large file on a branch that was merged."""
    repo.commit("Add", big=BIG, a="a")
    repo.git("switch", "--quiet", "--create", "side", "HEAD~1")
    repo.commit("Side", side="s")
    repo.git("switch", "--quiet", "main")
    repo.git("merge", "--quiet", "--message", "Merge", "side")


HISTORIES: dict[str, tuple[Callable[[Repo], object], dict[str, str | None]]] = {
    "a commit of nothing else": (lambda r: r.commit("Add", big=BIG), {"big": BIG}),
    "among others": (
        lambda r: (r.commit("a", a="a"), r.commit("Add", big=BIG, code="c"), r.commit("b", b="b")),
        {"big": BIG, "a": "a", "code": "c", "b": "b"},
    ),
    "added, then removed": (
        lambda r: (r.commit("Add", big=BIG), (r.path / "big").unlink(), r.commit("Remove", a="a")),
        {"big": None, "a": "a"},
    ),
    "changed later": (
        lambda r: (r.commit("Add", big=BIG), r.commit("Change", big=BIG + "y", a="a")),
        {"big": BIG + "y", "a": "a"},
    ),
    "shrunk later": (
        lambda r: (r.commit("Add", big=BIG), r.commit("Change", big=SMALL)),
        {"big": SMALL},
    ),
    "moved later": (
        lambda r: (r.commit("Add", big=BIG), r.git("mv", "big", "moved"), r.commit("Move")),
        {"big": None, "moved": BIG},
    ),
    "grown from what the remote has": (lambda r: r.commit("Grow", **{"README.md": BIG}), {"README.md": BIG}),
    "changed in the worktree too": (
        lambda r: (r.commit("Add", big=BIG, a="a"), r.write("big", BIG + "z")),
        {"big": BIG + "z", "a": "a"},
    ),
    "merged": (merged, {"big": BIG, "a": "a", "side": "s"}),
}


@pytest.mark.parametrize("history", HISTORIES)
def test_the_way_out_of_history_works_as_printed(guarded: Repo, history: str) -> None:
    prepare, files = HISTORIES[history]
    prepare(guarded)
    for _ in range(3):  # two paths may have two ways out
        said = refused(guarded, "push", "origin", "main")
        if not said:
            break
        mended(guarded, said)
    assert not refused(guarded, "push", "origin", "main")
    for name, content in files.items():
        path = guarded.path / name
        assert (path.read_text() if path.exists() else None) == content
        kept = content is not None and name != "big" and len(content) <= len(SMALL)
        assert bool(guarded.git("ls-tree", "origin/main", name)) == (kept or name == "README.md")


@pytest.mark.parametrize("files", [{"data.csv": BIG}, {"data.csv": BIG, "code": "c"}])
@pytest.mark.parametrize("later", ["", "dirty", "more"])
def test_the_way_out_of_a_root_commit_works_as_printed(
    make_repo: Callable[..., Repo], files: dict[str, str], later: str
) -> None:
    made = make_repo("fresh")
    made.commit("Root", **files)
    if later == "dirty":
        made.write("data.csv", BIG + "y")
    if later == "more":
        made.commit("More", more="m")
    bare = make_repo("bare.git", "--bare")
    made.git("remote", "add", "origin", str(bare.path))
    native(made, "pre-push", "--max-kb=1")
    mended(made, refused(made, "push", "origin", "main"))
    assert (made.path / "data.csv").read_text().startswith(BIG)
    made.push("origin", "main")
    assert "data.csv" not in bare.git("ls-tree", "--name-only", "main")


def test_of_another_branch_the_fix_says_to_switch_to_it(guarded: Repo) -> None:
    guarded.git("switch", "--quiet", "--create", "feature")
    guarded.commit("Add", big=BIG)
    guarded.git("switch", "--quiet", "main")
    said = refused(guarded, "push", "origin", "feature")
    assert "fix: switch to a branch with that commit, then: git reset --soft " in said


def test_a_tag_on_a_blob_is_to_be_deleted(guarded: Repo) -> None:
    guarded.write("b", BIG)
    guarded.git("tag", "t", guarded.git("hash-object", "-w", "b"))
    assert "fix: delete the tag that leads to it" in refused(guarded, "push", "origin", "t")


def test_a_detached_head_is_mended_where_it_is(guarded: Repo) -> None:
    guarded.git("checkout", "--quiet", "--detach")
    guarded.commit("Add", big=BIG, a="a")
    mended(guarded, refused(guarded, "push", "origin", "HEAD:main"))
    assert not refused(guarded, "push", "origin", "HEAD:main")


@pytest.mark.parametrize("name", [b"a b\xff'.bin", "n\u00e4.bin".encode(), b"tab\t\\.bin"])
def test_the_way_out_is_for_names_of_any_bytes(guarded: Repo, name: bytes) -> None:
    guarded.commit("Add", **{os.fsdecode(name): BIG, "a": "a"})
    mended(guarded, refused(guarded, "push", "origin", "main"))
    assert not refused(guarded, "push", "origin", "main")


def push_table() -> list[Any]:
    return [
        pytest.param(lambda r: r.commit("x", big=BIG), ("main",), True, id="a branch that is there"),
        pytest.param(lambda r: r.commit("x", ok=SMALL), ("main",), False, id="nothing large"),
        pytest.param(lambda r: r.commit("x", **{"w.pt": "w"}), ("main",), True, id="a kind that is denied"),
        pytest.param(lambda r: r.commit("x", big=BIG), ("main:refs/heads/new",), True, id="a new branch"),
        pytest.param(
            lambda r: r.commit("x", big=BIG), ("main:new", "main~1:refs/heads/old"), True, id="several refs"
        ),
        pytest.param(
            lambda r: r.commit("x", big=BIG), ("HEAD~1:refs/heads/old",), False, id="what lies before it"
        ),
        pytest.param(lambda r: r.commit("x", big=BIG), (":gone",), False, id="a deletion"),
        pytest.param(
            lambda r: (r.commit("x", big=BIG), r.git("tag", "t")), ("t",), True, id="a lightweight tag alone"
        ),
        pytest.param(
            lambda r: (r.commit("x", big=BIG), r.git("tag", "-a", "t", "-m", "t")),
            ("t",),
            True,
            id="an annotated tag alone",
        ),
        pytest.param(
            lambda r: r.git("tag", "-a", "t", "-m", "t"), ("t",), False, id="a tag on what is there"
        ),
        pytest.param(
            lambda r: (r.write("b", BIG), r.git("tag", "t", r.git("hash-object", "-w", "b"))),
            ("t",),
            True,
            id="a tag on a blob",
        ),
        pytest.param(
            lambda r: (r.git("commit", "--amend", "-m", "y"), r.commit("x", big=BIG)),
            ("+main",),
            True,
            id="a forced update",
        ),
        pytest.param(
            lambda r: (r.git("switch", "--orphan", "o"), r.commit("x", big=BIG)),
            ("o",),
            True,
            id="a new root",
        ),
    ]


@pytest.mark.parametrize(("change", "refs", "is_refused"), push_table())
def test_pushes(
    guarded: Repo, change: Callable[[Repo], object], refs: tuple[str, ...], is_refused: bool
) -> None:
    guarded.git("push", "--quiet", "--no-verify", "origin", "HEAD:refs/heads/gone")
    change(guarded)
    assert bool(refused(guarded, "push", "origin", *refs)) == is_refused


def test_a_first_push_is_weighed_to_the_root(repo: Repo, make_repo: Callable[..., Repo]) -> None:
    made = make_repo("fresh")
    made.commit("Root", **{"data.csv": BIG})
    made.commit("Next", code="c")
    bare = make_repo("bare.git", "--bare")
    made.git("remote", "add", "origin", str(bare.path))
    native(made, "pre-push", "--max-kb=1")
    said = refused(made, "push", "origin", "main")
    assert "fix: git update-ref -d HEAD && " in said
    assert "data belong in a Deriva dataset" in said


def test_what_the_remote_has_already_passes(guarded: Repo) -> None:
    guarded.commit("Large", big=BIG)
    guarded.git("push", "--quiet", "--no-verify", "origin", "main")
    guarded.git("mv", "big", "moved")
    guarded.commit("Move")
    guarded.git("rm", "--quiet", "moved")
    guarded.commit("Remove")
    guarded.commit("Restore", again=BIG)
    assert not refused(guarded, "push", "origin", "main", "main:feature")


def test_a_push_from_a_bare_repository(repo: Repo, remote: Repo, make_repo: Callable[..., Repo]) -> None:
    other = make_repo("other.git", "--bare")
    repo.commit("Large", big=BIG)
    repo.push()
    native(remote, "pre-push", "--max-kb=1")
    assert "big: 2 kB" in refused(remote, "push", str(other.path), "main")


@pytest.mark.parametrize("stdin", ["nonsense\n", f"refs/heads/main {'d' * 40} refs/heads/main {'0' * 40}\n"])
def test_a_push_that_cannot_be_understood_is_refused(repo: Repo, program: Program, stdin: str) -> None:
    ran = program(*HOOK, "--pre-push", "origin", "url", stdin=stdin)
    assert ran.code != 0
    assert "fix: " in ran.err


# Through pre-commit and prek


@pytest.fixture(params=["pre-commit", pytest.param("prek", marks=pytest.mark.slow)])
def runner(
    request: pytest.FixtureRequest, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """A runner of .pre-commit-config.yaml, configured as in the manifest, with arguments of a user."""
    config = {
        "repos": [
            {
                "repo": "local",
                "hooks": [
                    {
                        "id": "check-large-files",
                        "name": "check large files",
                        "language": "system",
                        "entry": shlex.join(COMMAND),
                        "args": ["--max-kb=1", "--"],
                        "always_run": True,
                        "require_serial": True,
                        "types": [],
                        "stages": ["pre-commit", "pre-push", "manual"],
                    }
                ],
            }
        ]
    }
    repo.write(".pre-commit-config.yaml", json.dumps(config))
    repo.commit("Configure")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "pre-commit"))
    monkeypatch.setenv("PREK_HOME", str(tmp_path / "prek"))
    folder = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return [request.param]


def ran_by(repo: Repo, runner: list[str], *words: str) -> str:
    """What `RUNNER run WORDS` said, where it failed; empty where it passed."""
    done = subprocess.run([*runner, "run", *words], cwd=repo.path, capture_output=True, check=False)
    said = os.fsdecode(done.stdout + done.stderr)
    assert done.returncode == 0 or "over the limit" in said, said
    return said if done.returncode else ""


@pytest.mark.usefixtures("git_for_pre_commit")
def test_a_runner_on_all_files(repo: Repo, runner: list[str]) -> None:
    assert not ran_by(repo, runner, "--all-files")
    repo.commit("Large", **{"ü big": BIG})
    assert "ü big: 2 kB" in ran_by(repo, runner, "--all-files")
    assert "ü big: 2 kB" in ran_by(repo, runner, "--files", "ü big")
    assert not ran_by(repo, runner, "--files", "README.md")
    assert not ran_by(repo, runner)


PLANTED = ["--", "--allow=*", "--max-kb=9999999", "--max-kb=1", "--json", "-h", "@f", "--pre-push", "--deny"]


@pytest.mark.usefixtures("git_for_pre_commit")
@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize(
    "words",
    [(), ("--all-files",), ("--files", "./--", "./--allow=*", "big"), ("--from-ref=HEAD~1", "--to-ref=HEAD")],
)
def test_names_that_look_like_options_are_names(
    repo: Repo, runner: list[str], words: tuple[str, ...], ended: bool
) -> None:
    """Where the user's arguments do not end with `--`, nothing passes either."""
    path = repo.path / ".pre-commit-config.yaml"
    configured = path.read_text().replace(
        '["--max-kb=1", "--"]', '["--max-kb=1", "--"]' if ended else '["--max-kb=1"]'
    )
    path.write_text(configured)
    for name in PLANTED:
        repo.write(name, BIG + name)
    repo.write("big", BIG)
    repo.git("add", "--all")
    if words:
        repo.commit("Plant")
    done = subprocess.run([*runner, "run", *words], cwd=repo.path, capture_output=True, check=False)
    said = os.fsdecode(done.stdout + done.stderr)
    assert done.returncode == 1, said
    if not ended:
        assert "an option, and the name of a file" in said
        return
    for name in ["--", "--allow=*", "big"] if "--files" in words else [*PLANTED, "big"]:
        assert any(line.strip().startswith(f"{name}: 2") for line in said.splitlines()), said


def test_a_planted_name_that_is_gone_is_no_option(repo: Repo, runner: list[str]) -> None:
    repo.write("--allow=*", "x")
    repo.write("big", BIG)
    repo.commit("Plant")
    (repo.path / "--allow=*").unlink()
    assert "big: 2 kB" in ran_by(repo, runner, "--all-files")


def test_a_runner_on_a_range(repo: Repo, runner: list[str]) -> None:
    repo.commit("Large", big=BIG)
    repo.git("rm", "--quiet", "big")
    repo.commit("Remove")
    assert "big: 2 kB" in ran_by(repo, runner, "--from-ref", "HEAD~2", "--to-ref", "HEAD")
    assert not ran_by(repo, runner, "--from-ref", "HEAD~1", "--to-ref", "HEAD")


def test_a_runner_at_commit_and_push(repo: Repo, remote: Repo, runner: list[str]) -> None:
    subprocess.run(
        [*runner, "install", "-t", "pre-commit", "-t", "pre-push"],
        cwd=repo.path,
        check=True,
        capture_output=True,
    )
    repo.write("big", BIG)
    repo.git("add", "big")
    assert "big: 2 kB" in refused(repo, "commit", "-m", "x")
    repo.write("big", SMALL)
    assert "big: 2 kB" in refused(repo, "commit", "-m", "x")
    repo.git("add", "big")
    assert not refused(repo, "commit", "-m", "x")
    assert not refused(repo, "commit", "-m", "empty", "--allow-empty")
    repo.write("big", BIG)
    repo.git("commit", "--quiet", "--no-verify", "--all", "-m", "y")
    repo.git("rm", "--quiet", "big")
    repo.git("commit", "--quiet", "-m", "z")
    assert "big: 2 kB" in refused(repo, "push", "origin", "main")
    assert "big: 2 kB" in refused(repo, "push", "origin", "main:new")
    repo.git("tag", "-a", "v1", "-m", "One")
    assert "big: 2 kB" in refused(repo, "push", "origin", "v1")


@pytest.mark.usefixtures("git_for_pre_commit")
def test_a_runner_at_a_first_push(repo: Repo, make_repo: Callable[..., Repo], runner: list[str]) -> None:
    bare = make_repo("bare.git", "--bare")
    repo.git("remote", "add", "origin", str(bare.path))
    repo.commit("Large", big=BIG)
    repo.git("rm", "--quiet", "big")
    repo.commit("Remove")
    subprocess.run([*runner, "install", "-t", "pre-push"], cwd=repo.path, check=True, capture_output=True)
    assert "big: 2 kB" in refused(repo, "push", "origin", "main")


def test_exclude_is_obeyed_at_commit(repo: Repo, runner: list[str]) -> None:
    config = json.loads((repo.path / ".pre-commit-config.yaml").read_text())
    config["repos"][0]["hooks"][0]["exclude"] = "^data/"
    repo.write(".pre-commit-config.yaml", json.dumps(config))
    repo.commit("Exclude")
    repo.write("data/big", BIG)
    repo.git("add", "--all")
    assert not ran_by(repo, runner)
    repo.write("else", BIG)
    repo.git("add", "--all")
    assert "else: 2 kB" in ran_by(repo, runner)


# What is shown


@pytest.mark.parametrize("push", [False, True])
def test_a_run_that_finds_nothing_loads_little(repo: Repo, push: bool) -> None:
    repo.write("new", SMALL)
    repo.git("add", "new")
    stdin = f"refs/heads/main {repo.git('rev-parse', 'HEAD')} refs/heads/main {'0' * 40}\n" if push else ""
    words = [*COMMAND[1:], *(("--pre-push", "origin", "url") if push else ())]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words],
        cwd=repo.path,
        input=stdin.encode(),
        capture_output=True,
        check=True,
    )
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in os.fsdecode(done.stderr).splitlines()
    }
    assert "argparse" in loaded
    assert not loaded & {"dulwich", "rich", "typer", "nbformat", "setuptools_scm", "deriva"}


def test_each_kind_is_told_its_own_way_out_once(repo: Repo, program: Program) -> None:
    for name in ("a.pt", "b.ckpt", "c.csv", "d.pdf"):
        repo.write(name, BIG + name)
    repo.git("add", "--all")
    out = program(*HOOK, "--max-kb=1").out
    fixes = [line for line in out.splitlines() if line.startswith("fix: ")]
    undo = "git restore --staged --"
    assert fixes == [f"fix: {undo} a.pt b.ckpt", f"fix: {undo} c.csv", f"fix: {undo} d.pdf"]
    assert "a.pt: 2.1 kB, over the limit of 1 kB; a result is an output asset" in out
    assert "c.csv: 2.1 kB, over the limit of 1 kB; data belong in a Deriva dataset" in out
    assert (
        'to keep it, add "/d.pdf" to allow in pyproject.toml under [tool.deriva-ml-hooks.check-large-files]'
        in out
    )
    assert (
        "::error file=a.pt,title=large-file::"
        in program(*HOOK, "--max-kb=1", env={"GITHUB_ACTIONS": "true"}).out
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "0.1 kB"),
        (1024, "1 kB"),
        (512001, "500.1 kB"),
        (1048575, "1 MB"),
        (1048576, "1 MB"),
        (5 << 30, "5 GB"),
    ],
)
def test_sizes_are_rounded_up(count: int, text: str) -> None:
    assert _advice.size(count) == text
