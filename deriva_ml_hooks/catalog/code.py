"""Which file of the commit that ran a checksum stands for: DerivaML names code by its checksum alone.

A row that it found by that may name another commit, another path or even another repository, all of
which once had a file with the same content.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.remotes import Remote
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.record import RecordedFile, Source

FindFile = Callable[[Execution, str, str | None], RecordedFile | None]
"""The file of an execution's commit with a checksum, best at a path; None where there is none."""


@dataclass(frozen=True, slots=True)
class Code:
    """The commits of one repository; `hosts` names the forge of self-hosted servers."""

    repository: Repository
    hosts: Mapping[str, str]

    def find(self, execution: Execution, checksum: str, path: str | None) -> RecordedFile | None:
        """The file of the execution's commit that has `checksum`: the one at `path`, else the first."""
        provenance = execution.provenance
        home = provenance["repository_url"]
        url, forge = remotes.public_url(home, base="/", hosts=self.hosts) if home else (None, None)
        source = Source(self.repository, Remote(provenance["remote"] or "", url, forge))
        commit, tree = provenance["commit"], provenance["tree"]
        try:
            for candidate in self._candidates(tree, checksum, path):
                try:
                    found = source.file(commit, tree, candidate)
                except HooksError:
                    continue
                if checksum in (found.checksum, found.blob):
                    return found
        except HooksError:  # the commit is not here
            return None
        return None

    def _candidates(self, tree: str, checksum: str, path: str | None) -> Iterator[str]:
        if path is not None:
            yield path
        for name, blob in self._files(tree.encode("ascii"), ""):
            # The checksum of a notebook is that of what is left when it is stripped.
            if blob == checksum.encode("ascii", "replace") or name.endswith(".ipynb"):
                yield name

    def _files(self, tree: bytes, folder: str) -> Iterator[tuple[str, bytes]]:
        for entry in self.repository.tree(tree).iteritems():
            name = folder + os.fsdecode(entry.path)
            if entry.mode == 0o040000:
                yield from self._files(entry.sha, name + "/")
            elif entry.mode & 0o170000 == 0o100000:
                yield name, entry.sha
