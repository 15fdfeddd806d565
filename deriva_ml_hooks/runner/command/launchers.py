"""The launchers: the programs and Python modules known to run something else, and how each reads its words.

Only what decides where the operand stands is here. An option that is missing is taken for a flag, which at
worst names a file that does not exist. Any other program may run whatever its words name (`named_code`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from deriva_ml_hooks.runner.command.options import Kind, Launcher, read
from deriva_ml_hooks.runner.command.shell_words import ASSIGNMENT

_VERSION = re.compile(r"-?\d[\d.]*t?$")
"""python3.11, python3.13t (free-threaded), coverage-3.11"""
_MODULE = {"-m": Kind.MODULE, "--module": Kind.MODULE}
_OF_RANKS = {**_MODULE, "--no-python": Kind.COMMAND}
_JUPYTER = Launcher(
    "jupyter",
    Kind.FILE,
    modules="jupyter",
    verbs="nbconvert execute run",
    values="--*",
    flags="--execute --inplace --stdout --clear-output --no-input --no-prompt --allow-errors --debug",
    switches={"--stdin": Kind.STDIN},
)
_UV = Launcher(
    "uv",
    Kind.TARGET,
    modules="uv",
    verbs="tool run",
    values="-p --python -w --with --with-editable --with-requirements -C --config-setting -f --find-links -i"
    " --index-url --extra-index-url --index --default-index --cache-dir --color --config-file --env-file"
    " --exclude-newer --extra --no-extra --group --no-group --only-group --link-mode --package --prerelease"
    " --project --python-platform --resolution --from",
    folders="--directory",
    switches={**_MODULE, "-s": Kind.PYTHON, "--script": Kind.PYTHON},
)
_TABLE = (
    Launcher(
        "python pypy ipython",
        Kind.PYTHON,
        modules="IPython mpi4py",
        alone=Kind.STDIN,
        values="-W -X --check-hash-based-pycs",
        switches={"-c": Kind.INLINE, "-m": Kind.MODULE, "-V": Kind.PROGRAM},
    ),
    Launcher(
        "bash sh zsh dash ksh fish",
        Kind.FILE,
        alone=Kind.STDIN,
        values="-o +o -O +O --rcfile --init-file",
        switches={"-c": Kind.SHELL, "-s": Kind.STDIN},
    ),
    Launcher(
        "Rscript R julia",
        Kind.FILE,
        alone=Kind.STDIN,
        values="-L --load -t --threads",
        flags="CMD BATCH",
        switches={"-e": Kind.INLINE, "-E": Kind.INLINE, "-f": Kind.FILE, "--file": Kind.FILE},
    ),
    Launcher(
        "perl ruby node",
        Kind.FILE,
        alone=Kind.STDIN,
        values="-I -r --require --import",
        switches={"-e": Kind.INLINE, "-E": Kind.INLINE, "--eval": Kind.INLINE},
    ),
    Launcher(
        "papermill",
        Kind.FILE,
        modules="papermill",
        alone=Kind.STDIN,
        values="-f --parameters-file -y --parameters-yaml -b --parameters-base64 -k --kernel -l --language"
        " --engine --cwd --autosave-cell-every --stdout-file --stderr-file --log-level --start-timeout"
        " --execution-timeout",
        pairs="-p --parameters -r --parameters-raw",
    ),
    _JUPYTER,
    replace(_JUPYTER, names="jupyter-nbconvert jupyter-execute jupyter-run", modules="nbconvert", verbs=""),
    Launcher(
        "deriva-ml-run-notebook",
        Kind.FILE,
        modules="deriva_ml.run_notebook",
        values="--* -f -k",
        flags="--inspect --log-output --allow-dirty",
        pairs="-p --parameter",
    ),
    Launcher(
        "deriva-ml-hooks git-deriva",
        Kind.COMMAND,
        modules="deriva_ml_hooks",
        verbs="run",
        values="--description --entry-point --json --catalog --output",
    ),
    _UV,
    replace(_UV, names="uvx", modules="", verbs="", runs=Kind.COMMAND),
    Launcher(
        "poetry pdm pixi",
        Kind.COMMAND,
        verbs="run",
        values="-P -p --project --python -e --environment --manifest-path",
        folders="-C --directory",
    ),
    Launcher(
        "conda mamba micromamba",
        Kind.COMMAND,
        verbs="run",
        values="-n --name -p --prefix -r --root-prefix",
        folders="--cwd",
    ),
    Launcher(
        "env",
        Kind.COMMAND,
        values="-u --unset",
        folders="-C --chdir",
        flags="-",
        switches={"-S": Kind.SHELL, "--split-string": Kind.SHELL},
    ),
    Launcher("nohup exec", Kind.COMMAND),
    Launcher("setsid", Kind.COMMAND, leaves="-f --fork"),
    Launcher("nice", Kind.COMMAND, values="-n --adjustment"),
    Launcher("time", Kind.COMMAND, values="-f --format -o --output"),
    Launcher("timeout", Kind.COMMAND, values="-k --kill-after -s --signal", skipped=1),
    Launcher("sudo", Kind.COMMAND, values="-u --user -g --group", folders="-D --chdir"),
    Launcher(
        "srun",
        Kind.COMMAND,
        values="--* -*",
        flags="-E -H -I -K -O -Q -X -Z -k -l -s -u -v --exact --exclusive --immediate --kill-on-bad-exit"
        " --label --multi-prog --no-kill --overcommit --overlap --oversubscribe --preserve-env --pty --quiet"
        " --unbuffered --verbose",
        folders="-D --chdir",
    ),
    Launcher(
        "mpirun mpiexec mpirun.openmpi mpiexec.openmpi mpiexec.hydra",
        Kind.COMMAND,
        values="-n -np --np -N -c -H -x -f -ppn -host --host -hosts -hostfile --hostfile -machinefile"
        " --machinefile -npernode --npernode --map-by -map-by --bind-to -bind-to --rank-by --path --prefix"
        " --output-filename --timeout -genvlist -envlist -rankfile --rankfile",
        pairs="-mca --mca -gmca --gmca -genv -env",
        folders="-wdir --wdir -wd --wd",
    ),
    Launcher(
        "torchrun",
        Kind.PYTHON,
        modules="torch.distributed.run torch.distributed.launch",
        values="--* -r -t",
        flags="--standalone --use-env --run-path",
        switches=_OF_RANKS,
    ),
    # Nearly every option has a value, and each release adds some.
    Launcher(
        "accelerate",
        Kind.PYTHON,
        modules="accelerate.commands.accelerate_cli",
        verbs="launch",
        values="--* -t",
        flags="--quiet --cpu --multi-gpu --tpu --enable-cpu-affinity --use-deepspeed --use-fsdp --use-xpu"
        " --use-megatron-lm --ipex --same-network --debug --dynamo-use-fullgraph --dynamo-use-dynamic",
        switches=_OF_RANKS,
    ),
    Launcher(
        "deepspeed",
        Kind.PYTHON,
        modules="deepspeed deepspeed.launcher.runner",
        values="--* -H -i -e",
        flags="--no-local-rank --no-ssh --force-multi --save-pid --elastic-training --bind-cores-to-rank",
        switches=_OF_RANKS,
    ),
    Launcher(
        "coverage",
        Kind.PYTHON,
        modules="coverage",
        verbs="run",
        values="--source --source-pkgs --omit --include --rcfile --data-file --context --concurrency",
        switches=_MODULE,
    ),
    Launcher("", Kind.PYTHON, modules="cProfile pdb", values="-o -s -c", switches=_MODULE),
    Launcher(
        "sbatch",
        Kind.FILE,
        values="--* -*",
        flags="-H -I -O -Q -W -k -s -v --contiguous --exclusive --hold --no-kill --no-requeue --overcommit"
        " --oversubscribe --parsable --quiet --reboot --requeue --test-only --verbose --wait",
        switches={"--wrap": Kind.PROGRAM},
        waits="-W --wait",
    ),
    Launcher(
        "qsub",
        Kind.FILE,
        values="-* -ac -binding -ckpt -dc -dl -hold-jid -js -now -sc -shell -sync -tc -wd",
        flags="-I -V -X -h -z -terse -notify",
        pairs="-pe",
        waits="-I -sync",
    ),
    Launcher(
        "bsub",
        Kind.COMMAND,
        values="-* -Ep -Jd -Lp -We -app -cwd -env -eo -ext -gpu -is -oo -rnc -sla -sp -wa -wt",
        flags="-B -H -I -Ip -Is -K -N -V -h -r -x",
        waits="-I -Ip -Is -K",
    ),
    Launcher(
        "docker podman nerdctl",
        Kind.PROGRAM,
        verbs="run",
        values="--* -*",
        flags="-d -i -t -q -P --detach --init --interactive --privileged --publish-all --quiet --rm --tty",
        leaves="-d --detach",
    ),
    Launcher(
        "systemd-run",
        Kind.COMMAND,
        values="--* -*",
        flags="-G -P -S -d -q -r -t --collect --no-block --pipe --pty --quiet --remain-after-exit --same-dir"
        " --scope --shell --system --user --wait",
        waits="--wait --scope -t --pty -P --pipe -S --shell",
    ),
    Launcher("at batch condor_submit screen tmux tsp", Kind.PROGRAM, waits=""),
)
SCHEDULERS = ("sbatch", "qsub", "bsub")
"""The submitters of Slurm, of PBS and Grid Engine, and of LSF."""
LAUNCHERS: Mapping[str, Launcher] = {name: row for row in _TABLE for name in row.names.split()}
MODULES: Mapping[str, Launcher] = {name: row for row in _TABLE for name in row.modules.split()}


@dataclass(frozen=True, slots=True)
class Step:
    """One program of a command line: what the first of `words` is, and where it starts.

    `launcher`: how it reads the rest; None where it is the last. `options`: what it was told.
    """

    kind: Kind
    words: Sequence[str]
    cwd: str
    launcher: Launcher | None = None
    options: Sequence[str] = ()


def steps(argv: Sequence[str], cwd: str) -> Iterator[Step]:
    """The programs of `argv`, each of which starts the next; last what runs in the end.

    `cwd`: the folder it starts in, where `uv run` looks whether it is given a file.
    """
    kind, words = Kind.COMMAND, argv
    while words and kind in (Kind.COMMAND, Kind.MODULE):
        while len(words) > 1 and kind is Kind.COMMAND and ASSIGNMENT.fullmatch(words[0]):
            words = words[1:]
        launcher = launcher_of(words[0]) if kind is Kind.COMMAND else MODULES.get(words[0])
        if launcher is None:
            break
        runs, rest, there, options = read(launcher, words[1:], cwd)
        yield Step(kind, words, cwd, launcher, options)
        kind, words, cwd = runs, rest, there
        if kind is Kind.TARGET and words:
            kind = Kind.PYTHON if _is_python(words[0], cwd) else Kind.COMMAND
    yield Step(kind, words, cwd)


def launcher_of(name: str) -> Launcher | None:
    """The launcher that a program name or path stands for; None for every other program."""
    program = os.path.basename(name)
    return LAUNCHERS.get(program) or LAUNCHERS.get(_VERSION.sub("", program))


def is_interpreter(name: str) -> bool:
    """Whether a program runs the file that it is given, whatever it is called."""
    launcher = launcher_of(name)
    return launcher is not None and not launcher.verbs and launcher.runs in (Kind.PYTHON, Kind.FILE)


def _is_python(name: str, cwd: str) -> bool:
    """Whether `uv run` hands `name` to Python instead of looking for a program."""
    return (
        name == "-"
        or name.lower().endswith((".py", ".pyw", ".pyz", ".zip"))
        or os.path.isfile(os.path.join(cwd, name, "__main__.py"))
    )
