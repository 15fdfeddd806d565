"""What an installation does, as values: said before it is done, done one by one, each able to be repeated."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.files import write_atomically
from deriva_ml_hooks.git import process


class InstallError(HooksError):
    """A step that could not be done; what was done before it stays."""


@dataclass(frozen=True, slots=True)
class Write:
    """Put `data` at `path`; `why` in a few words."""

    path: str
    data: bytes
    why: str
    executable: bool = False

    def __str__(self) -> str:
        return f"write {self.path} ({self.why})"

    def do(self) -> None:
        """Write the file whole."""
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        write_atomically(self.path, self.data)
        if self.executable:
            os.chmod(self.path, 0o755)  # noqa: S103  # what git itself gives hooks


@dataclass(frozen=True, slots=True)
class Move:
    """Rename `path` to `target`, bytes and mode untouched."""

    path: str
    target: str
    why: str

    def __str__(self) -> str:
        return f"move {self.path} to {os.path.basename(self.target)} ({self.why})"

    def do(self) -> None:
        """Rename it; a file that is already there is never overwritten."""
        if os.path.lexists(self.target):
            raise InstallError(
                f"{self.target}: already there", fix=f"keep one of the two, remove {self.path}"
            )
        os.rename(self.path, self.target)


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete a file of ours."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"remove {self.path} ({self.why})"

    def do(self) -> None:
        """Delete it."""
        os.unlink(self.path)


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave a file where it is that cannot be put back."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"leave {self.path} ({self.why})"

    def do(self) -> None:
        """Nothing: it is there to be told."""


@dataclass(frozen=True, slots=True)
class Run:
    """Have another program do its part, in the folder `cwd`."""

    words: Sequence[str]
    cwd: str
    why: str

    def __str__(self) -> str:
        shown = " ".join([os.path.basename(self.words[0]), *self.words[1:]])
        return f"run {shown} ({self.why})"

    def do(self) -> None:
        """Run it; what it says is told when it fails."""
        try:
            done = subprocess.run(
                [*self.words],
                cwd=self.cwd,
                env=process.command_environment(),
                capture_output=True,
                check=False,
            )
        except OSError as error:
            raise InstallError(f"{self.words[0]}: {error.strerror}", fix="see that it is installed") from None
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").split()
            what = " ".join(said) or f"exit {done.returncode}"
            raise InstallError(f"{os.path.basename(self.words[0])}: {what}", fix=" ".join(self.words))


Step = Write | Move | Remove | Leave | Run


def do(step: Step) -> None:
    """Do one step; raises InstallError."""
    try:
        step.do()
    except OSError as error:
        raise InstallError(f"{step}: {error.strerror}", fix="see the owner and mode of that folder") from None
