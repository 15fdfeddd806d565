"""A version is made whole, here and on a real remote, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks.errors import GitError, UsageError
from deriva_ml_hooks.gate import RefusedError
from deriva_ml_hooks.release.bump import Bump, BumpError, Wanted, plan
from deriva_ml_hooks.release.create import create

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

Program = Callable[..., "Ran"]
State = tuple[str, str]


def bump(repo: Repo, said: list[str] | None = None, **wanted: Any) -> Bump:
    asked = Wanted(**wanted)
    repository, planned = plan(asked, str(repo.path))
    return create(repository, planned, asked, say=(said if said is not None else []).append)


def refused(repo: Repo, **wanted: Any) -> BumpError:
    with pytest.raises(BumpError) as caught:
        bump(repo, **wanted)
    assert caught.value.fix
    return caught.value


def state(*repos: Repo) -> list[str]:
    """Every ref of some repositories, HEAD and index included."""
    return [repo.git("for-each-ref") + repo.git("rev-parse", "HEAD") for repo in repos]


def notes(repo: Repo) -> list[Path]:
    """What a call notes while it pushes."""
    return list(repo.git_dir.glob("deriva-ml-hooks/bump-version*"))


def hook(repo: Repo, name: str, script: str) -> None:
    path = repo.git_dir / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)


@pytest.fixture
def clone(remote: Repo, make_repo: Callable[..., Repo]) -> Repo:
    """Somebody else's clone of the remote."""
    other = make_repo("other")
    other.git("remote", "add", "origin", str(remote.path))
    other.git("fetch", "--quiet", "--tags", "origin")
    other.git("checkout", "--quiet", "main")
    return other


def tag_elsewhere(clone: Repo, tag: str) -> str:
    """A new commit with a version, pushed by somebody else; the commit."""
    commit = clone.commit(elsewhere=tag)
    clone.git("tag", "-a", tag, "-m", tag)
    clone.push("origin", "HEAD:refs/heads/other", tag)
    return commit


class TestMade:
    def test_the_first_version_then_the_next_ones(self, repo: Repo, remote: Repo) -> None:
        first = bump(repo)
        assert (first.tag, first.previous, first.pushed) == ("v0.1.0", None, True)
        repo.commit(more="1")
        assert bump(repo, part="minor").tag == "v0.2.0"
        repo.commit(more="2")
        made = bump(repo, part="major", message="The big one")
        assert (made.tag, made.previous) == ("v1.0.0", "v0.2.0")
        assert repo.git("cat-file", "-t", "v1.0.0") == "tag"
        assert repo.git("rev-parse", "v1.0.0^{}") == made.commit == repo.git("rev-parse", "HEAD")
        assert repo.git(
            "for-each-ref", "--format=%(contents:subject) %(tagger)", "refs/tags/v1.0.0"
        ).startswith("The big one Ada <ada@example.org>")
        assert repo.git("describe", "--exact-match") == "v1.0.0"

    def test_branch_and_tag_are_on_the_remote(self, repo: Repo, remote: Repo) -> None:
        commit = repo.commit(new="1")
        bump(repo)
        assert remote.git("rev-parse", "main", "v0.1.0^{}").split() == [commit, commit]
        assert remote.git("rev-parse", "v0.1.0") == repo.git("rev-parse", "v0.1.0")
        assert repo.git("status", "--porcelain=v2", "--branch").endswith("# branch.ab +0 -0")

    def test_a_branch_the_remote_does_not_have_yet(self, repo: Repo, remote: Repo) -> None:
        repo.git("checkout", "--quiet", "-b", "sweep")
        commit = repo.commit(new="1")
        bump(repo)
        assert remote.git("rev-parse", "sweep", "v0.1.0^{}").split() == [commit, commit]

    def test_only_branch_and_tag_are_pushed(self, repo: Repo, remote: Repo) -> None:
        repo.git("tag", "-a", "draft", "-m", "mine")
        repo.git("config", "push.followTags", "true")
        bump(repo)
        assert remote.git("tag") == "v0.1.0"

    def test_pre_releases_then_the_release(self, repo: Repo, remote: Repo) -> None:
        repo.git("tag", "-a", "v1.2.3", "-m", "x")
        tags = []
        for pre in ("rc", "rc", None):
            repo.commit()
            tags.append(bump(repo, part="minor", pre=pre).tag)
        assert tags == ["v1.3.0-rc.1", "v1.3.0-rc.2", "v1.3.0"]

    def test_a_prefix_of_its_own(self, repo: Repo, remote: Repo) -> None:
        repo.git("tag", "v7.0.0", "HEAD~1")
        assert bump(repo, prefix="model-v", initial="2.0.0").tag == "model-v2.0.0"
        repo.write(".deriva-ml-hooks.toml", '[check-version-tags]\nprefix = "model-v"\n')
        repo.commit()
        assert bump(repo).tag == "model-v2.0.1"

    @pytest.mark.parametrize(
        ("tags", "expected"),
        [
            (["v1.9.0", "v1.10.0"], "v1.10.1"),
            (["v1.0"], "v1.0.1"),
            (["2.1.4"], "v2.1.5"),
            (["exp-1", "data-2026", "latest"], "v0.1.0"),
            (["v1.0.0+build.5"], "v1.0.1"),
        ],
    )
    def test_the_highest_version_in_the_history_counts(
        self, repo: Repo, tags: list[str], expected: str
    ) -> None:
        for tag in tags:
            repo.git("tag", tag, "HEAD~1")
        assert bump(repo, push=False).tag == expected

    def test_a_version_on_another_branch_does_not_count(self, repo: Repo, remote: Repo) -> None:
        repo.git("checkout", "--quiet", "-b", "old", "HEAD~1")
        repo.commit(old="1")
        repo.git("tag", "v5.0.0")
        repo.git("checkout", "--quiet", "main")
        assert bump(repo).tag == "v0.1.0"

    def test_tags_made_elsewhere_meanwhile_are_fetched(self, repo: Repo, remote: Repo, clone: Repo) -> None:
        clone.git("tag", "-a", "v0.4.0", "-m", "x", "HEAD~1")
        clone.push("origin", "v0.4.0")
        repo.commit()
        assert bump(repo).previous == "v0.4.0"
        assert repo.git("tag").split() == ["v0.4.0", "v0.4.1"]

    def test_without_a_push_no_remote_is_asked(self, repo: Repo) -> None:
        repo.git("remote", "add", "origin", "/no/such/place")
        repo.git("checkout", "--quiet", "--detach")
        assert bump(repo, push=False).tag == "v0.1.0"
        assert repo.git("tag") == "v0.1.0"

    def test_a_policy_that_wants_a_tag_or_a_push_is_no_obstacle(self, repo: Repo, remote: Repo) -> None:
        repo.write(".deriva-ml-hooks.toml", 'untagged = "refuse"\nunpushed = "refuse"\n')
        repo.commit()
        assert bump(repo).pushed

    def test_another_remote(self, repo: Repo, remote: Repo, tmp_path: Path) -> None:
        repo.git("init", "--quiet", "--bare", str(tmp_path / "second.git"))
        repo.git("remote", "add", "second", str(tmp_path / "second.git"))
        bump(repo, remote="second")
        assert repo.git("ls-remote", "--tags", "second").endswith("refs/tags/v0.1.0^{}")
        assert remote.git("tag") == ""

    def test_an_upstream_of_another_name_where_git_pushes_there(self, repo: Repo, remote: Repo) -> None:
        repo.git("branch", "--move", "mine")
        repo.git("config", "push.default", "upstream")
        commit = repo.commit()
        bump(repo)
        assert remote.git("rev-parse", "main") == commit
        assert remote.git("branch", "--format=%(refname:short)") == "main"

    def test_in_a_linked_worktree_and_a_sha256_repository(
        self, make_repo: Callable[..., Repo], tmp_path: Path
    ) -> None:
        made = make_repo("sha", "--object-format=sha256")
        made.commit(a="1")
        made.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
        linked = type(made)(tmp_path / "linked")
        assert bump(linked, push=False).tag == "v0.1.0"
        assert made.git("cat-file", "-t", "v0.1.0") == "tag"


class TestSigned:
    @pytest.fixture(autouse=True)
    def signer(self, repo: Repo, tmp_path: Path) -> None:
        """A gpg.program that signs anything, known to git only for repositories in this folder."""
        gpg = tmp_path / "gpg"
        signature = "-----BEGIN PGP SIGNATURE-----\\nmine\\n-----END PGP SIGNATURE-----\\n"
        created = "[GNUPG:] SIG_CREATED "
        gpg.write_text(f"#!/bin/sh\ncat >/dev/null\nprintf '\\n{created}\\n' >&2\nprintf -- '{signature}'\n")
        gpg.chmod(0o755)
        (tmp_path / "work.config").write_text(
            f"[gpg]\n\tprogram = {gpg}\n[user]\n\temail = ada@work.example.org\n"
        )
        repo.git("config", "--global", f"includeIf.gitdir:{tmp_path}/.path", str(tmp_path / "work.config"))

    @pytest.mark.parametrize(
        ("setting", "sign", "signed"),
        [("false", None, False), ("true", None, True), ("false", True, True), ("true", False, False)],
    )
    def test_as_asked_or_as_git_is_configured(
        self, repo: Repo, setting: str, sign: bool | None, signed: bool
    ) -> None:
        repo.git("config", "tag.gpgSign", setting)
        bump(repo, push=False, sign=sign)
        content = repo.git("cat-file", "tag", "v0.1.0")
        assert ("BEGIN PGP SIGNATURE" in content) == signed
        assert "ada@work.example.org" in content

    def test_by_the_very_name_that_git_would_take(self, repo: Repo) -> None:
        repo.git("config", "user.name", 'Zoë "the\\first"; # of Ada\t= 1 [x]')
        bump(repo, push=False)
        repo.git("tag", "--annotate", "--message", "By git", "other")
        tagger = "--format=%(taggername) %(taggeremail)"
        assert repo.git("tag", "--list", tagger, "v0.1.0") == repo.git("tag", "--list", tagger, "other")

    def test_by_a_key_that_is_named_from_the_repository(self, repo: Repo) -> None:
        (repo.path / "gpg.log").write_bytes((repo.path.parent / "gpg").read_bytes())
        (repo.path / "gpg.log").chmod(0o755)
        repo.git("config", "gpg.program", "./gpg.log")
        bump(repo, push=False, sign=True)
        assert "BEGIN PGP SIGNATURE" in repo.git("cat-file", "tag", "v0.1.0")

    def test_a_signer_that_says_it_did_and_did_not(self, repo: Repo, remote: Repo) -> None:
        repo.git("config", "gpg.format", "ssh")
        repo.git("config", "gpg.ssh.program", "true")
        repo.git("config", "user.signingKey", "/nowhere")
        before = state(repo, remote)
        with pytest.raises(GitError):
            bump(repo, sign=True)
        assert state(repo, remote) == before

    def test_a_signature_that_cannot_be_made_leaves_no_tag(self, repo: Repo, remote: Repo) -> None:
        repo.git("config", "gpg.program", "false")
        before = state(repo, remote)
        with pytest.raises(GitError):
            bump(repo, sign=True)
        assert state(repo, remote) == before


class TestAtTheRemote:
    def test_an_answer_that_is_lost_is_no_refusal(self, repo: Repo, remote: Repo) -> None:
        hook(remote, "post-update", "kill -9 $PPID\n")
        said: list[str] = []
        made = bump(repo, said)
        assert made.pushed
        assert repo.git("rev-parse", "v0.1.0") == remote.git("rev-parse", "v0.1.0")
        assert "the answer was lost, but origin has v0.1.0" in said

    def test_several_push_addresses_are_no_transaction(
        self, repo: Repo, remote: Repo, make_repo: Any
    ) -> None:
        second = make_repo("second", "--bare")
        for address in (remote.path, second.path):
            repo.git("remote", "set-url", "--add", "--push", "origin", str(address))
        before = state(repo, remote)
        assert refused(repo).code == "several-addresses"
        assert state(repo, remote) == before

    def test_a_name_that_cannot_be_taken_here_is_not_given_there(self, repo: Repo, remote: Repo) -> None:
        repo.git("tag", "v0.1.0/x")
        before = state(repo, remote)
        with pytest.raises(GitError, match="cannot lock ref"):
            bump(repo)
        assert (state(repo, remote), notes(repo)) == (before, [])

    def test_it_goes_where_git_push_goes(self, repo: Repo, remote: Repo, make_repo: Any) -> None:
        fork = make_repo("fork.git", "--bare")
        repo.git("remote", "add", "fork", str(fork.path))
        repo.git("config", "branch.main.pushRemote", "fork")
        assert bump(repo).remote == "fork"
        assert (fork.git("tag"), remote.git("tag")) == ("v0.1.0", "")

    def test_a_mirror_gets_the_branch_and_the_tag_only(self, repo: Repo, remote: Repo) -> None:
        repo.git("config", "remote.origin.mirror", "true")
        repo.git("branch", "aside")
        assert bump(repo).pushed
        assert (remote.git("tag"), remote.git("branch", "--list", "aside")) == ("v0.1.0", "")

    @pytest.mark.parametrize("setting", ["push.recurseSubmodules=on-demand", "submodule.recurse=true"])
    def test_submodules_that_git_would_push_first_must_be_pushed(
        self, repo: Repo, remote: Repo, make_repo: Callable[..., Repo], setting: str
    ) -> None:
        library, origin = make_repo("library"), make_repo("library.git", "--bare")
        library.commit()
        library.git("push", "--quiet", str(origin.path), "main")
        repo.git("submodule", "--quiet", "add", str(origin.path), "library")
        repo.git("commit", "--quiet", "--message", "With the library")
        repo.git("config", *setting.split("="))
        inner = type(repo)(repo.path / "library")
        inner.commit(new="1")
        repo.git("commit", "--quiet", "--all", "--message", "With its news")
        said: list[str] = []
        before = state(repo, remote)
        with pytest.raises(GitError):
            bump(repo, said)
        assert "  library" in said
        assert state(repo, remote) == before
        inner.git("push", "--quiet", "origin", "HEAD:main")
        assert bump(repo).pushed

    def test_a_remote_that_knows_no_atomic_push(self, repo: Repo, remote: Repo) -> None:
        remote.git("config", "receive.advertiseAtomic", "false")
        before = state(repo, remote)
        with pytest.raises(GitError) as caught:
            bump(repo)
        assert "does not support --atomic" in str(caught.value)
        assert "--no-push" in caught.value.fix
        assert state(repo, remote) == before


class TestNumbers:
    @pytest.mark.parametrize("wanted", [{"prefix": "release/"}, {"prefix": "rel.x-/"}])
    def test_a_tag_that_setuptools_scm_cannot_read(self, repo: Repo, wanted: dict[str, Any]) -> None:
        assert refused(repo, push=False, **wanted).code == "unreadable-version"
        assert repo.git("tag") == ""

    def test_a_pre_release_without_its_dot_counts_on(self, repo: Repo) -> None:
        for number in (9, 10):
            repo.git("tag", "--annotate", "--message", "By hand", f"v1.0.0-rc{number}")
        repo.commit()
        made = bump(repo, push=False, pre="rc")
        assert (made.tag, made.previous) == ("v1.0.0-rc.11", "v1.0.0-rc10")

    def test_a_second_version_of_a_commit_is_the_one_that_counts(self, repo: Repo, program: Program) -> None:
        ahead = {"GIT_COMMITTER_DATE": "2040-01-01T00:00:00Z"}
        repo.git("tag", "--annotate", "--message", "By a clock ahead", "v1.0.0", env=ahead)
        assert bump(repo, push=False, force_new=True).tag == "v1.0.1"
        assert program("version").out == "1.0.1\n"


class TestRefused:
    def test_what_the_gate_refuses(self, repo: Repo, remote: Repo) -> None:
        repo.write("new.py")
        before = state(repo, remote)
        with pytest.raises(RefusedError) as caught:
            bump(repo)
        assert [reason.code for reason in caught.value.reasons] == ["untracked"]
        assert state(repo, remote) == before

    def test_a_detached_head(self, repo: Repo, remote: Repo) -> None:
        repo.git("checkout", "--quiet", "--detach")
        error = refused(repo)
        assert error.code == "detached"
        assert "--no-push" in error.fix

    def test_no_remote(self, repo: Repo) -> None:
        assert refused(repo).code == "no-remote"

    @pytest.mark.parametrize("diverged", [False, True])
    def test_a_branch_behind_its_upstream(
        self, repo: Repo, remote: Repo, clone: Repo, diverged: bool
    ) -> None:
        clone.commit(theirs="1")
        clone.push()
        if diverged:
            repo.commit(ours="1")
        before = state(remote)
        assert refused(repo).code == "behind"
        assert repo.git("tag") == ""
        assert state(remote) == before
        # By now it is known here too.
        assert refused(repo, push=False).code == "behind"

    def test_a_commit_that_has_a_version(self, repo: Repo, remote: Repo) -> None:
        repo.git("tag", "v3.0.0")
        error = refused(repo)
        assert error.code == "tagged"
        assert "v3.0.0" in str(error)
        assert "--force-new" in error.fix
        assert bump(repo, force_new=True).tag == "v3.0.1"

    def test_a_commit_whose_version_only_this_clone_has(self, repo: Repo, remote: Repo) -> None:
        repo.git("tag", "--annotate", "--message", "By hand", "v3.0.0")
        words = refused(repo).fix.partition(": ")[2].partition(",")[0]
        subprocess.run(words, shell=True, cwd=repo.path, check=True)
        assert remote.git("tag") == "v3.0.0"
        assert refused(repo).fix.startswith("use v3.0.0")

    def test_a_commit_that_got_its_version_elsewhere(self, repo: Repo, remote: Repo, clone: Repo) -> None:
        clone.git("tag", "-a", "v3.0.0", "-m", "x")
        clone.push("origin", "v3.0.0")
        assert "v3.0.0" in str(refused(repo))

    def test_a_tag_that_exists_here(self, repo: Repo, remote: Repo) -> None:
        repo.git("tag", "-a", "v0.1.0", "-m", "x", repo.git("commit-tree", "-m", "aside", "HEAD^{tree}"))
        error = refused(repo)
        assert error.code == "exists"
        assert "v0.1.0" in str(error)

    def test_a_tag_that_exists_on_the_remote(self, repo: Repo, remote: Repo, clone: Repo) -> None:
        tag_elsewhere(clone, "v0.1.0")
        before = state(remote)
        assert refused(repo).code == "exists"
        assert state(remote) == before

    def test_a_dry_run_tells_how_to_get_the_tag_that_it_does_not_fetch(
        self, repo: Repo, remote: Repo, clone: Repo
    ) -> None:
        tag_elsewhere(clone, "v0.1.0")
        with pytest.raises(BumpError) as caught:
            plan(Wanted(), str(repo.path), fetching=False)
        assert repo.git("tag") == ""
        subprocess.run(caught.value.fix.partition(", or")[0], shell=True, cwd=repo.path, check=True)
        assert refused(repo).fix.startswith("use v0.1.0")

    def test_a_version_that_is_another_object_on_the_remote(
        self, repo: Repo, remote: Repo, clone: Repo
    ) -> None:
        repo.git("tag", "-a", "v0.1.0", "-m", "ours", "HEAD~1")
        tag_elsewhere(clone, "v0.1.0")
        error = refused(repo)
        assert error.code == "moved-version"
        subprocess.run(error.fix.partition(": ")[2], shell=True, cwd=repo.path, check=True)
        assert repo.git("rev-parse", "v0.1.0") == clone.git("rev-parse", "v0.1.0")

    def test_a_shallow_clone(self, repo: Repo, remote: Repo, tmp_path: Path) -> None:
        repo.git("clone", "--quiet", "--depth=1", f"file://{remote.path}", str(tmp_path / "shallow"))
        error = refused(type(repo)(tmp_path / "shallow"))
        assert error.code == "shallow"
        assert "--unshallow" in error.fix

    def test_an_upstream_of_another_name(self, repo: Repo, remote: Repo) -> None:
        repo.git("checkout", "--quiet", "-b", "idea", "--track", "origin/main")
        assert refused(repo).code == "other-branch"
        assert remote.git("tag") == ""

    def test_a_remote_that_does_not_answer(self, repo: Repo) -> None:
        repo.git("remote", "add", "origin", "/no/such/place")
        with pytest.raises(GitError) as caught:
            bump(repo)
        assert "--no-push" in caught.value.fix
        assert repo.git("tag") == ""

    @pytest.mark.parametrize(
        "wanted",
        [
            {"initial": "1.0"},
            {"initial": "v1.0.0"},
            {"pre": "preview"},
            {"pre": "rc.1"},
            {"prefix": "a b"},
            {"prefix": "-v"},
            {"prefix": "v1"},
            {"prefix": "v."},
            {"remote": "nowhere"},
        ],
    )
    def test_words_that_fit_nothing(self, repo: Repo, remote: Repo, wanted: dict[str, str]) -> None:
        with pytest.raises(UsageError) as caught:
            bump(repo, **wanted)
        assert next(iter(wanted.values())) in str(caught.value)
        assert repo.git("tag") == remote.git("tag") == ""

    def test_pre_releases_where_the_repository_says_that_it_has_none(self, repo: Repo, remote: Repo) -> None:
        repo.write(".deriva-ml-hooks.toml", "[check-version-tags]\nallow-pre-releases = false\n")
        repo.commit()
        assert refused(repo, pre="rc").code == "pre-release"
        assert bump(repo).tag == "v0.1.0"


class TestOurOwnHook:
    @pytest.fixture(autouse=True)
    def installed(self, repo: Repo, remote: Repo, program: Program) -> None:
        assert program("install").code == 0

    def test_it_lets_versions_pass(self, repo: Repo, remote: Repo) -> None:
        commit = repo.commit()
        bump(repo)
        assert remote.git("rev-parse", "v0.1.0^{}") == commit

    def test_a_pre_release_only_where_they_are_allowed(self, repo: Repo, remote: Repo) -> None:
        error = refused(repo, pre="rc")
        assert error.code == "pre-release"
        assert "allow-pre-releases = true" in error.fix
        repo.write(".deriva-ml-hooks.toml", "[check-version-tags]\nallow-pre-releases = true\n")
        repo.commit()
        assert bump(repo, pre="rc").tag == "v0.1.0-rc.1"
        assert remote.git("tag") == "v0.1.0-rc.1"

    @pytest.mark.parametrize(
        ("wanted", "code", "said"),
        [
            ({"force_new": True}, "several-versions", "one version only"),
            ({"prefix": "V"}, "tag-spelling", "not spelled as a version tag"),
            ({"initial": "1.0.0-rc.1"}, "pre-release", "only releases are tagged here"),
        ],
    )
    def test_what_it_would_refuse_is_refused_before_anything_is_made(
        self, repo: Repo, remote: Repo, wanted: dict[str, Any], code: str, said: str
    ) -> None:
        if "force_new" in wanted:
            bump(repo)
        before = state(repo, remote)
        with pytest.raises(BumpError) as caught:
            plan(Wanted(**wanted), str(repo.path))  # as far as a dry run goes
        assert caught.value.code == code
        assert str(caught.value).startswith("check-version-tags would refuse it: ")
        assert said in str(caught.value)
        assert state(repo, remote) == before

    def test_a_version_that_a_file_of_the_commit_contradicts(self, repo: Repo, remote: Repo) -> None:
        repo.write("pyproject.toml", '[project]\nname = "x"\nversion = "9.9.9"\n')
        repo.commit()
        assert refused(repo).code == "contradicted-version"

    def test_the_advice_for_a_prefix_that_cannot_be_read_is_one_that_it_lets_pass(
        self, repo: Repo, remote: Repo
    ) -> None:
        repo.write(".deriva-ml-hooks.toml", '[check-version-tags]\nprefix = "release/"\n')
        repo.commit()
        advice = refused(repo).fix
        assert advice.startswith('prefix = "v" in [tool.deriva-ml-hooks.check-version-tags]')
        repo.write(".deriva-ml-hooks.toml", '[check-version-tags]\nprefix = "v"\n')
        repo.commit()
        assert bump(repo).tag == "v0.1.0"


class TestPushFails:
    def test_a_remote_that_refuses(self, repo: Repo, remote: Repo) -> None:
        repo.commit()
        hook(
            remote,
            "pre-receive",
            "echo 'no versions on Fridays'; echo https://u:hunter2@h.example/x; exit 1\n",
        )
        before = state(repo, remote)
        said: list[str] = []
        with pytest.raises(GitError) as caught:
            bump(repo, said)
        assert "pre-receive hook declined" in str(caught.value)
        assert any("no versions on Fridays" in line for line in said)
        assert "hunter2" not in str(caught.value) + "".join(said)
        assert state(repo, remote) == before

    def test_a_remote_that_refuses_the_tag_only(self, repo: Repo, remote: Repo) -> None:
        repo.commit()
        hook(remote, "update", 'case "$1" in refs/tags/*) exit 1; esac\n')
        before = state(repo, remote)
        with pytest.raises(GitError) as caught:
            bump(repo)
        assert "refs/tags/v0.1.0" in str(caught.value)
        assert state(repo, remote) == before

    def test_a_hook_of_the_users_own(self, repo: Repo, remote: Repo) -> None:
        hook(repo, "pre-push", "echo 'tests fail' >&2; echo 'and on stdout'; exit 1\n")
        before = state(repo, remote)
        said: list[str] = []
        with pytest.raises(GitError):
            bump(repo, said)
        assert said.count("tests fail") == 1
        assert said.count("and on stdout") == 1
        assert state(repo, remote) == before

    def test_the_remote_gained_the_same_tag_a_moment_earlier(
        self, repo: Repo, remote: Repo, clone: Repo
    ) -> None:
        theirs = clone.commit(theirs="1")
        clone.git("tag", "-a", "v0.1.0", "-m", "theirs")
        hook(repo, "pre-push", f"env -u GIT_DIR git -C {clone.path} push --quiet origin v0.1.0\n")
        main = remote.git("rev-parse", "main")
        repo.commit(ours="1")
        error = refused(repo)
        assert error.code == "exists"
        assert "v0.1.0 was made on origin meanwhile" in str(error)
        assert repo.git("tag") == ""
        assert remote.git("rev-parse", "main", "v0.1.0^{}").split() == [main, theirs]
        (repo.git_dir / "hooks" / "pre-push").unlink()
        assert refused(repo).code == "exists"
        assert bump(repo, part="minor", initial="0.2.0").tag == "v0.2.0"


class TestWhileItPushes:
    def test_what_a_hook_says_is_told_while_it_works(self, repo: Repo, remote: Repo, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "goes-on")
        token = "ghp_" + "a1B2" * 9
        hook(repo, "pre-push", f"echo 'testing {token}'; read line < {tmp_path}/goes-on; exit 0\n")
        with subprocess.Popen(
            [sys.executable, "-m", "deriva_ml_hooks", "bump-version"], cwd=repo.path, stderr=subprocess.PIPE
        ) as started:
            assert started.stderr is not None
            said = [started.stderr.readline(), started.stderr.readline()]
            assert said == [b"pushing main and v0.1.0 to origin\n", b"testing ***\n"]
            assert remote.git("tag") == ""
            (tmp_path / "goes-on").write_text("\n")
        assert started.returncode == 0
        assert remote.git("tag") == "v0.1.0"

    def test_a_reader_that_leaves_does_not_end_the_push(
        self, repo: Repo, remote: Repo, tmp_path: Path
    ) -> None:
        os.mkfifo(tmp_path / "goes-on")
        hook(repo, "pre-push", f"read line < {tmp_path}/goes-on; echo one >&2; echo two >&2; exit 0\n")
        with subprocess.Popen(
            [sys.executable, "-m", "deriva_ml_hooks", "bump-version"],
            cwd=repo.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as started:
            assert started.stderr is not None
            started.stderr.readline()
            started.stderr.close()
            (tmp_path / "goes-on").write_text("\n")
            assert started.wait() == 0
        assert repo.git("tag") == remote.git("tag") == "v0.1.0"


class TestInterrupted:
    @pytest.fixture
    def pushing(self, repo: Repo, remote: Repo, tmp_path: Path) -> subprocess.Popen[bytes]:
        """The program, while the remote's pre-receive hook waits in the middle of its push."""
        for name in ("waits", "goes-on", "done"):
            os.mkfifo(tmp_path / name)
        hook(remote, "pre-receive", f"echo > {tmp_path}/waits; read line < {tmp_path}/goes-on; exit 0\n")
        hook(remote, "post-receive", f"echo > {tmp_path}/done\n")
        repo.commit()
        started = subprocess.Popen(
            [sys.executable, "-m", "deriva_ml_hooks", "bump-version"],
            cwd=repo.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        (tmp_path / "waits").read_text()
        return started

    def test_an_interrupt_takes_the_tag_away(
        self, repo: Repo, remote: Repo, pushing: subprocess.Popen[bytes]
    ) -> None:
        before = state(remote)
        os.killpg(pushing.pid, signal.SIGINT)
        _, said = pushing.communicate()
        assert (pushing.returncode, b"interrupted" in said) == (130, True)
        assert (repo.git("tag"), state(remote), notes(repo)) == ("", before, [])

    def test_what_a_kill_leaves_is_removed_by_the_next_call(
        self, repo: Repo, remote: Repo, pushing: subprocess.Popen[bytes]
    ) -> None:
        os.killpg(pushing.pid, signal.SIGKILL)
        pushing.communicate()
        left = repo.git("rev-parse", "v0.1.0")
        assert remote.git("tag") == ""
        for dry in ({"push": False}, {}):
            with pytest.raises(BumpError) as caught:
                plan(Wanted(**dry), str(repo.path), fetching=False)
            assert caught.value.code == "unfinished"
        assert repo.git("rev-parse", "v0.1.0") == left
        for name in ("pre-receive", "post-receive"):
            (remote.git_dir / "hooks" / name).unlink()
        assert bump(repo).tag == "v0.1.0"
        assert repo.git("rev-parse", "v0.1.0") == remote.git("rev-parse", "v0.1.0")
        assert notes(repo) == []

    def test_what_a_kill_leaves_is_kept_where_the_remote_has_taken_it(
        self, repo: Repo, remote: Repo, tmp_path: Path, pushing: subprocess.Popen[bytes]
    ) -> None:
        with pytest.raises(GitError, match="another call of bump-version"):
            bump(repo)
        os.kill(pushing.pid, signal.SIGKILL)  # alone, while git goes on
        pushing.communicate()
        (tmp_path / "goes-on").write_text("\n")
        (tmp_path / "done").read_text()
        commit = repo.git("rev-parse", "HEAD")
        assert remote.git("rev-parse", "main", "v0.1.0^{}").split() == [commit, commit]
        assert "v0.1.0" in str(refused(repo))
        assert repo.git("rev-parse", "v0.1.0") == remote.git("rev-parse", "v0.1.0")
        assert notes(repo) == []

    @pytest.mark.parametrize(
        "note", ["", "[]", '{"tag": "v9.0.0"}', '{"tag": "x", "commit": 1, "remote": 2}']
    )
    def test_a_note_without_its_tag_changes_nothing(self, repo: Repo, remote: Repo, note: str) -> None:
        repo.git("tag", "x")
        path = repo.git_dir / "deriva-ml-hooks" / "bump-version.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(note)
        assert bump(repo).tag == "v0.1.0"
        assert repo.git("tag").split() == ["v0.1.0", "x"]
