"""What the pages say that the code knows better: options, reasons, verdicts, settings, stages.

A line `{{ name words }}` in a page is replaced by what the function of that name makes of the words. mkdocs
calls it for each page (mkdocs.yml, hooks); the tests call it too.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from deriva_ml_hooks import cli
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.gate.reasons import Reason
from deriva_ml_hooks.hooks import declared, hook_ids
from deriva_ml_hooks.install import ci
from deriva_ml_hooks.verify.verdicts import Verdict

ROOT = Path(__file__).parents[1]
_LINE = re.compile(r"(?m)^\{\{ ([a-z-]+)((?: [\w-]+)*) \}\}$")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page with its tables filled in; raises KeyError for a name that is none."""
    return _LINE.sub(lambda found: TABLES[found[1]](*found[2].split()), markdown)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def options(*words: str) -> str:
    """The arguments and options of a command; of a hook (`hook ID`) its help as it stands."""
    if words[0] == "hook":
        said = io.StringIO()
        os.environ["COLUMNS"] = "100"
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            cli.main([*words, "--help"])
        return f"```text\n{said.getvalue().strip()}\n```"
    command = _command(words)
    rows = [
        (f"`{_spelling(parameter)}`", getattr(parameter, "help", None) or "")
        for parameter in command.params
        if not getattr(parameter, "hidden", False) and parameter.name != "help"
    ]
    return f"`deriva-ml-hooks {' '.join(words)}`\n\n" + _table(("option", ""), rows)


def _command(words: Iterable[str]) -> Any:
    from typer.main import get_command

    from deriva_ml_hooks.commands.program import program

    found: Any = get_command(program(list(words)[:1]))
    for word in words:
        found = found.commands[word]
    return found


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    if parameter.is_flag:
        return names
    return f"{names} {parameter.metavar or parameter.name.upper()}"


def hooks() -> str:
    """Every hook id with its stages."""
    rows = [
        (f"[`{hook['id']}`](#{hook['id']})", ", ".join(hook["stages"]), hook["description"])
        for hook in _manifest()
    ]
    return _table(("hook", "stages", "what it does"), rows)


def stages(hook_id: str) -> str:
    """When a hook runs, and on which files."""
    hook = next(hook for hook in _manifest() if hook["id"] == hook_id)
    files = "; Jupyter notebooks" if hook.get("types") == ["jupyter"] else ""
    return f"*{', '.join(declared(hook_id).stages)}{files}.*"


def _manifest() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    return loaded


def hook_settings() -> str:
    """The keys of each hook's own table."""
    tables = ((hook, declared(hook).settings) for hook in hook_ids())
    rows = [(f"`{hook}`", ", ".join(f"`{key}`" for key in keys)) for hook, keys in tables if keys]
    return _table(("table", "keys"), rows)


def reasons() -> str:
    """Every reason of the gate; (a policy) where the configuration says what becomes of it."""
    policies = {name.replace("_", "-") for name in Config._fields}
    rows = [
        (f"`{reason.code}`", reason.when + (" (a policy)" if reason.code in policies else ""))
        for reason in Reason
    ]
    return _table(("reason", "refused because"), rows)


def verdicts() -> str:
    """Every verdict of verify."""
    rows = [(f"`{verdict.code}`", verdict.meaning, verdict.usual_fix) for verdict in Verdict]
    return _table(("verdict", "what it means", "the usual fix"), rows)


def ci_workflow() -> str:
    """The workflow that `install --ci github` writes."""
    return f"```yaml\n{ci.text('github')}```"


TABLES: dict[str, Callable[..., str]] = {
    "options": options,
    "hooks": hooks,
    "stages": stages,
    "hook-settings": hook_settings,
    "reasons": reasons,
    "verdicts": verdicts,
    "ci-workflow": ci_workflow,
}
