"""The gate's verdict on real repositories, in the process and through the real program."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks.errors import ConfigError
from deriva_ml_hooks.gate import RefusedError, Verdict, judge, require_accepted

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

TRAIN = "src/train.py"
FINDING_KEYS = ["code", "path", "message", "fix"]


def codes(verdict: Verdict) -> list[tuple[str, str | None]]:
    return sorted((reason.code, reason.path) for reason in verdict.reasons)


def reasons_at(folder: Path) -> list[tuple[str, str | None]]:
    return codes(judge(str(folder)))


# A repository that can be recorded.


def test_a_clean_pushed_commit_is_accepted_with_its_provenance(repo: Repo, remote: Repo) -> None:
    verdict = judge(str(repo.path))
    assert verdict.accepted
    assert verdict.warnings == ()
    assert verdict.provenance is not None
    assert verdict.provenance.commit == repo.git("rev-parse", "HEAD")
    assert require_accepted(verdict) is verdict


def test_the_verdict_is_about_the_whole_repository_from_any_folder_of_it(repo: Repo) -> None:
    repo.write("helper.py")
    (repo.path / "src/run.log").mkdir()
    for folder in (repo.path, repo.path / "src", repo.path / "src/run.log"):
        assert reasons_at(folder) == [("untracked", "helper.py")]


def test_a_symlink_leads_into_the_repository_it_points_to(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(repo.path / "src")
    repo.write("helper.py")
    assert reasons_at(tmp_path / "link") == [("untracked", "helper.py")]


# Every reason.


def test_a_folder_outside_any_repository_is_refused(tmp_path: Path) -> None:
    verdict = judge(str(tmp_path))
    assert codes(verdict) == [("not-a-repository", None)]
    assert verdict.provenance is None
    assert "git init" in verdict.reasons[0].fix


def test_a_working_directory_that_was_removed_is_refused(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = repo.path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert codes(judge()) == [("not-a-repository", None)]


@pytest.mark.parametrize("inside", ["", "refs/heads"])
def test_a_bare_repository_is_refused(repo: Repo, remote: Repo, inside: str) -> None:
    assert reasons_at(remote.path / inside) == [("bare-repository", None)]


@pytest.mark.parametrize("inside", [".git", ".git/objects", ".git/worktrees/second", ".git/modules/lib"])
def test_the_inside_of_a_git_directory_is_refused(
    repo: Repo, make_repo: Callable[..., Repo], inside: str
) -> None:
    library = make_repo("library")
    library.commit()
    repo.git("submodule", "--quiet", "add", str(library.path), "lib")
    repo.commit()
    repo.git("worktree", "add", "--quiet", "../second")
    assert reasons_at(repo.path / inside) == [("bare-repository", None)]


def test_a_repository_that_calls_itself_bare_is_refused(repo: Repo) -> None:
    repo.git("config", "core.bare", "true")
    assert reasons_at(repo.path) == [("bare-repository", None)]


def test_a_repository_without_commits_is_refused(make_repo: Callable[..., Repo]) -> None:
    repo = make_repo()
    verdict = judge(str(repo.path))
    assert codes(verdict) == [("no-commit", None)]
    assert verdict.provenance is None
    repo.write("a.py")
    repo.git("add", "a.py")
    repo.write("b.py")
    assert reasons_at(repo.path) == [("no-commit", None), ("staged", "a.py"), ("untracked", "b.py")]


def test_a_branch_without_commits_is_refused(repo: Repo) -> None:
    repo.git("switch", "--quiet", "--orphan", "new")
    assert reasons_at(repo.path) == [("no-commit", None)]


def test_a_git_file_that_leads_nowhere_is_refused(repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "--quiet", str(tmp_path / "second"))
    shutil.rmtree(repo.git_dir / "worktrees")
    verdict = judge(str(tmp_path / "second"))
    assert codes(verdict) == [("git-error", None)]
    assert verdict.reasons[0].fix == "git worktree repair"


def test_a_git_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("hello\n")
    assert reasons_at(tmp_path) == [("git-error", None)]


def test_a_worktree_that_is_configured_to_be_elsewhere_is_refused(repo: Repo, tmp_path: Path) -> None:
    shutil.copytree(repo.path, tmp_path / "decoy")
    repo.git("config", "core.worktree", str(tmp_path / "decoy"))
    repo.write(TRAIN, "print('other')\n")
    assert repo.git("status", "--porcelain") == "", "else this test shows nothing"
    verdict = judge(str(repo.path))
    assert codes(verdict) == [("git-error", None)]
    assert os.system(verdict.reasons[0].fix) == 0
    assert reasons_at(repo.path) == [("unstaged", TRAIN)]


def test_a_linked_worktree_that_is_configured_to_be_elsewhere_is_refused(repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "--quiet", str(tmp_path / "second"))
    shutil.copytree(tmp_path / "second", tmp_path / "decoy")
    second = replace(repo, path=tmp_path / "second")
    repo.git("config", "extensions.worktreeConfig", "true")
    second.git("config", "--worktree", "core.worktree", str(tmp_path / "decoy"))
    second.write(TRAIN, "print('other')\n")
    assert reasons_at(second.path) == [("git-error", None)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners")
def test_a_repository_of_another_user_is_refused_but_named(repo: Repo) -> None:
    head = repo.git("rev-parse", "HEAD")
    repo.give_away()
    verdict = judge(str(repo.path))
    assert codes(verdict) == [("foreign-owner", None)]
    assert "safe.directory" in verdict.reasons[0].fix
    assert verdict.provenance is not None
    assert verdict.provenance.commit == head


def merge(repo: Repo) -> None:
    repo.git("switch", "--quiet", "--create", "other", "HEAD~1")
    repo.commit("Empty")
    repo.git("switch", "--quiet", "main")
    repo.git("merge", "--quiet", "--no-commit", "--no-ff", "other")


def conflict(repo: Repo) -> None:
    repo.git("switch", "--quiet", "--create", "other")
    repo.write(TRAIN, "other\n")
    repo.commit()
    repo.git("switch", "--quiet", "main")
    repo.write(TRAIN, "mine\n")
    repo.commit()
    repo.git("merge", "other", check=False)


def stage(repo: Repo) -> None:
    repo.write(TRAIN, "other\n")
    repo.git("add", TRAIN)


def edit(repo: Repo) -> None:
    repo.write(TRAIN, "other\n")


def leave(repo: Repo) -> None:
    repo.write("helper.py")


def hide(repo: Repo) -> None:
    repo.git("update-index", "--assume-unchanged", TRAIN)
    repo.write(TRAIN, "other\n")


def add_submodule_and_edit(repo: Repo) -> None:
    library = replace(repo, path=repo.path.parent / "library")
    repo.git("clone", "--quiet", str(repo.path), str(library.path))
    repo.git("submodule", "--quiet", "add", str(library.path), "lib")
    repo.commit()
    repo.write(f"lib/{TRAIN}", "other\n")


def break_index(repo: Repo) -> None:
    (repo.git_dir / "index").write_bytes(b"not an index")


@pytest.mark.parametrize(
    ("change", "expected", "fix"),
    [
        (merge, [("operation-in-progress", None)], "git merge --continue"),
        (conflict, [("operation-in-progress", None), ("unmerged", TRAIN)], "git merge --abort"),
        (stage, [("staged", TRAIN)], "git commit"),
        (edit, [("unstaged", TRAIN)], "git stash"),
        (leave, [("untracked", "helper.py")], "git add -- "),
        (hide, [("hidden-change", TRAIN)], "--no-assume-unchanged"),
        (add_submodule_and_edit, [("submodule", f"lib/{TRAIN}")], "stash --include-untracked"),
        (break_index, [("git-error", None)], "git status"),
    ],
)
def test_each_reason_names_its_path_and_a_way_out(
    repo: Repo, change: Callable[[Repo], None], expected: list[tuple[str, str | None]], fix: str
) -> None:
    change(repo)
    verdict = judge(str(repo.path))
    assert codes(verdict) == expected
    assert not verdict.accepted
    assert any(fix in reason.fix for reason in verdict.reasons)
    assert verdict.provenance is not None
    assert verdict.provenance.commit == repo.git("rev-parse", "HEAD")
    with pytest.raises(RefusedError) as raised:
        require_accepted(verdict)
    assert raised.value.reasons == verdict.reasons


# No damage to a git directory ends in a traceback, or in a commit that is not there.

DAMAGES: list[tuple[str, Callable[[bytes], bytes | None]]] = [
    ("removed", lambda data: None),
    ("emptied", lambda data: b""),
    ("cut", lambda data: data[: len(data) // 2]),
    ("overwritten", lambda data: b"\x00\xff junk\n"),
    ("bent", lambda data: data[: len(data) // 3] + b"\x00" + data[len(data) // 3 + 1 :]),
]


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
@pytest.mark.parametrize(("name", "damage"), DAMAGES, ids=[name for name, _ in DAMAGES])
def test_a_damaged_git_directory_is_refused_unless_git_itself_sees_the_commit_in_it(
    repo: Repo, name: str, damage: Callable[[bytes], bytes | None], packed: bool
) -> None:
    repo.git("tag", "--annotate", "--message", "One", "v1.0.0")
    shutil.rmtree(repo.git_dir / "hooks", ignore_errors=True)
    if packed:
        repo.git("gc", "--quiet")
    head = repo.git("rev-parse", "HEAD")
    refused = 0
    for path in sorted(path for path in repo.git_dir.rglob("*") if path.is_file()):
        shutil.rmtree(repo.git_dir / "deriva-ml-hooks", ignore_errors=True)
        data, stamp = path.read_bytes(), path.stat()
        path.unlink()
        damaged = damage(data)
        if damaged is not None:
            path.write_bytes(damaged)
        verdict = judge(str(repo.path))
        if verdict.accepted:
            assert verdict.provenance is not None
            assert verdict.provenance.commit == head == repo.git("rev-parse", "HEAD"), path
            assert repo.git("status", "--porcelain") == "", path
        refused += not verdict.accepted
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(stamp.st_mode)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert refused
    assert judge(str(repo.path)).accepted


# Policies.


def policy(repo: Repo, name: str, value: str) -> None:
    repo.write(".deriva-ml-hooks.toml", f'{name} = "{value}"\n')
    repo.commit("Set a policy")


def without_remote(repo: Repo, remote: Repo) -> Repo:
    repo.git("remote", "remove", "origin")
    return repo


def not_pushed(repo: Repo, remote: Repo) -> Repo:
    return repo


def without_tag(repo: Repo, remote: Repo) -> Repo:
    repo.push()
    return repo


def cut_off(repo: Repo, remote: Repo) -> Repo:
    repo.push()
    clone = replace(repo, path=repo.path.parent / "clone")
    repo.git("clone", "--quiet", "--depth=1", f"file://{remote.path}", str(clone.path))
    return clone


@pytest.mark.parametrize("value", ["refuse", "warn", "ignore", None])
@pytest.mark.parametrize(
    ("code", "arrange", "default"),
    [
        ("no-remote", without_remote, "warn"),
        ("unpushed", not_pushed, "warn"),
        ("untagged", without_tag, "ignore"),
        ("shallow", cut_off, "warn"),
    ],
)
def test_a_policy_refuses_warns_or_ignores(
    repo: Repo,
    remote: Repo,
    code: str,
    arrange: Callable[[Repo, Repo], Repo],
    default: str,
    value: str | None,
) -> None:
    if value is not None:
        policy(repo, code, value)
    else:
        repo.commit("No policy")
    verdict = judge(str(arrange(repo, remote).path))
    in_reasons = code in {finding.code for finding in verdict.reasons}
    in_warnings = code in {finding.code for finding in verdict.warnings}
    wanted = value or default
    assert (in_reasons, in_warnings) == (wanted == "refuse", wanted == "warn")
    assert verdict.accepted == (wanted != "refuse")


def test_a_pushed_tagged_commit_satisfies_every_policy_at_its_strictest(repo: Repo, remote: Repo) -> None:
    names = ("no-remote", "unpushed", "untagged", "shallow")
    repo.write(".deriva-ml-hooks.toml", "".join(f'{name} = "refuse"\n' for name in names))
    repo.commit()
    assert {reason.code for reason in judge(str(repo.path)).reasons} == {"unpushed", "untagged"}
    repo.push()
    repo.git("tag", "--annotate", "--message", "One", "v1.0.0")
    assert judge(str(repo.path)).accepted


def test_a_run_that_needs_a_tag_gets_one_or_is_refused_whatever_is_configured(repo: Repo) -> None:
    policy(repo, "untagged", "ignore")
    assert codes(judge(str(repo.path), require_tag=True)) == [("untagged", None)]
    repo.git("tag", "nightly")
    assert codes(judge(str(repo.path), require_tag=True)) == [("untagged", None)]
    repo.git("tag", "v1.0.0")
    assert judge(str(repo.path), require_tag=True).accepted


def test_grafts_do_not_make_a_commit_pushed(repo: Repo, remote: Repo) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.commit("Mine")
    head = repo.git("rev-parse", "HEAD")
    other = repo.git("commit-tree", "-p", first, "-m", "Other", "HEAD^{tree}")
    repo.git("update-ref", "refs/remotes/origin/main", other)
    (repo.git_dir / "info/grafts").write_text(f"{other} {head}\n")
    assert "refs/remotes/origin/main" in repo.git("for-each-ref", "--contains", head), "else shows nothing"
    assert "unpushed" in {finding.code for finding in judge(str(repo.path)).warnings}


# untracked-ignore.


@pytest.mark.parametrize(
    ("pattern", "path", "passes"),
    [
        ("*.csv", "data.csv", True),
        ("*.csv", "deep/down/data.csv", True),
        ("*.csv", "data.csv.py", False),
        ("/data.csv", "data.csv", True),
        ("/data.csv", "deep/data.csv", False),
        ("outputs/", "outputs/deep/model.bin", True),
        ("outputs/", "src/outputs/model.bin", True),
        ("outputs/", "outputs.py", False),
        ("outputs/**", "outputs/deep/model.bin", True),
        ("outputs", "outputs/model.bin", True),
        ("scratch/*.tmp", "scratch/a.tmp", True),
        ("scratch/*.tmp", "scratch/deep/a.tmp", False),
        ("a?.txt", "ab.txt", True),
        ("*.CSV", "data.csv", False),
        ("caf*", os.fsdecode(b"caf\xe9"), True),
        ("#*", "other", False),
        ("*a" * 25 + "b", "a" * 200, False),  # which took dulwich more than a minute
    ],
)
def test_untracked_files_pass_as_warnings_where_a_glob_names_them(
    repo: Repo, pattern: str, path: str, passes: bool
) -> None:
    repo.write(".deriva-ml-hooks.toml", f'untracked-ignore = ["{pattern}"]\nno-remote = "ignore"\n')
    repo.commit()
    repo.write(path)
    verdict = judge(str(repo.path))
    found = ("untracked", path)
    assert [(w.code, w.path) for w in verdict.warnings] == ([found] if passes else [])
    assert codes(verdict) == ([] if passes else [found])


@pytest.mark.parametrize("change", [edit, stage, hide, add_submodule_and_edit, break_index])
def test_no_glob_lets_anything_else_pass(repo: Repo, change: Callable[[Repo], None]) -> None:
    repo.write(".deriva-ml-hooks.toml", 'untracked-ignore = ["*", "**", "src/"]\n')
    repo.commit()
    change(repo)
    assert not judge(str(repo.path)).accepted


# What loosens the gate counts only as HEAD's commit has it.

LOOSE = 'untracked-ignore = ["*"]\nno-remote = "ignore"\n'
SETTINGS = ".deriva-ml-hooks.toml"


def untracked(repo: Repo) -> None:
    repo.write(SETTINGS, LOOSE)


def ignored(repo: Repo) -> None:
    repo.write(".git/info/exclude", SETTINGS)
    repo.write(SETTINGS, LOOSE)


def ignored_in_the_place_of_a_tracked_one(repo: Repo) -> None:
    policy(repo, "no-remote", "refuse")
    repo.write(".git/info/exclude", "pyproject.toml")
    repo.write("pyproject.toml", "[tool.deriva-ml-hooks]\n" + LOOSE)


def tracked_then(*words: str) -> Callable[[Repo], None]:
    def arrange(repo: Repo) -> None:
        policy(repo, "no-remote", "refuse")
        repo.git(*words)
        repo.write(SETTINGS, LOOSE)

    return arrange


def a_link_to_an_ignored_file(repo: Repo) -> None:
    (repo.path / SETTINGS).symlink_to("settings.log")
    repo.commit()
    repo.write("settings.log", LOOSE)


@pytest.mark.parametrize(
    "arrange",
    [
        untracked,
        ignored,
        ignored_in_the_place_of_a_tracked_one,
        tracked_then("status"),
        tracked_then("update-index", "--assume-unchanged", SETTINGS),
        tracked_then("update-index", "--skip-worktree", SETTINGS),
        tracked_then("rm", "--quiet", "--cached", SETTINGS),
        a_link_to_an_ignored_file,
    ],
    ids=["untracked", "ignored", "in place", "modified", "assumed", "skipped", "removed", "link"],
)
def test_settings_that_no_commit_holds_loosen_nothing(repo: Repo, arrange: Callable[[Repo], None]) -> None:
    arrange(repo)
    repo.write("helper.py")
    verdict = judge(str(repo.path))
    assert ("untracked", "helper.py") in codes(verdict)
    assert "no-remote" in {finding.code for finding in verdict.reasons + verdict.warnings}


def test_settings_that_no_commit_holds_may_tighten(repo: Repo) -> None:
    policy(repo, "no-remote", "ignore")
    repo.write(".git/info/exclude", "pyproject.toml")
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks]\nno-remote = "refuse"\n')
    assert reasons_at(repo.path) == [("no-remote", None)]


def test_a_commits_settings_count_through_a_link_to_its_own_file(repo: Repo) -> None:
    repo.write("conf/hooks.toml", LOOSE)
    (repo.path / SETTINGS).symlink_to("conf/hooks.toml")
    repo.commit()
    repo.write("helper.py")
    assert [w.code for w in judge(str(repo.path)).warnings] == ["untracked"]


def test_a_submodules_settings_loosen_nothing(repo: Repo, make_repo: Callable[..., Repo]) -> None:
    library = make_repo("library")
    library.write(SETTINGS, LOOSE)
    library.commit()
    repo.git("submodule", "--quiet", "add", str(library.path), "lib")
    repo.commit()
    repo.write("lib/helper.py")
    repo.write("helper.py")
    assert reasons_at(repo.path) == [("submodule", "lib/helper.py"), ("untracked", "helper.py")]


def test_a_policy_can_ask_for_every_file_to_be_hashed(repo: Repo) -> None:
    repo.write(SETTINGS, "paranoid = true\n")
    repo.commit()
    repo.write(TRAIN, "print('trainer')\n")
    os.utime(repo.path / TRAIN, (1e9, 1e9))
    repo.make_the_index_believe(TRAIN)

    assert reasons_at(repo.path) == [("unstaged", TRAIN)]


# The environment never chooses what is measured.


@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_DIR": "{clean}/.git"},
        {"GIT_DIR": "{clean}/.git", "GIT_WORK_TREE": "{clean}"},
        {"GIT_WORK_TREE": "{clean}"},
        {"GIT_INDEX_FILE": "{clean}/.git/index"},
        {"GIT_OBJECT_DIRECTORY": "{clean}/.git/objects"},
        {"GIT_COMMON_DIR": "{clean}/.git"},
        {"GIT_CEILING_DIRECTORIES": "{dirty}"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.worktree", "GIT_CONFIG_VALUE_0": "{clean}"},
        {"GIT_CONFIG_PARAMETERS": "'core.worktree={clean}'"},
        {"GIT_CONFIG_GLOBAL": "/nowhere", "GIT_CONFIG_SYSTEM": "/nowhere"},
        {"GIT_EXTERNAL_DIFF": "true", "GIT_LITERAL_PATHSPECS": "1", "GIT_PREFIX": "src/"},
        {"GIT_TRACE": "1", "GIT_TRACE2_EVENT": "2"},
        {"LANGUAGE": "de", "LC_ALL": "C.UTF-8"},
    ],
    ids=lambda variables: ",".join(variables),
)
def test_no_inherited_variable_points_the_gate_elsewhere(
    repo: Repo, tmp_path: Path, program: Callable[..., Ran], variables: dict[str, str]
) -> None:
    clean = tmp_path / "clean"
    repo.git("clone", "--quiet", str(repo.path), str(clean))
    repo.write(TRAIN, "print('other')\n")
    env = {name: value.format(clean=clean, dirty=repo.path) for name, value in variables.items()}
    done = program("check", "--json", env=env)
    document = json.loads(done.out)
    assert [(r["code"], r["path"]) for r in document["reasons"]] == [("unstaged", TRAIN)]
    assert document["provenance"]["commit"] == repo.git("rev-parse", "HEAD")
    repo.git("checkout", "--", TRAIN)
    assert program("check", env=env).code == 0


# The real program.


def test_the_json_has_exactly_its_documented_form(repo: Repo, program: Callable[..., Ran]) -> None:
    repo.write("helper.py")
    done = program("check", "--json")
    document = json.loads(done.out)
    assert list(document) == ["schema", "accepted", "reasons", "warnings", "provenance"]
    assert (document["schema"], document["accepted"]) == (1, False)
    for finding in document["reasons"] + document["warnings"]:
        assert list(finding) == FINDING_KEYS
    assert document["reasons"][0]["path"] == "helper.py"
    assert document["warnings"][0] == {
        "code": "no-remote",
        "path": None,
        "message": "no remote: nobody else can find this commit",
        "fix": "git remote add origin URL",
    }
    assert document["provenance"]["commit"] == repo.git("rev-parse", "HEAD")
    assert done.code == 1


def test_outside_a_repository_the_json_keeps_its_form(tmp_path: Path, program: Callable[..., Ran]) -> None:
    document = json.loads(program("check", "--json", cwd=tmp_path).out)
    assert document["provenance"] is None
    assert [finding["code"] for finding in document["reasons"]] == ["not-a-repository"]
    assert document["warnings"] == []


def test_the_exit_code_is_the_answer(repo: Repo, program: Callable[..., Ran]) -> None:
    assert program("check").code == 0
    assert program("check", "--paranoid").code == 0
    repo.write("helper.py")
    assert program("check").code == 1
    assert program("check", "--json").code == 1
    assert program("check", "--no-such-option").code == 2
    repo.write(".deriva-ml-hooks.toml", "unpushd = 1\n")
    done = program("check", "--json")
    assert (done.code, done.out) == (2, "")
    assert "unpushed" in done.err


def test_a_configuration_that_cannot_be_trusted_is_no_verdict(repo: Repo) -> None:
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks]\nunpushed = "sometimes"\n')
    repo.commit()
    with pytest.raises(ConfigError, match="unpushed"):
        judge(str(repo.path))


@pytest.mark.skipif(sys.platform == "darwin", reason="names that this system does not take")
def test_any_path_comes_back_from_the_json_byte_by_byte(repo: Repo, program: Callable[..., Ran]) -> None:
    names = [b"a b", b"new\nline", b'"q"', b"-dash", b"caf\xe9", "π".encode(), b"\x01\x7f"]
    for name in names:
        repo.write(os.fsdecode(name))
    document = json.loads(program("check", "--json").out)
    assert sorted(os.fsencode(reason["path"]) for reason in document["reasons"]) == sorted(names)
    told = program("check").err
    assert "caf\\xe9: not tracked" in told
    assert "new\\nline: not tracked" in told


def test_text_for_people_is_on_stderr_and_the_answer_on_stdout(
    repo: Repo, program: Callable[..., Ran]
) -> None:
    repo.write("helper.py")
    done = program("check")
    assert done.out == "refused\n"
    assert "helper.py: not tracked by git, not ignored\nfix: " in done.err
    (repo.path / "helper.py").unlink()
    assert program("check").out.startswith(f"accepted: {repo.git('rev-parse', '--short=12', 'HEAD')}  main")


# What it costs.


@pytest.fixture
def counted(tmp_path: Path) -> Callable[[], list[str]]:
    """Puts a git first on PATH that writes down its words and becomes the real one."""
    folder = tmp_path / "counting"
    folder.mkdir()
    log = folder / "log"
    wrapper = folder / "git"
    wrapper.write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec {shutil.which("git")} "$@"\n')
    wrapper.chmod(0o755)

    def calls() -> list[str]:
        found = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    calls.folder = str(folder)  # type: ignore[attr-defined]
    return calls


def elsewhere(repo: Repo) -> None:
    """The remote has gone on from where this commit branched off."""
    repo.push()
    repo.commit("Theirs")
    repo.push()
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    repo.commit("Mine")


def nothing(repo: Repo) -> None:
    pass


def tag(repo: Repo) -> None:
    repo.git("tag", "--annotate", "--message", "One", "v1.0.0")
    repo.commit("After the tag")


@pytest.mark.parametrize(
    ("arrange", "warm", "cold"),
    [(nothing, 3, 4), (tag, 4, 5), (elsewhere, 4, 5)],
)
def test_a_clean_repository_costs_few_git_processes(
    repo: Repo,
    remote: Repo,
    counted: Callable[[], list[str]],
    program: Callable[..., Ran],
    arrange: Callable[[Repo], None],
    warm: int,
    cold: int,
) -> None:
    arrange(repo)
    path = counted.folder + os.pathsep + os.environ["PATH"]  # type: ignore[attr-defined]
    assert program("check", env={"PATH": path}).code == 0
    assert len(counted()) == cold
    assert program("check", env={"PATH": path}).code == 0
    assert len(counted()) == warm


def test_checking_leaves_nothing_in_the_git_directory_but_its_cache(
    repo: Repo, program: Callable[..., Ran]
) -> None:
    def everything() -> dict[str, Any]:
        return {
            str(path.relative_to(repo.path)): (path.stat().st_mtime_ns, path.read_bytes())
            for path in repo.path.rglob("*")
            if path.is_file()
        }

    os.utime(repo.path / TRAIN, (1e9, 1e9))
    before = everything()
    assert program("check").code == 0
    after = everything()
    assert after.keys() - before.keys() == {".git/deriva-ml-hooks/provenance.json"}
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("kind", ["sha1", "sha256"])
def test_without_a_git_program_everything_is_refused(
    make_repo: Callable[..., Repo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    repo = make_repo("hashed", f"--object-format={kind}")
    repo.commit("First", **{"a.py": "pass\n"})
    monkeypatch.setenv("PATH", str(tmp_path / "no programs"))
    (reason,) = judge(str(repo.path)).reasons
    assert (reason.code, reason.message) == ("git-error", "git: not found on PATH")
    assert reason.fix == "install git, or put it on PATH"


def test_a_configured_remote_that_is_not_here_is_no_remote(
    repo: Repo, remote: Repo, program: Callable[..., Ran]
) -> None:
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks]\nremote = "upstrem"\nno-remote = "refuse"\n')
    repo.commit("Configure")
    repo.push()
    ran = program("check", "--json")
    assert ran.code == 1
    reason = json.loads(ran.out)["reasons"][0]
    assert reason["code"] == "no-remote"
    assert "upstrem" in reason["message"]
