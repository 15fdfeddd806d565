"""What a change has to pass, by name: `nox --session NAME`; `.ci/run` and the workflows call the same.

In an environment that has `.[dev]` already: `nox --no-venv`.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["tests", "slow", "lint", "docs"]


def install(session: nox.Session) -> None:
    """Put the project and all that its tests need into the session's own environment, if it has one."""
    if isinstance(session.virtualenv, nox.virtualenv.VirtualEnv):
        session.install(".[dev]")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests of every day; words after `--` go to pytest."""
    install(session)
    session.run("pytest", "--numprocesses", "auto", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Crowds, kills, wheels, the matrix of pre-commit and prek."""
    install(session)
    session.run("pytest", "--numprocesses", "auto", "-m", "slow", *session.posargs)


@nox.session(venv_backend="uv", python="3.10")
def oldest(session: nox.Session) -> None:
    """The tests with the oldest dependencies that pyproject.toml allows."""
    session.run_install("uv", "pip", "install", "--resolution", "lowest-direct", ".[dev]")
    session.run("pytest", "--numprocesses", "auto", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Lint, format, types, and the shell of the native hooks."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("shellcheck", ".ci/run", *map(str, sorted(Path("hooks").iterdir())))


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation; every warning is an error."""
    install(session)
    session.run("mkdocs", "build", "--strict", "--quiet")
