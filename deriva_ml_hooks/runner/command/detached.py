"""Commands that hand another one over and end: a record of them would be closed before that has run.

Only the words are read, those of a shell's `-c` too, not the scripts that they name.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress

from deriva_ml_hooks.redact import redact_command
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.runner.command.launchers import launcher_of
from deriva_ml_hooks.runner.command.options import Kind, Launcher, Operand, operand
from deriva_ml_hooks.runner.command.quoted import ASSIGNMENT, commands

CODE = "handed-over"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SCHEDULERS: Mapping[str, Launcher] = {
    "sbatch": Launcher(
        Operand.SCRIPT,
        values=_words("--* -A -a -B -b -C -c -D -d -e -F -G -i -J -L -M -m -N -n -o -p -q -S -t -w -x"),
        flags=_words(
            "--contiguous --exclusive --get-user-env --hold --ignore-pbs --nice --no-kill --no-requeue"
            " --overcommit --oversubscribe --parsable --propagate --quiet --reboot --requeue --spread-job"
            " --test-only --use-min-nodes --verbose --wait"
        ),
        switches={"--wrap": Kind.INLINE},
    ),
    "qsub": Launcher(
        Operand.SCRIPT,
        values=_words(
            "-A -a -ac -b -binding -C -c -ckpt -D -d -dc -dl -e -F -hold_jid -hold_jid_ad -i -J -j -js -k -l"
            " -M -m -N -now -o -P -p -q -R -r -S -sc -shell -sync -t -tc -u -v -W -w -wd"
        ),
        pairs=_words("-pe"),
        clusters=False,
    ),
    "bsub": Launcher(
        Operand.SCRIPT,
        values=_words(
            "-a -app -b -C -c -cwd -D -E -Ep -e -env -eo -ext -F -f -G -g -gpu -i -is -J -Jd -k -L -Lp -M -m"
            " -n -o -oo -P -p -q -R -rnc -S -sla -sp -T -t -U -u -W -w -We -wt -wa"
        ),
        clusters=False,
    ),
}
"""How the submitters of Slurm, of PBS and Grid Engine, and of LSF read their words."""
_CONTAINER = Launcher(
    Operand.COMMAND,
    verbs=_words("run"),
    values=_words("--* -a -c -e -h -l -m -p -u -v -w"),
    flags=_words(
        "--detach --init --interactive --no-healthcheck --oom-kill-disable --privileged --publish-all --quiet"
        " --read-only --rm --sig-proxy --tty"
    ),
)
_OTHERS: Mapping[str, Launcher] = {
    **dict.fromkeys(("docker", "podman", "nerdctl"), _CONTAINER),
    "setsid": Launcher(Operand.COMMAND),
    "systemd-run": Launcher(
        Operand.COMMAND,
        values=_words("--* -C -E -H -M -p -u"),
        flags=_words(
            "--collect --no-ask-password --no-block --pipe --pty --quiet --remain-after-exit --same-dir"
            " --scope --send-sighup --shell --system --user --wait"
        ),
    ),
}
_ALWAYS = _words("at batch condor_submit daemonize dtach oarsub pueue screen tmux tsp")
_UNLESS: Mapping[str, frozenset[str]] = {
    "sbatch": _words("-W --wait"),
    "qsub": _words("-sync -I"),
    "bsub": _words("-K -I -Ip -Is"),
    "systemd-run": _words("--wait --scope -t --pty -P --pipe -S --shell"),
}
"""Options with which they wait for what they have handed over."""
_ONLY_WITH: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("docker", "podman", "nerdctl"), _words("-d --detach")),
    "setsid": _words("-f --fork"),
    "start-stop-daemon": _words("-b --background"),
}
_BACKGROUND = re.compile(r"(?<![&<>])&(?![&<>])")
_DEEPEST = 4


def handed_over(argv: Sequence[str]) -> Finding | None:
    """Why a record of the command `argv` would say nothing of what runs; None where it is the run itself."""
    name = _detacher(argv, 0)
    if name is None:
        return None
    if name == "&":
        message = "the shell puts a command into the background, and ends without waiting for it"
        return Finding(CODE, None, message, "leave the & out, or let the shell end with: wait")
    message = f"{name} hands the command over and ends, so the record would be closed before it has run"
    fix = f"put the runner inside: {name} ... deriva-ml-hooks run -- COMMAND"
    if name in SCHEDULERS:
        words = redact_command(argv) if os.path.basename(argv[0]) == name else [name, "JOB.sh"]
        fix = f"deriva-ml-hooks submit -- {shlex.join(words)}"
    return Finding(CODE, None, message, fix)


def script_at(argv: Sequence[str]) -> int | None:
    """Where the words of a submitter name the script of the job; None where they do not."""
    runs, rest, _ = operand(SCHEDULERS[os.path.basename(argv[0])], argv[1:], "")
    return len(argv) - len(rest) if runs is Operand.SCRIPT and rest else None


def _detacher(words: Sequence[str], depth: int) -> str | None:
    """The program that hands over, or `&`."""
    while words and ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    while words:
        name = os.path.basename(words[0])
        launcher = SCHEDULERS.get(name) or _OTHERS.get(name) or launcher_of(name)
        runs, rest, _ = operand(launcher, words[1:], "") if launcher is not None else (None, (), "")
        before = words[1 : len(words) - len(rest)]
        said = {one for word in before for one in _options(word)}
        waits = _UNLESS.get(name)
        if name in _ALWAYS or (waits is not None and waits.isdisjoint(said)):
            return name
        if not _ONLY_WITH.get(name, frozenset()).isdisjoint(said):
            return name
        if launcher is None or name in SCHEDULERS:
            return None
        if launcher.switches.get("-c") is Kind.PROGRAM and runs is Kind.PROGRAM and depth < _DEEPEST:
            return _in_shell(before, depth + 1)
        words = rest if runs in (Operand.COMMAND, Operand.TARGET) else ()
    return None


def _options(word: str) -> set[str]:
    """The options in a word: a whole one, and each letter of a cluster."""
    if not word.startswith("-"):
        return set()
    return {word.partition("=")[0], *(f"-{letter}" for letter in word[1:] if not word.startswith("--"))}


def _in_shell(words: Sequence[str], depth: int) -> str | None:
    after = (at for at, word in enumerate(words) if word == "--command" or "-c" in _options(word))
    texts = [word for word in words[next(after, len(words)) + 1 :] if not word.startswith("-")]
    found = [*commands(texts[0])] if texts else []
    name = next(filter(None, (_detacher(command, depth) for command in found)), None)
    if name is None and texts and _goes_on(texts[0]) and ["wait"] not in [command[:1] for command in found]:
        return "&"
    return name


def _goes_on(text: str) -> bool:
    """Whether a shell that is given `text` leaves something in the background."""
    lexer = shlex.shlex(text, posix=False, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t\r", "", True
    with suppress(ValueError):  # quotes that have no end
        return any(_BACKGROUND.search(token) for token in lexer if set(token) <= set("();<>|&\n"))
    return False
