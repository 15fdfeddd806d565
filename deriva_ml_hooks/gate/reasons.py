"""Every reason of the gate: its code, when it refuses, the command that fixes it, and what a finding says.

A new reason is one member here. The table in the documentation is made from this list.
"""

from __future__ import annotations

import re
import shlex
from enum import Enum
from typing import TYPE_CHECKING

from deriva_ml_hooks.report import Finding

if TYPE_CHECKING:
    from deriva_ml_hooks.git.status import Change

_WORD = re.compile(r"\{(\w*)\}")
_COMMIT_IT = "git add --force -- {pathspec} && git commit, or have the commit ignore it: .gitignore"


class Reason(Enum):
    """A reason to refuse, or to warn where a policy says so.

    `code` names it for programs. `when` completes "refused because". `fix` is the command that helps, `text`
    what a finding says: both with words in braces, and `{}` for what is only known where it is found.
    """

    NOT_A_REPOSITORY = "not-a-repository", "there is no repository"
    BARE_REPOSITORY = "bare-repository", "the repository has no checked-out files"
    NO_COMMIT = (
        "no-commit",
        "there is no commit to name",
        "git add -A && git commit",
        "there is no commit yet",
    )
    GIT_ERROR = "git-error", "git cannot answer in full", "see what git says: git status"
    FOREIGN_OWNER = "foreign-owner", "git does not read a repository of another user"
    OPERATION = (
        "operation-in-progress",
        "a merge, rebase, cherry-pick, revert or am is not concluded",
        "conclude it or give it up: git {} --continue, git {} --abort",
        "a {} is in progress",
    )
    UNMERGED = (
        "unmerged",
        "a file is in conflict",
        "settle the conflicts, then: git add -A && git commit",
    )
    STAGED = "staged", "the index differs from the commit", "git commit"
    UNSTAGED = (
        "unstaged",
        "a file differs from the commit",
        "git commit -a, or set the changes aside: git stash",
    )
    UNTRACKED = (
        "untracked",
        "a file is in no commit, and is not ignored",
        "git add -- PATH && git commit, or have git ignore it: .gitignore",
    )
    SUBMODULE = (
        "submodule",
        "a submodule is at another commit, or not clean itself",
        "commit inside it and record that here, or: git submodule update --init --recursive",
    )
    HIDDEN_CHANGE = (
        "hidden-change",
        "a file flagged assume-unchanged or skip-worktree differs",
        # git heeds only the first of the two options in one call.
        "git update-index --no-assume-unchanged -- {whole}; git update-index --no-skip-worktree -- {whole}",
    )
    FOREIGN_FILTER = (
        "foreign-filter",
        "a file differs, and attributes that the commit does not hold hide it",
        "commit the attributes: .gitattributes, or put the file back: git checkout -- {pathspec}",
    )
    HIDDEN_CODE = (
        "hidden-code",
        "code beside the commit's is ignored by a .gitignore that the commit does not hold",
        _COMMIT_IT,
    )
    EXCLUDED_CODE = (
        "excluded-code",
        "code beside the commit's is ignored by .git/info/exclude or core.excludesFile",
        _COMMIT_IT,
    )
    LINK_OUTSIDE = (
        "link-outside",
        "a tracked link leads to code, or to a folder of modules, that is not in the commit",
        "commit a copy of what it leads to in its place; a link to data may stay",
    )
    LFS_POINTER = (
        "lfs-pointer",
        "a git-lfs pointer is in the place of the data",
        "git lfs install --skip-repo && git lfs pull",
    )
    UNPUSHED = (
        "unpushed",
        "the commit is on no branch of the remote",
        "git push {remote} {target}",
        "commit {} is on no branch of the remote {remote}",
    )
    NO_REMOTE = (
        "no-remote",
        "there is no remote, or not the one that is configured",
        "git remote add origin URL",
        "no remote: nobody else can find this commit",
    )
    UNTAGGED = (
        "untagged",
        "the commit carries no version tag",
        "deriva-ml-hooks bump-version",
        "commit {} carries no version tag",
    )
    SHALLOW = (
        "shallow",
        "the clone has only a part of the history",
        "git fetch --unshallow --tags",
        "a shallow clone: its version and its ancestors are not certain",
    )
    CREDENTIAL = (
        "remote-credential",
        "`run` only, where DerivaML will record (else a warning): a remote's URL may hold a credential",
        "git remote set-url {remote} URL, without it (git help credentials)",
        "the URL of the remote {remote} holds a credential, which DerivaML would publish",
    )
    PROVENANCE_FILE = (
        "provenance-file",
        "an image that has no repository lacks the record of its build, or does not fit it",
    )
    HANDED_OVER = (
        "handed-over",
        "`run` only: the command hands another one over and ends (`sbatch`, `tmux`, `sh -c '... &'`)",
    )
    ENTRY_POINT = "entry-point", "`run` only: the script is not in the commit"
    LOADED = (
        "loaded-before",
        "a kernel or `recorded()` only: a loaded module was written after the process began",
        "restart the kernel, or the program",
        "written after this process began, which may have loaded what stood there before",
    )

    def __init__(self, code: str, when: str, fix: str = "", text: str = "{}") -> None:
        self.code = code
        self.when = when
        self.usual_fix = fix
        self.text = text

    def finding(
        self, said: str = "", *, path: str | None = None, fix: str | None = None, **words: str
    ) -> Finding:
        """This reason, found at `path`; `fix` where it is not the usual one.

        `words` fill the text, and quoted for the shell the fix.
        """
        message = _filled(self.text, words | {"": said})
        if fix is None:
            quoted = {name: shlex.quote(word) for name, word in words.items()} | {"": said}
            if path is not None:
                quoted["pathspec"] = shlex.quote(f":(top,literal){path}")
                quoted["whole"] = '"$(git rev-parse --show-toplevel)"' + shlex.quote(f"/{path}")
            fix = _filled(self.usual_fix, quoted)
        return Finding(self.code, path, message, fix)


def _filled(template: str, words: dict[str, str]) -> str:
    return _WORD.sub(lambda found: words[found[1]], template)


_BY_CODE = {reason.code: reason for reason in Reason}


def of_change(change: Change) -> Finding:
    """A difference of the worktree, which git/status.py names by the code of a reason, with its fix."""
    return _BY_CODE[change.code].finding(change.detail, path=change.path)
