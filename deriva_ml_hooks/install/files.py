"""The files of the worktree that `install` writes on request, and takes back on `uninstall`.

What was there before is written down beside the cache, so that it can be restored to the byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from deriva_ml_hooks import packages
from deriva_ml_hooks.git import own
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.install import ci, frameworks
from deriva_ml_hooks.install.steps import InstallError, Step, remove, write
from deriva_ml_hooks.untracked import ANYWHERE, FOLDERS, sort


class File(NamedTuple):
    """A file as it is to be; `name` is from the top of the worktree, with `/` between names."""

    name: str
    data: bytes
    why: str


class Undo(NamedTuple):
    """What `uninstall` has to know: hooks that a framework serves because of us, and by name each file as it
    was written and as it was before (None: it was not there)."""

    types: tuple[str, ...]
    files: Mapping[str, tuple[bytes | None, bytes | None]]


NOTHING = Undo((), {})


def wanted(
    repository: Repository, *, pre_commit: bool, gitignore: bool, services: Sequence[str]
) -> tuple[list[File], list[str]]:
    """The files to write, and what is left for the user, as lines: a file that is there is not replaced.

    Raises InstallError where a file cannot be read.
    """
    found: list[File] = []
    left: list[str] = []
    if pre_commit:
        there = content(repository, frameworks.CONFIG)
        if there is None:
            whole = frameworks.configuration().encode()
            found.append(File(frameworks.CONFIG, whole, "the recommended hooks; commit it"))
        elif frameworks.REPOSITORY.encode() not in there:
            left += [f"add this to the repos of {frameworks.CONFIG}:", *frameworks.entry().splitlines()]
    if gitignore and (lines := missing_lines(repository)):
        before = content(repository, ".gitignore") or b""
        end = b"\r\n" if b"\r\n" in before else b"\n"
        gap = b"" if not before or before.endswith(b"\n") else end
        added = b"".join(os.fsencode(line) + end for line in lines)
        found.append(File(".gitignore", before + gap + added, f"{' '.join(lines)}; commit it"))
    for service in services:
        for name, text in ci.files(service).items():
            there = content(repository, name)
            if there is None:
                found.append(File(name, text.encode(), f"checks on {service}; commit it"))
            elif name == ci.GITLAB and ci.GITLAB_OURS.encode() not in there:
                left.append(f"left as it is: {name}; add to it: {' '.join(ci.GITLAB_INCLUDE.split())}")
            elif name != ci.GITLAB and there != text.encode():
                left.append(f"left as it is: {name}, which is another file than this release writes")
    return found, left


def offers(repository: Repository) -> Iterator[str]:
    """What this repository is missing that nobody installs unasked, and how to have it."""
    lines = missing_lines(repository)
    if lines:
        how = "to have it: deriva-ml-hooks install --gitignore"
        yield f"what runs leave is not ignored: {' '.join(lines)} ({how})"
    filtered = repository.setting("filter", "clean", "nbstripout") is not None
    if not filtered and _listed(repository, "--", "*.ipynb"):
        how = f"{packages.running('nbstripout')} --install"
        yield f"git does not look past the outputs of notebooks (to have it: {how})"


def missing_lines(repository: Repository) -> list[str]:
    """Lines that .gitignore lacks for what is untracked and no code, and for what common tools leave."""
    tracked = _listed(repository)
    folders = [folder for folder in FOLDERS if not any(path.startswith(f"{folder}/") for path in tracked)]
    asked = "".join(f"{folder}/\0" for folder in (*folders, *ANYWHERE)).encode()
    told = repository.git("check-ignore", "-z", "--stdin", "--no-index", stdin=asked)
    ignored = told.stdout.decode().split("\0")
    lines = [f"/{folder}/" for folder in folders if f"{folder}/" not in ignored]
    lines += [f"{folder}/" for folder in ANYWHERE if f"{folder}/" not in ignored]
    found = sort(_listed(repository, "--others", "--exclude-standard"), tracked)
    return [*dict.fromkeys([*lines, *found.lines])]


def _listed(repository: Repository, *words: str) -> list[str]:
    answer = repository.git("ls-files", "-z", *words).checked()
    return [os.fsdecode(name) for name in answer.split(b"\0") if name]


def content(repository: Repository, name: str) -> bytes | None:
    """What is in a file of the worktree; None where there is none.

    Raises InstallError where it cannot be read, and where a link leads out of the worktree.
    """
    top = os.path.join(os.path.realpath(repository.worktree), "")
    path = os.path.join(repository.worktree, name)
    if not (os.path.realpath(os.path.dirname(path)) + os.sep).startswith(top):
        what = f"{name}: a symbolic link leads out of the repository"
        raise InstallError(what, fix="put a folder in its place")
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        what = f"{name}: cannot be read: {error.strerror}"
        raise InstallError(what, fix="see its owner and mode") from None


def write_steps(repository: Repository, files: Iterable[File]) -> list[Step]:
    """What writes the files."""
    return [write(os.path.join(repository.worktree, file.name), file.data, file.why) for file in files]


def restore_steps(repository: Repository, undo: Undo, say: Callable[[str], None]) -> Iterator[Step]:
    """What takes back the files that were written; what was edited or committed since stays, and is said."""
    for name, (written, before) in undo.files.items():
        there = content(repository, name)
        since = "edited" if there != written else "committed" if _committed(repository, name, written) else ""
        path = os.path.join(repository.worktree, name)
        if there is None:
            continue
        if since:
            say(f"left as it is: {name} (it was {since} since)")
        elif before is None:
            yield remove(path, "it was not here before")
        else:
            yield write(path, before, "as it was before")


def _committed(repository: Repository, name: str, data: bytes | None) -> bool:
    head = repository.head()
    entry = repository.entry(repository.commit(head).tree, name) if head else None
    return entry is not None and repository.blob(entry[1]).data == data


# --- what is written down ---


def with_written(repository: Repository, undo: Undo, files: Iterable[File]) -> Undo:
    """`undo`, once `files` are written; what was before us stays known as that."""
    known = dict(undo.files)
    for file in files:
        there = content(repository, file.name)
        written, before = known.get(file.name, (None, None))
        known[file.name] = (file.data, before if written is not None and written == there else there)
    return undo._replace(files=known)


def _path(repository: Repository) -> str:
    return os.path.join(own.folder(repository.common_dir), "installed.json")


def remembered(repository: Repository) -> Undo:
    """What was written down; nothing where that cannot be read."""
    try:
        with open(_path(repository), "rb") as file:
            found = json.load(file)
        files = {name: (_data(written), _data(before)) for name, (written, before) in found["files"].items()}
        return Undo(tuple(map(str, found["types"])), files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return NOTHING


def remember(repository: Repository, undo: Undo) -> None:
    """Write down `undo`; nothing remains where there is nothing to undo. Raises InstallError."""
    path = _path(repository)
    if undo == remembered(repository):
        return
    document = json.dumps(undo._asdict(), default=lambda data: data.decode("latin-1"))
    try:
        if undo == NOTHING:
            os.unlink(path)
        else:
            own.write(repository, path, document.encode("ascii"))
    except OSError as error:
        raise InstallError(f"{path}: {error.strerror}", fix="see the owner of the git directory") from None


def _data(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")
