"""What tags are and how their commits relate, against git's own answers, and how versions are spelled."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.git import tags
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.outgoing import Outgoing
from deriva_ml_hooks.git.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Repo


def place_of(repo: Repo) -> Repository:
    return measured(str(repo.path))


def test_every_kind_of_tag_is_read_the_same_from_the_list_and_from_its_object(repo: Repo) -> None:
    repo.git("tag", "light")
    repo.git("tag", "-a", "-m", "x", "annotated")
    repo.git("tag", "-a", "-m", "x", "on-tree", "HEAD^{tree}")
    repo.git("tag", "-a", "-m", "x", "on-blob", "HEAD:README.md")
    repo.git("tag", "-a", "-m", "object fake\ntype blob\ntag other", "nested", "annotated")
    repo.git("tag", "borrowed", "annotated")
    repo.git("tag", "blob", "HEAD:README.md")
    place = place_of(repo)
    found = {tag.name: tag for tag in tags.all_tags(place)}
    head = repo.git("rev-parse", "HEAD")
    assert {name: (tag.kind, tag.target_kind, tag.commit) for name, tag in found.items()} == {
        "light": ("commit", "commit", head),
        "annotated": ("tag", "commit", head),
        "on-tree": ("tag", "tree", None),
        "on-blob": ("tag", "blob", None),
        "nested": ("tag", "tag", None),
        "borrowed": ("tag", "commit", head),
        "blob": ("blob", "blob", None),
    }
    assert found["borrowed"].own_name == "annotated"
    for name, tag in found.items():
        assert tags.read_tag(place, name, tag.oid) == tag
    assert tags.read_tag(place, "gone", "1" * 40) is None


@pytest.mark.parametrize("seed", range(3))
def test_what_a_commit_contains_is_what_git_says_in_random_histories(
    make_repo: Callable[..., Repo], seed: int
) -> None:
    chance = random.Random(seed)
    repo = make_repo()
    tree = repo.git("write-tree")
    commits: list[str] = []
    for number in range(25):
        parents = chance.sample(commits[-6:], k=min(len(commits), chance.choice((1, 1, 2))))
        words = [word for parent in parents for word in ("-p", parent)]
        commits.append(repo.git("commit-tree", "-m", f"Commit {number}", *words, tree))
    ranks = {commit: chance.randrange(1000) for commit in chance.sample(commits, 10)}
    tips = chance.sample(commits, 8)
    place = place_of(repo)
    expected = {}
    for tip in tips:
        below = set(repo.git("rev-list", tip).split()) - {tip}
        if below & ranks.keys():
            expected[tip] = max(ranks[commit] for commit in below & ranks.keys())
    assert tags.highest_below(place, tips, ranks) == expected
    known = tuple(chance.sample(commits, 3))
    reached = {commit for tip in known for commit in repo.git("rev-list", tip).split()}
    assert tags.beyond(place, tips, Outgoing((), known, ())) == set(tips) - reached
    repo.git("update-ref", "refs/heads/main", known[0])
    repo.git("update-ref", "refs/remotes/other/x", known[1])
    reached = {commit for tip in known[:2] for commit in repo.git("rev-list", tip).split()}
    assert tags.on_no_branch(place, tips) == set(tips) - reached


def test_no_commits_need_no_walk(repo: Repo) -> None:
    nowhere = replace(place_of(repo), env={"PATH": ""})
    assert tags.beyond(nowhere, ["a" * 40], Outgoing((), ("a" * 40,), ())) == set()


def test_the_branch_that_is_checked_out_is_named_before_others(repo: Repo) -> None:
    place = place_of(repo)
    head = repo.git("rev-parse", "HEAD")
    repo.git("branch", "another")
    assert tags.branch_with(place, head) == "main"
    repo.git("switch", "--quiet", "--detach", "HEAD~1")
    assert tags.branch_with(place, head) == "another"
    assert tags.branch_with(place, repo.commit("Nowhere")) is None


def test_a_remote_names_its_refs_or_there_is_no_answer(repo: Repo, remote: Repo, tmp_path: Path) -> None:
    repo.git("tag", "-a", "-m", "x", "v1.0.0")
    repo.push("origin", "v1.0.0")
    place = place_of(repo)
    there = tags.remote_refs(place, "origin")
    assert there == {
        "refs/heads/main": repo.git("rev-parse", "main"),
        "refs/tags/v1.0.0": repo.git("rev-parse", "v1.0.0"),
        "refs/tags/v1.0.0^{}": repo.git("rev-parse", "main"),
    }
    known = tags.commits_here(place, [*there.values(), "1" * 40])
    assert known == [repo.git("rev-parse", "main")] * 2
    assert tags.remote_refs(place, str(tmp_path / "nowhere")) == {}


def test_a_file_is_read_from_many_commits_at_once(repo: Repo) -> None:
    first = repo.git("rev-parse", "HEAD")
    second = repo.commit("With file", config="a\n\nb 1\n")
    repo.git("rm", "--quiet", "config")
    repo.write("config/inside")
    third = repo.commit("With folder")
    fourth = repo.commit("Empty file", other="")
    place = place_of(repo)
    assert tags.files_at(place, [first, second, third], "config") == {second: b"a\n\nb 1\n"}
    assert tags.files_at(place, [third, fourth], "other") == {fourth: b""}
