"""Where a Python keeps what is installed, and what of it stands elsewhere. Nothing is started."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

_MARKS = ("pyvenv.cfg", "conda-meta")
_PATHS = re.compile(r"['\"](/[^'\"\n]+)['\"]")


def in_environment(path: str, top: str) -> bool:
    """Whether `path`, or a folder above it up to `top`, is an environment."""
    while not any(os.path.exists(os.path.join(path, mark)) for mark in _MARKS):
        if path in (top, os.path.dirname(path)):
            return False
        path = os.path.dirname(path)
    return True


def sites(python: str) -> list[str]:
    """Where a Python keeps what is installed, by the places alone."""
    folders = []
    for program in dict.fromkeys([python, os.path.realpath(python)]):
        prefix = Path(program).parent.parent
        for pattern in ("lib*/*/site-packages", "lib*/*/dist-packages", "local/lib/*/dist-packages"):
            folders += sorted(map(str, prefix.glob(pattern)))
        if (prefix / "pyvenv.cfg").is_file():
            break
    return folders


def installed_from(place: str) -> Iterator[str]:
    """What a folder of packages takes from elsewhere: by .pth files, the modules they import, and links."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(place)):
            entry = os.path.join(place, name)
            if name.endswith(".pth"):
                yield from filter(os.path.isabs, _named_by(entry))
            elif os.path.islink(entry):
                yield entry


def _named_by(pth: str) -> Iterator[str]:
    folder = os.path.dirname(pth)
    for line in Path(pth).read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        if not line.startswith(("import ", "import\t")):
            yield os.path.join(folder, line.strip())
            continue
        texts = [line]
        for module in re.findall(r"import\s+(\w+)", line):
            with contextlib.suppress(OSError):
                source = Path(folder, f"{module}.py")
                texts.append(source.read_text(encoding="utf-8", errors="surrogateescape"))
        for text in texts:
            yield from _PATHS.findall(text)
