"""Version tags: real pushes to bare remotes through a real pre-push script, and whole repositories."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Ran, Repo

HOOK = ("hook", "check-version-tags")


@pytest.fixture(autouse=True)
def not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that are about CI say so."""
    monkeypatch.delenv("CI", raising=False)


def guard(repo: Repo, *options: str) -> None:
    """Have git run the hook before each push of `repo`; what it printed is kept in pushed.log."""
    words = shlex.join([sys.executable, "-m", "deriva_ml_hooks", *HOOK, "--json", *options])
    hook = repo.git_dir / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    log = shlex.quote(str(repo.git_dir / "pushed.log"))
    hook.write_text(f'#!/bin/sh\nexec {words} --pre-push "$1" "$2" >{log}\n')
    hook.chmod(0o755)


def push(repo: Repo, *words: str, options: tuple[str, ...] = (), cwd: Path | None = None) -> list[str]:
    """The codes that a push is refused with; a push that goes through has none."""
    guard(repo, *options)
    done = subprocess.run(
        ["git", "push", "--quiet", *words], cwd=cwd or repo.path, capture_output=True, check=False
    )
    log = repo.git_dir / "pushed.log"
    found = json.loads(log.read_text()) if log.exists() else []
    log.unlink(missing_ok=True)
    assert bool(done.returncode) == bool(found), done.stderr.decode()
    return [finding["code"] for finding in found]


def tag(repo: Repo, *names: str, at: str = "HEAD") -> None:
    """Make annotated tags."""
    for name in names:
        repo.git("tag", "--annotate", "--message", name, name, at)


def there(remote: Repo) -> list[str]:
    """The tags of the remote."""
    return remote.git("tag", "--list").split()


PUSHES: dict[str, tuple[Callable[[Repo], object], tuple[str, ...], list[str]]] = {
    "a branch": (lambda r: r.commit("Third"), ("origin", "main"), []),
    "a new branch": (lambda r: r.git("branch", "feature/x"), ("origin", "feature/x"), []),
    "several branches": (lambda r: (r.git("branch", "a"), r.git("branch", "b")), ("origin", "a", "b"), []),
    "a branch and its tag": (
        lambda r: (r.commit("Third"), tag(r, "v1.0.0")),
        ("origin", "main", "v1.0.0"),
        [],
    ),
    "a branch and a tag further back": (
        lambda r: (r.commit("Third"), tag(r, "v1.0.0"), r.commit("Fourth")),
        ("origin", "main", "v1.0.0"),
        [],
    ),
    "a tag alone on a pushed commit": (lambda r: tag(r, "v1.0.0"), ("origin", "v1.0.0"), []),
    "a tag alone on an older pushed commit": (
        lambda r: tag(r, "v1.0.0", at="HEAD~1"),
        ("origin", "v1.0.0"),
        [],
    ),
    "all tags": (lambda r: (tag(r, "v1.0.0", at="HEAD~1"), tag(r, "v1.1.0")), ("origin", "--tags"), []),
    "following tags": (
        lambda r: (r.commit("Third"), tag(r, "v1.0.0")),
        ("origin", "main", "--follow-tags"),
        [],
    ),
    "following tags with a crooked one": (
        lambda r: (r.commit("Third"), tag(r, "1.0")),
        ("origin", "main", "--follow-tags"),
        ["tag-spelling"],
    ),
    "several refs, one of them crooked": (
        lambda r: (r.git("branch", "a"), tag(r, "v1.0.0", at="HEAD~1"), r.git("tag", "v1.1.0")),
        ("origin", "main", "a", "v1.0.0", "v1.1.0"),
        ["lightweight-tag"],
    ),
    "a branch beside crooked tags that stay here": (
        lambda r: (r.git("tag", "v2"), r.git("tag", "1.2"), tag(r, "V3.0.0"), r.commit("Third")),
        ("origin", "main"),
        [],
    ),
    "a straight tag beside crooked tags that stay here": (
        lambda r: (r.git("tag", "1.2", "HEAD~1"), tag(r, "V3.0.0", at="HEAD~1"), tag(r, "v1.0.0")),
        ("origin", "v1.0.0"),
        [],
    ),
    "a tag on a commit that the remote lacks": (
        lambda r: (r.commit("Third"), tag(r, "v1.0.0")),
        ("origin", "v1.0.0"),
        ["unpublished-commit"],
    ),
    "a tag whose branch is not the one pushed": (
        lambda r: (r.git("branch", "side"), r.commit("Third"), tag(r, "v1.0.0")),
        ("origin", "side", "v1.0.0"),
        ["unpublished-commit"],
    ),
    "a tag on a commit that no branch has": (
        lambda r: (r.git("checkout", "--quiet", "--detach"), r.commit("Third"), tag(r, "v1.0.0")),
        ("origin", "v1.0.0"),
        ["stray-commit"],
    ),
    "a tag from a detached HEAD on a pushed commit": (
        lambda r: (r.git("checkout", "--quiet", "--detach", "HEAD~1"), tag(r, "v1.0.0")),
        ("origin", "v1.0.0"),
        [],
    ),
    "HEAD as a lightweight version": (
        lambda r: None,
        ("origin", "HEAD:refs/tags/v1.0.0"),
        ["lightweight-tag"],
    ),
    "a lightweight version": (lambda r: r.git("tag", "v1.0.0"), ("origin", "v1.0.0"), ["lightweight-tag"]),
    "a version on a tree": (
        lambda r: tag(r, "v1.0.0", at="HEAD^{tree}"),
        ("origin", "v1.0.0"),
        ["tag-not-on-commit"],
    ),
    "a lightweight version on a blob": (
        lambda r: r.git("tag", "v1.0.0", "HEAD:README.md"),
        ("origin", "v1.0.0"),
        ["tag-not-on-commit"],
    ),
    "a version on another tag": (
        lambda r: (tag(r, "good"), tag(r, "v1.0.0", at="good")),
        ("origin", "v1.0.0"),
        ["nested-tag"],
    ),
    "a version that is another tag's object": (
        lambda r: (tag(r, "good"), r.git("tag", "v1.0.0", "good")),
        ("origin", "v1.0.0"),
        ["borrowed-tag"],
    ),
    "a tag renamed on the way": (
        lambda r: tag(r, "good"),
        ("origin", "good:refs/tags/v1.0.0"),
        ["borrowed-tag"],
    ),
    "two versions of one commit": (
        lambda r: tag(r, "v1.0.0", "v1.1.0"),
        ("origin", "v1.0.0", "v1.1.0"),
        ["several-versions"],
    ),
    "a second version of a commit": (
        lambda r: (tag(r, "v1.0.0"), r.push("origin", "v1.0.0"), tag(r, "v1.1.0")),
        ("origin", "v1.1.0"),
        ["several-versions"],
    ),
    "a version lower than one it contains": (
        lambda r: (tag(r, "v2.0.0", at="HEAD~1"), tag(r, "v1.9.0")),
        ("origin", "v1.9.0"),
        ["lower-version"],
    ),
    "a version lower than one far below it": (
        lambda r: (tag(r, "v1.10.0", at="HEAD~1"), r.commit("Third"), r.commit("Fourth"), tag(r, "v1.9.0")),
        ("origin", "main", "v1.9.0"),
        ["lower-version"],
    ),
    "a version lower than one on another branch": (
        lambda r: (
            tag(r, "v2.0.0"),
            r.git("switch", "--quiet", "-c", "maintenance", "HEAD~1"),
            r.commit("Backport"),
            tag(r, "v1.9.1"),
        ),
        ("origin", "maintenance", "v1.9.1", "v2.0.0"),
        [],
    ),
    "a version on a merge of a higher one": (
        lambda r: (
            r.git("switch", "--quiet", "-c", "side", "HEAD~1"),
            r.commit("Side", side="1\n"),
            tag(r, "v3.0.0"),
            r.git("switch", "--quiet", "main"),
            r.git("merge", "--quiet", "--message", "Merge", "side"),
            tag(r, "v2.0.0"),
        ),
        ("origin", "main", "v2.0.0"),
        ["lower-version"],
    ),
    "other tags": (
        lambda r: [r.git("tag", name) for name in ("exp-1", "data-2026", "2026-11-23", "nightly", "exp-1.2")],
        ("origin", "--tags"),
        [],
    ),
    "another tag on a blob": (lambda r: r.git("tag", "key", "HEAD:README.md"), ("origin", "key"), []),
    "a branch that is called like a version": (
        lambda r: r.git("branch", "1.2"),
        ("origin", "1.2"),
        [],
    ),
    "a pre-release": (lambda r: tag(r, "v1.0.0-rc.1"), ("origin", "v1.0.0-rc.1"), ["pre-release"]),
}


@pytest.mark.parametrize("case", PUSHES)
def test_a_push_of(case: str, repo: Repo, remote: Repo) -> None:
    prepare, words, codes = PUSHES[case]
    prepare(repo)
    before = there(remote)
    assert push(repo, *words) == codes
    if codes:
        assert there(remote) == before


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("1.2", "v1.2.0"),
        ("1.2.0", "v1.2.0"),
        ("V1.2.0", "v1.2.0"),
        ("v01.2.3", "v1.2.3"),
        ("v9.8.7+meta+meta", "v9.8.7+meta.meta"),
        ("v1.2", "v1.2.0"),
        ("v1", "v1.0.0"),
        ("v1.2.3.4", "v1.2.3"),
        ("v.1.2.3", "v1.2.3"),
        ("release-1.2.3", "v1.2.3"),
        ("Release/v1.2", "v1.2.0"),
        ("2026.11.03", "v2026.11.3"),
        ("v1.2.3+cu.118_1", "v1.2.3+cu.118.1"),
        ("v1.2.3_final", "v1.2.3"),
    ],
)
def test_a_look_alike_is_named_with_its_right_spelling_and_its_fix_works(
    repo: Repo, remote: Repo, program: Callable[..., Ran], name: str, right: str
) -> None:
    tag(repo, name)
    assert push(repo, "origin", f"refs/tags/{name}") == ["tag-spelling"]
    (finding,) = json.loads(program(*HOOK, "--json").out)
    assert finding["message"] == f"{name} is not spelled as a version tag: {right}"
    subprocess.run(finding["fix"], shell=True, cwd=repo.path, check=True, capture_output=True)
    assert there(remote) == [right]
    assert program(*HOOK).code == 0


@pytest.mark.parametrize(
    ("prefix", "good", "bad", "other"),
    [
        ("", "1.2.0", "v1.2.0", "exp-1.2"),
        ("", "1.2.0", "1.2", "2026"),
        ("model-v", "model-v1.2.0", "v1.2.0", "data-v1.2.0"),
        ("model-v", "model-v1.2.0", "Model-V1.2.0", "exp-1"),
        ("model-v", "model-v1.2.0", "model-1.2.0", "model-a"),
        ("release/", "release/1.2.0", "release-1.2.0", "nightly"),
    ],
)
def test_a_prefix_of_their_own_decides_what_is_a_version(
    repo: Repo, remote: Repo, prefix: str, good: str, bad: str, other: str
) -> None:
    repo.write("pyproject.toml", f'[tool.deriva-ml-hooks.check-version-tags]\nprefix = "{prefix}"\n')
    repo.commit("Configure")
    repo.push()
    repo.git("tag", other)
    assert push(repo, "origin", f"refs/tags/{other}") == []
    tag(repo, bad)
    assert push(repo, "origin", f"refs/tags/{bad}") == ["tag-spelling"]
    repo.git("tag", "--delete", bad)
    tag(repo, good)
    assert push(repo, "origin", f"refs/tags/{good}") == []


def test_pre_releases_pass_when_they_are_allowed_and_come_before_their_release(
    repo: Repo, remote: Repo
) -> None:
    allowed = ("--allow-pre-releases",)
    tag(repo, "v1.0.0-rc.2", at="HEAD~1")
    tag(repo, "v1.0.0-rc.10")
    assert push(repo, "origin", "--tags", options=allowed) == []
    repo.commit("Third")
    tag(repo, "v1.0.0-rc.9")
    assert push(repo, "origin", "main", "v1.0.0-rc.9", options=allowed) == ["lower-version"]
    repo.git("tag", "--delete", "v1.0.0-rc.9")
    tag(repo, "v1.0.0")
    assert push(repo, "origin", "main", "v1.0.0", options=allowed) == []
    repo.write("pyproject.toml", "[tool.deriva-ml-hooks.check-version-tags]\nallow-pre-releases = true\n")
    repo.commit("Configure")
    tag(repo, "v1.1.0-beta")
    assert push(repo, "origin", "v1.1.0-beta", options=("--no-allow-pre-releases",))[0] == "pre-release"
    assert push(repo, "origin", "main", "v1.1.0-beta") == []


def test_a_published_version_never_moves(repo: Repo, remote: Repo, program: Callable[..., Ran]) -> None:
    tag(repo, "v1.0.0", at="HEAD~1")
    repo.push("origin", "v1.0.0")
    published = remote.git("rev-parse", "v1.0.0")
    repo.git("tag", "--force", "--annotate", "--message", "moved", "v1.0.0", "HEAD")
    assert push(repo, "--force", "origin", "v1.0.0") == ["moved-version"]
    assert push(repo, "origin", "main", "+refs/tags/*:refs/tags/*") == ["moved-version"]
    repo.git("tag", "--force", "--annotate", "--message", "again, same commit", "v1.0.0", "HEAD~1")
    assert push(repo, "--force", "origin", "v1.0.0") == ["moved-version"]
    assert remote.git("rev-parse", "v1.0.0") == published


def test_the_fix_of_a_moved_version_tags_the_next_one_and_brings_the_old_one_back(
    repo: Repo, remote: Repo
) -> None:
    tag(repo, "v1.0.0", at="HEAD~1")
    repo.push("origin", "v1.0.0")
    repo.git("tag", "--force", "--annotate", "--message", "moved", "v1.0.0", "HEAD")
    line = f"refs/tags/v1.0.0 {repo.git('rev-parse', 'v1.0.0')} refs/tags/v1.0.0 "
    line += remote.git("rev-parse", "v1.0.0") + "\n"
    (finding,) = of_lines(repo, line)
    subprocess.run(finding["fix"], shell=True, cwd=repo.path, check=True, capture_output=True)
    assert repo.git("rev-parse", "v1.0.0") == remote.git("rev-parse", "v1.0.0")
    assert push(repo, "origin", "--tags") == []
    assert there(remote) == ["v1.0.0", "v1.0.1"]


def of_lines(repo: Repo, stdin: str) -> list[dict[str, str]]:
    """The findings on ref updates as git would tell of them."""
    words = [sys.executable, "-m", "deriva_ml_hooks", *HOOK, "--json", "--pre-push", "origin", "origin"]
    done = subprocess.run(words, cwd=repo.path, input=stdin.encode(), capture_output=True, check=False)
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def test_a_published_lightweight_version_may_become_annotated_on_its_commit_only(
    repo: Repo, remote: Repo
) -> None:
    repo.git("tag", "v1.0.0", "HEAD~1")
    repo.push("origin", "v1.0.0")
    repo.git("tag", "-f", "-a", "-m", "x", "v1.0.0", "HEAD")
    assert push(repo, "--force", "origin", "v1.0.0") == ["moved-version"]
    repo.git("tag", "-f", "-a", "-m", "x", "v1.0.0", "HEAD~1")
    assert push(repo, "--force", "origin", "v1.0.0") == []
    assert remote.git("cat-file", "-t", "v1.0.0") == "tag"


def test_a_published_version_does_not_vanish(repo: Repo, remote: Repo) -> None:
    tag(repo, "v1.0.0")
    repo.push("origin", "v1.0.0")
    assert push(repo, "--delete", "origin", "v1.0.0") == ["deleted-version"]
    repo.git("tag", "--delete", "v1.0.0")
    assert push(repo, "origin", ":refs/tags/v1.0.0") == ["deleted-version"]
    assert push(repo, "--prune", "origin", "refs/tags/*:refs/tags/*") == ["deleted-version"]
    assert there(remote) == ["v1.0.0"]


def test_git_tells_no_hook_of_what_a_mirror_push_deletes(repo: Repo, remote: Repo) -> None:
    tag(repo, "v1.0.0")
    repo.push("origin", "v1.0.0")
    repo.git("tag", "--delete", "v1.0.0")
    assert push(repo, "--mirror", "origin") == []
    assert there(remote) == []


@pytest.mark.parametrize("name", ["1.2", "exp-1", "v1.0.0-rc.1", "V1.0.0"])
def test_what_is_no_version_may_be_deleted(repo: Repo, remote: Repo, name: str) -> None:
    tag(repo, name)
    repo.push("origin", f"refs/tags/{name}")
    assert push(repo, "--delete", "origin", f"refs/tags/{name}") == []
    assert there(remote) == []


def test_a_version_that_breaks_the_rules_may_be_deleted(repo: Repo, remote: Repo) -> None:
    repo.git("tag", "v1.0.0")
    tag(repo, "v1.1.0", at="HEAD~1")
    repo.push("origin", "--tags")
    assert push(repo, "--delete", "origin", "v1.0.0") == []
    assert push(repo, "--delete", "origin", "v1.1.0") == ["deleted-version"]


def test_a_published_version_does_not_vanish_because_of_a_twin(repo: Repo, remote: Repo) -> None:
    tag(repo, "v1.0.0")
    repo.push("origin", "--tags")
    tag(repo, "v1.1.0")
    assert push(repo, "--delete", "origin", "v1.0.0") == ["deleted-version"]
    assert there(remote) == ["v1.0.0"]


@pytest.mark.parametrize(
    ("published", "slip", "options"),
    [
        ("v1.0.0", "v1.1.0", ()),
        ("v1.1.0", "v1.0.0", ()),
        ("", "v1.1.0", ()),
        ("", "v1.1.0-rc.1", ()),
        ("", "v1.0.0-rc.1", ()),
        ("v1.0.0-rc.1", "v1.0.0", ("--allow-pre-releases",)),
    ],
)
@pytest.mark.parametrize("answers", [True, False])
def test_of_two_versions_of_a_commit_the_slip_is_taken_back_and_nothing_of_the_remotes(
    repo: Repo,
    remote: Repo,
    program: Callable[..., Ran],
    published: str,
    slip: str,
    options: tuple[str, ...],
    answers: bool,
) -> None:
    tag(repo, published or "v1.0.0")
    if published:
        repo.push("origin", published)
    tag(repo, slip)
    if not answers:
        remote.path.rename(remote.path.with_suffix(".away"))
    found = json.loads(program(*HOOK, "--json", *options).out)
    (fix,) = [finding["fix"] for finding in found if finding["code"] == "several-versions"]
    assert "push" not in fix
    if answers or not published:
        assert fix.partition(";")[0] == f"git tag -d {slip}"


def test_of_two_published_versions_of_a_commit_both_stay(
    repo: Repo, remote: Repo, program: Callable[..., Ran]
) -> None:
    tag(repo, "v1.0.0", "v1.1.0")
    repo.push("origin", "--tags")
    (finding,) = json.loads(program(*HOOK, "--json").out)
    assert finding["fix"] == "published ones stay"


def test_a_push_takes_back_what_it_sends_and_not_what_is_published(repo: Repo, remote: Repo) -> None:
    tag(repo, "v1.1.0")
    repo.push("origin", "v1.1.0")
    tag(repo, "v1.0.0", "v1.2.0")
    (finding,) = of_lines(repo, new_tags(repo, "v1.0.0", "v1.2.0"))[-1:]
    fixed = "git tag -d v1.0.0 && git tag -d v1.2.0"
    assert (finding["code"], finding["fix"]) == ("several-versions", fixed)


def new_tags(repo: Repo, *names: str) -> str:
    """The ref updates of a push of tags that the remote does not have."""
    oids = [repo.git("rev-parse", f"refs/tags/{name}") for name in names]
    lines = [f"refs/tags/{n} {o} refs/tags/{n} {'0' * 40}\n" for n, o in zip(names, oids, strict=True)]
    return "".join(lines)


@pytest.mark.parametrize("right", [None, "v0.2.0"])
def test_look_alikes_of_one_commit_are_not_all_told_to_name_it_and_the_fixes_work(
    repo: Repo, remote: Repo, program: Callable[..., Ran], right: str | None
) -> None:
    tag(repo, "1.2", "V1.2.0", "release-1.3", *([right] if right else []))
    repo.push("origin", "--tags")
    found = json.loads(program(*HOOK, "--json").out)
    assert {finding["code"] for finding in found} == {"tag-spelling"}
    for finding in found:
        subprocess.run(finding["fix"], shell=True, cwd=repo.path, check=True, capture_output=True)
    assert there(remote) == repo.git("tag").split() == [right or "v1.2.0"]
    assert program(*HOOK).code == 0


def test_look_alikes_of_several_commits_are_not_told_to_take_one_name(
    repo: Repo, remote: Repo, program: Callable[..., Ran]
) -> None:
    tag(repo, "1.2", at="HEAD~1")
    tag(repo, "V1.2.0")
    for finding in json.loads(program(*HOOK, "--json").out):
        subprocess.run(finding["fix"], shell=True, cwd=repo.path, check=False, capture_output=True)
    assert repo.git("tag").split() == ["v1.2.0", "v1.2.1"]


def test_a_commit_that_only_the_remote_knows_to_be_published_needs_no_tracking_ref(
    repo: Repo, remote: Repo
) -> None:
    tag(repo, "v1.0.0")
    for ref in repo.git("for-each-ref", "--format=%(refname)", "refs/remotes").split():
        repo.git("update-ref", "-d", ref)
    assert push(repo, "origin", "v1.0.0") == []
    repo.commit("Third")
    tag(repo, "v1.1.0")
    assert push(repo, str(remote.path), "v1.1.0") == ["unpublished-commit"]
    assert push(repo, str(remote.path), "main", "v1.1.0") == []


def test_the_fix_of_an_unpublished_commit_pushes_branch_and_tag(repo: Repo, remote: Repo) -> None:
    repo.commit("Third")
    tag(repo, "v1.0.0")
    line = f"refs/tags/v1.0.0 {repo.git('rev-parse', 'v1.0.0')} refs/tags/v1.0.0 {'0' * 40}\n"
    (finding,) = of_lines(repo, line)
    assert finding["fix"] == "git push origin main refs/tags/v1.0.0"
    guard(repo)
    subprocess.run(finding["fix"], shell=True, cwd=repo.path, check=True, capture_output=True)
    assert there(remote) == ["v1.0.0"]


def test_a_remote_that_does_not_answer_is_no_crash(repo: Repo, remote: Repo) -> None:
    repo.commit("Third")
    tag(repo, "v1.0.0")
    remote.path.rename(remote.path.with_suffix(".away"))
    line = f"refs/tags/v1.0.0 {repo.git('rev-parse', 'v1.0.0')} refs/tags/v1.0.0 {'0' * 40}\n"
    assert [finding["code"] for finding in of_lines(repo, line)] == ["unpublished-commit"]
    main = f"refs/heads/main {repo.git('rev-parse', 'main')} refs/heads/main {'0' * 40}\n"
    assert of_lines(repo, line + main) == []


@pytest.mark.parametrize("name", ["v1.0.0", "1.0"])
def test_sha256_repositories_are_judged_alike(
    make_repo: Callable[..., Repo], program: Callable[..., Ran], name: str
) -> None:
    repo = make_repo("new", "--object-format=sha256")
    bare = make_repo("new.git", "--object-format=sha256", "--bare")
    repo.git("remote", "add", "origin", str(bare.path))
    repo.commit("First")
    repo.push()
    tag(repo, name)
    right = name == "v1.0.0"
    assert push(repo, "origin", name) == ([] if right else ["tag-spelling"])
    repo.commit("Second")
    repo.git("tag", "-f", "-a", "-m", "moved", name)
    if right:
        assert push(repo, "--force", "origin", "main", name) == ["moved-version"]
        assert push(repo, "--delete", "origin", name) == ["deleted-version"]


def test_a_linked_worktree_pushes_under_the_same_rules(repo: Repo, remote: Repo) -> None:
    repo.git("worktree", "add", "--quiet", "../linked", "-b", "feature/x")
    linked = repo.path.parent / "linked"
    tag(repo, "1.2")
    assert push(repo, "origin", "feature/x", "1.2", cwd=linked) == ["tag-spelling"]
    repo.git("tag", "--delete", "1.2")
    tag(repo, "v1.2.0")
    assert push(repo, "origin", "feature/x", "v1.2.0", cwd=linked) == []


def test_a_push_with_git_dir_set_is_about_that_repository(
    repo: Repo, remote: Repo, make_repo: Callable[..., Repo], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = make_repo("elsewhere")
    tag(repo, "1.2")
    guard(repo)
    monkeypatch.setenv("GIT_DIR", str(repo.git_dir))
    monkeypatch.setenv("GIT_WORK_TREE", str(repo.path))
    assert push(repo, "origin", "1.2", cwd=elsewhere.path) == ["tag-spelling"]
    tag(repo, "v1.2.0")
    assert push(repo, "origin", "v1.2.0", cwd=elsewhere.path) == []


def test_a_push_out_of_a_bare_repository_is_judged_too(
    repo: Repo, remote: Repo, make_repo: Callable[..., Repo]
) -> None:
    tag(repo, "v1.0.0")
    tag(repo, "1.2", at="HEAD~1")
    repo.push("origin", "--tags")
    mirror = make_repo("mirror.git", "--bare")
    remote.git("remote", "add", "origin", str(mirror.path))
    assert push(remote, "origin", "main", "v1.0.0") == []
    assert push(remote, "origin", "1.2") == ["tag-spelling"]


def test_a_first_push_of_everything_is_judged_whole(repo: Repo, make_repo: Callable[..., Repo]) -> None:
    bare = make_repo("first.git", "--bare")
    repo.git("remote", "add", "origin", str(bare.path))
    for number in range(40):
        repo.commit(f"Commit {number}")
        tag(repo, f"v1.{number}.0")
    assert push(repo, "origin", "main", "--tags") == []
    assert len(there(bare)) == 40


def test_a_tag_whose_commit_says_another_version_is_stopped_before_it_is_out(
    repo: Repo, remote: Repo
) -> None:
    repo.write("pyproject.toml", '[project]\nname = "x"\nversion = "1.0.0"\n')
    repo.commit("Package")
    tag(repo, "v1.1.0")
    assert push(repo, "origin", "main", "v1.1.0") == ["contradicted-version"]
    repo.git("tag", "--delete", "v1.1.0")
    tag(repo, "v1.0.0")
    assert push(repo, "origin", "main", "v1.0.0") == []


# --- whole repositories -------------------------------------------------------------------------------


def codes(ran: Ran) -> list[str]:
    """The codes of findings printed as JSON."""
    found = [finding["code"] for finding in json.loads(ran.out)]
    assert ran.code == (1 if found else 0)
    return found


def test_a_straight_repository_passes_without_a_word(repo: Repo, program: Callable[..., Ran]) -> None:
    tag(repo, "v1.0.0", at="HEAD~1")
    tag(repo, "v1.1.0")
    repo.git("tag", "exp-1")
    repo.git("tag", "key", "HEAD:README.md")
    ran = program(*HOOK)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert program(*HOOK, env={"CI": "true"}).code == 0


def test_every_rule_is_held_against_all_tags(repo: Repo, program: Callable[..., Ran]) -> None:
    tag(repo, "v2.0.0", at="HEAD~1")
    tag(repo, "v1.0.0")
    repo.git("tag", "v3.0.0", "HEAD")
    tag(repo, "4.0")
    repo.git("tag", "v5.0.0", "HEAD:README.md")
    repo.git("checkout", "--quiet", "--detach")
    repo.commit("Nowhere")
    tag(repo, "v6.0.0")
    repo.git("switch", "--quiet", "main")
    found = codes(program(*HOOK, "--json"))
    assert sorted(found) == [
        "lightweight-tag",
        "lower-version",
        "several-versions",
        "stray-commit",
        "tag-not-on-commit",
        "tag-spelling",
    ]


def test_a_repository_without_commits_or_tags_has_nothing_wrong(
    make_repo: Callable[..., Repo], program: Callable[..., Ran]
) -> None:
    assert program(*HOOK, cwd=make_repo("empty").path).code == 0


@pytest.mark.parametrize("ci", [{"CI": "true"}, {"CI": "1"}, {"GITHUB_ACTIONS": "true"}])
def test_ci_says_how_to_fetch_what_a_shallow_clone_lacks_and_that_mends_it(
    repo: Repo, remote: Repo, program: Callable[..., Ran], tmp_path: Path, ci: dict[str, str]
) -> None:
    tag(repo, "v1.0.0", at="HEAD~1")
    repo.push("origin", "v1.0.0")
    shallow = type(repo)(tmp_path / "shallow")
    repo.git("clone", "--quiet", "--depth", "1", f"file://{remote.path}", str(shallow.path))
    assert codes(program(*HOOK, "--json", cwd=shallow.path, env=ci)) == ["shallow-clone"]
    ran = program(*HOOK, cwd=shallow.path, env=ci)
    assert "fetch-depth: 0" in ran.out
    assert program(*HOOK, cwd=shallow.path).code == 0
    command = ran.out.partition("fix: ")[2].partition(" (")[0]
    subprocess.run(command, shell=True, cwd=shallow.path, check=True, capture_output=True)
    assert program(*HOOK, cwd=shallow.path, env=ci).code == 0


def test_ci_says_how_to_fetch_the_tags_that_a_clone_lacks(
    repo: Repo, remote: Repo, program: Callable[..., Ran], tmp_path: Path
) -> None:
    tag(repo, "v1.0.0")
    repo.push("origin", "v1.0.0")
    clone = type(repo)(tmp_path / "tagless")
    repo.git("clone", "--quiet", "--no-tags", str(remote.path), str(clone.path))
    assert program(*HOOK, cwd=clone.path).code == 0
    assert program(*HOOK, cwd=clone.path, env={"CI": "false"}).code == 0
    clone.git("tag", "exp-1")
    assert codes(program(*HOOK, "--json", cwd=clone.path, env={"CI": "true"})) == ["no-version-tags"]
    assert "git fetch --tags" in program(*HOOK, cwd=clone.path, env={"CI": "true"}).out
    clone.git("fetch", "--quiet", "--tags")
    assert program(*HOOK, cwd=clone.path, env={"CI": "true"}).code == 0


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ('[project]\nname = "x"\nversion = "1.0.0"\n', []),
        ('[project]\nname = "x"\nversion = "1.0"\n', []),
        ('[project]\nname = "x"\nversion = "1.0.1"\n', ["contradicted-version"]),
        ('[project]\nname = "x"\nversion = "1.0.0rc1"\n', ["contradicted-version"]),
        ('[project]\nname = "x"\nversion = "1.0.0"\n[tool.setuptools_scm]\n', ["static-version"]),
        ('[project]\nname = "x"\nversion = "1.0.0"\ndynamic = ["version"]\n', ["static-version"]),
        ('[project]\nname = "x"\ndynamic = ["version"]\n[tool.setuptools_scm]\n', []),
        ("[tool.setuptools_scm]\n", []),
        ('project = "odd"\ntool = 3\n', []),
    ],
)
def test_a_version_in_pyproject_toml_must_not_contradict_the_tag_or_setuptools_scm(
    repo: Repo, program: Callable[..., Ran], document: str, found: list[str]
) -> None:
    repo.write("pyproject.toml", document)
    repo.commit("Package")
    tag(repo, "v1.0.0")
    ran = program(*HOOK, "--json")
    assert codes(ran) == found
    assert all(finding["path"] == "pyproject.toml" for finding in json.loads(ran.out))


def test_a_static_version_alone_is_fine_between_tags(repo: Repo, program: Callable[..., Ran]) -> None:
    tag(repo, "v1.0.0")
    repo.write("pyproject.toml", '[project]\nname = "x"\nversion = "1.0.1"\n')
    repo.commit("Work on")
    assert program(*HOOK).code == 0


def test_a_pre_release_written_as_python_has_it_agrees_with_its_tag(
    repo: Repo, program: Callable[..., Ran]
) -> None:
    repo.write("pyproject.toml", '[project]\nname = "x"\nversion = "1.0.0rc1"\n')
    repo.commit("Package")
    tag(repo, "v1.0.0-rc.1")
    assert program(*HOOK, "--allow-pre-releases").code == 0


# --- under pre-commit ---------------------------------------------------------------------------------


@pytest.fixture
def under_pre_commit(repo: Repo, remote: Repo) -> Repo:
    """`repo` with pre-commit's own pre-push hook in place, running check-version-tags."""
    entry = shlex.join([sys.executable, "-m", "deriva_ml_hooks", *HOOK])
    repo.write(
        ".pre-commit-config.yaml",
        "repos:\n- repo: local\n  hooks:\n  - id: tags\n    name: tags\n    language: system\n"
        f"    entry: {entry}\n    always_run: true\n    pass_filenames: false\n"
        "    stages: [pre-push, manual]\n",
    )
    repo.commit("Configure")
    repo.push()
    words = [sys.executable, "-m", "pre_commit", "install", "--hook-type", "pre-push"]
    subprocess.run(words, cwd=repo.path, check=True, capture_output=True)
    return repo


def pushed_under_pre_commit(repo: Repo, *words: str) -> tuple[int, str]:
    done = subprocess.run(["git", "push", *words], cwd=repo.path, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        ("v1.0.0", ("origin", "main", "--follow-tags"), 0),
        ("1.0", ("origin", "main"), 0),
        ("exp-1", ("origin", "main", "--follow-tags"), 0),
        ("v1.0.0", ("origin", "v1.0.0"), 0),
        ("V1.0.0", ("origin", "V1.0.0"), 1),
    ],
)
def test_the_tag_that_is_pushed_is_judged_under_pre_commit(
    under_pre_commit: Repo, remote: Repo, name: str, words: tuple[str, ...], code: int
) -> None:
    under_pre_commit.commit("Third")
    tag(under_pre_commit, name)
    returned, said = pushed_under_pre_commit(under_pre_commit, *words)
    assert returned == code, said
    assert ("is not spelled as a version tag" in said) == bool(code)
    assert (name in there(remote)) == (not code and words[1:] != ("main",))


def test_a_crooked_tag_further_back_does_not_stop_a_branch_under_pre_commit(
    under_pre_commit: Repo, remote: Repo
) -> None:
    tag(under_pre_commit, "1.0")
    under_pre_commit.commit("Third")
    assert pushed_under_pre_commit(under_pre_commit, "origin", "main")[0] == 0


def test_a_moved_version_with_new_commits_is_stopped_under_pre_commit(
    under_pre_commit: Repo, remote: Repo
) -> None:
    tag(under_pre_commit, "v1.0.0")
    under_pre_commit.push("--no-verify", "origin", "v1.0.0")
    under_pre_commit.commit("Third")
    under_pre_commit.git("tag", "-f", "-a", "-m", "moved", "v1.0.0")
    returned, said = pushed_under_pre_commit(under_pre_commit, "--force", "origin", "v1.0.0")
    assert returned == 1
    assert "a published version never moves" in said


@pytest.mark.usefixtures("git_for_pre_commit")
def test_a_first_push_with_a_root_commit_is_stopped_only_over_its_tag_under_pre_commit(
    under_pre_commit: Repo, make_repo: Callable[..., Repo]
) -> None:
    bare = make_repo("other.git", "--bare")
    under_pre_commit.git("remote", "add", "other", str(bare.path))
    tag(under_pre_commit, "1.0")
    assert pushed_under_pre_commit(under_pre_commit, "other", "1.0")[0] == 1
    assert pushed_under_pre_commit(under_pre_commit, "other", "main")[0] == 0


def test_a_range_of_a_pull_request_at_the_manual_stage_is_a_check_of_all_tags(
    under_pre_commit: Repo,
) -> None:
    tag(under_pre_commit, "1.0", at="HEAD~2")
    words = [sys.executable, "-m", "pre_commit", "run", "--hook-stage", "manual"]
    words += ["--from-ref", "HEAD~1", "--to-ref", "HEAD"]
    done = subprocess.run(words, cwd=under_pre_commit.path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1.0 is not spelled" in done.stdout


# --- the words of the command -------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["a b", "v1", "v.", "v~", "-v", "a:b"])
def test_a_prefix_that_no_tag_can_have_is_a_usage_error(
    repo: Repo, program: Callable[..., Ran], prefix: str
) -> None:
    ran = program(*HOOK, f"--prefix={prefix}")
    assert (ran.code, ran.out) == (2, "")
    assert "fix: " in ran.err


def test_lines_that_are_no_ref_updates_are_a_usage_error(repo: Repo, program: Callable[..., Ran]) -> None:
    ran = program(*HOOK, "--pre-push", "origin", "url", stdin="nonsense\n")
    assert ran.code == 2


def test_a_setting_of_the_wrong_type_is_a_configuration_error(
    repo: Repo, program: Callable[..., Ran]
) -> None:
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks.check-version-tags]\nallow-pre-releases = "yes"\n')
    assert program(*HOOK).code == 2


def test_findings_are_annotations_in_github_actions(repo: Repo, program: Callable[..., Ran]) -> None:
    tag(repo, "1.2")
    ran = program(*HOOK, env={"GITHUB_ACTIONS": "true"})
    assert ran.code == 1
    assert "::error title=tag-spelling::1.2 is not spelled as a version tag: v1.2.0" in ran.out


def test_a_push_of_a_branch_starts_no_git_process(repo: Repo, program: Callable[..., Ran]) -> None:
    line = f"refs/heads/main {repo.git('rev-parse', 'HEAD')} refs/heads/main {'0' * 40}\n"
    ran = program(*HOOK, "--pre-push", "origin", "url", stdin=line, env={"PATH": ""})
    assert (ran.code, ran.out, ran.err) == (0, "", "")
