"""Which file of the commit that ran a checksum stands for: DerivaML names code by its checksum alone.

A row that it found by that may name another commit, another path or even another repository, all of
which once had a file with the same content.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.remotes import Remote
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.record import RecordedFile, Source


@dataclass(frozen=True, slots=True)
class CommitFiles:
    """The files of one repository's commits; `hosts` names the forge of self-hosted servers."""

    repository: Repository
    hosts: Mapping[str, str]

    def find(self, execution: Execution, checksum: str, paths: Sequence[str]) -> RecordedFile | None:
        """The file of the execution's commit that has `checksum`: one of `paths`, else the first."""
        provenance = execution.provenance
        home = provenance["repository_url"]
        url, forge = remotes.public_url(home, base="/", hosts=self.hosts) if home else (None, None)
        source = Source(self.repository, Remote(provenance["remote"] or "", url, forge))
        commit, tree = provenance["commit"], provenance["tree"]
        with suppress(HooksError):  # the commit is not here
            for path in chain(paths, self._with_content(tree.encode("ascii"), checksum.encode(), "")):
                with suppress(HooksError):  # no file of the commit
                    found = source.file(commit, tree, path)
                    if checksum in (found.checksum, found.blob):
                        return found
        return None

    def _with_content(self, tree: bytes, checksum: bytes, folder: str) -> Iterator[str]:
        """Files whose blob is `checksum`, and all notebooks: their checksum is of the stripped one."""
        for entry in self.repository.tree(tree).iteritems():
            name = folder + os.fsdecode(entry.path)
            if entry.mode == 0o040000:
                yield from self._with_content(entry.sha, checksum, f"{name}/")
            elif entry.mode & 0o170000 == 0o100000 and (entry.sha == checksum or name.endswith(".ipynb")):
                yield name
