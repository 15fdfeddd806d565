"""The launchers: the programs and Python modules known to run another file, and how each reads its words.

Only what decides where the operand stands is here. An option that is missing is taken for a flag, which at
worst names a file that does not exist. Any other program may run whatever its words name (`loose`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deriva_ml_hooks.runner.command.options import Kind, Launcher, Operand

# python3.11, python3.13t (free-threaded), python3-dbg, coverage-3.11
_VERSION = re.compile(r"(?:-?\d[\d.]*t?)?(?:-dbg)?$")


def launcher_of(name: str) -> Launcher | None:
    """The launcher that a program name or path stands for; None for every other program."""
    program = re.split(r"[\\/]", name)[-1].removesuffix(".exe")
    return LAUNCHERS.get(program) or LAUNCHERS.get(_VERSION.sub("", program))


def _launcher(runs: Operand, values: str = "", **others: Any) -> Launcher:
    """A launcher; options and verbs in one text."""
    others = {
        name: frozenset(told.split()) if isinstance(told, str) else told for name, told in others.items()
    }
    return Launcher(runs, values=frozenset(values.split()), **others)


COMMAND, TARGET, SCRIPT, PYTHON, MODULE = Operand
_MODULE = {"-m": MODULE, "--module": MODULE}
_OF_RANKS = {**_MODULE, "--no-python": COMMAND}
_PYTHON = _launcher(
    PYTHON,
    "-W -X --check-hash-based-pycs",
    alone=Kind.STDIN,
    switches={"-c": Kind.INLINE, "-m": MODULE, "-V": Kind.PROGRAM},
)
_SHELL = _launcher(
    SCRIPT,
    "-o +o -O +O --rcfile --init-file",
    alone=Kind.STDIN,
    switches={"-c": Kind.PROGRAM, "-s": Kind.STDIN},
)
_LANGUAGE = _launcher(
    SCRIPT,
    "-I -r --require --import -L --load -t --threads",
    glued="-F -M -O -W -i -m",
    flags="CMD BATCH",
    alone=Kind.STDIN,
    switches={
        **dict.fromkeys(("-e", "-E", "--eval", "--print"), Kind.INLINE),
        **dict.fromkeys(("-f", "--file"), SCRIPT),
    },
)
_TORCH = _launcher(
    PYTHON,
    "--nnodes --nproc-per-node --node-rank --master-addr --master-port --local-addr --rdzv-backend"
    " --rdzv-endpoint --rdzv-id --rdzv-conf --max-restarts --monitor-interval --start-method --role"
    " --log-dir --event-log-handler --local-ranks-filter --logs-specs --numa-binding --signals-to-handle"
    " --redirects --tee -r -t",
    switches=_OF_RANKS,
)
# Nearly every option of `accelerate launch` has a value, and each release adds some.
_ACCELERATE = _launcher(
    PYTHON,
    "--* -t",
    flags="--quiet --cpu --multi-gpu --tpu --enable-cpu-affinity --use-deepspeed --use-fsdp"
    " --use-parallelism-config --use-megatron-lm --use-xpu --ipex --same-network --tpu-cluster"
    " --no-tpu-cluster --tpu-use-sudo --downcast-bf16 --debug --dynamo-use-fullgraph --dynamo-use-dynamic",
    verbs="launch",
    switches=_OF_RANKS,
)
_ACCELERATE_LAUNCH = replace(_ACCELERATE, verbs=frozenset())
_DEEPSPEED = _launcher(
    PYTHON,
    "-H --hostfile -i --include -e --exclude --num-nodes --min-elastic-nodes --max-elastic-nodes"
    " --num-gpus --num-accelerators --master-port --master-addr --node-rank --launcher --launcher-args"
    " --autotuning --comment --account --bind-core-list --ssh-port",
    switches=_OF_RANKS,
)
_MPI = _launcher(
    COMMAND,
    "-n -np -N -c -H -x -f -ppn -host -hosts --host -hostfile --hostfile -machinefile --machinefile -npernode"
    " --npernode -npersocket --npersocket --np --map-by -map-by --bind-to -bind-to --rank-by --path -path"
    " --prefix -prefix --output-filename --timeout --genvlist -genvlist -envlist -rankfile --rankfile -rf",
    pairs="-mca --mca -gmca --gmca -genv -env",
    folders="-wdir --wdir -wd --wd",
    clusters=False,
)
_PAPERMILL = _launcher(
    SCRIPT,
    "-f --parameters-file -y --parameters-yaml -b --parameters-base64 -k --kernel -l --language --engine"
    " --cwd --autosave-cell-every --stdout-file --stderr-file --log-level --start-timeout"
    " --execution-timeout",
    pairs="-p --parameters -r --parameters-raw",
    alone=Kind.STDIN,
)
_JUPYTER = _launcher(
    SCRIPT,
    "--to --output --output-dir --template --template-file --theme --config --log-level --post"
    " --writer --nbformat --kernel --kernel-name --timeout --startup-timeout --ExecutePreprocessor.timeout"
    " --ExecutePreprocessor.kernel-name",
    verbs="nbconvert execute run",
    switches={"--stdin": Kind.STDIN},
)
_NBCONVERT = replace(_JUPYTER, verbs=frozenset())
_DERIVA_NOTEBOOK = _launcher(
    SCRIPT,
    "-f --file -k --kernel --host --catalog --token --oauth2-token --credential-file --config-file",
    pairs="-p --parameter",
)
_COVERAGE = _launcher(
    PYTHON,
    "--source --source-pkgs --omit --include --rcfile --data-file --context --concurrency",
    verbs="run",
    switches=_MODULE,
)
_PROFILER = _launcher(PYTHON, "-o --outfile -s --sort", switches={"-m": MODULE})
_DEBUGGER = _launcher(
    PYTHON,
    "-c --command --listen --connect --log-to -f --file -C --coverdir --ignore-module --ignore-dir",
    switches=_MODULE,
)
_OURS = _launcher(COMMAND, "--description --entry-point --json --catalog --output", verbs="run")
_UV = _launcher(
    TARGET,
    "-p --python -w --with --with-editable --with-requirements -C --config-setting -P"
    " --upgrade-package -f --find-links -i --index-url --extra-index-url --index --default-index"
    " --index-strategy --keyring-provider --allow-insecure-host --cache-dir --color --config-file --env-file"
    " --exclude-newer --extra --no-extra --group --no-group --only-group --fork-strategy --link-mode"
    " --no-binary-package --no-build-package --no-build-isolation-package --package --prerelease --project"
    " --python-platform --refresh-package --reinstall-package --resolution --from",
    folders="--directory",
    verbs=frozenset({"run", "tool run"}),
    switches={**_MODULE, **dict.fromkeys(("-s", "--script", "--gui-script"), PYTHON)},
)

LAUNCHERS: Mapping[str, Launcher] = {
    **dict.fromkeys(("python", "pythonw", "pypy", "py", "ipython"), _PYTHON),
    **dict.fromkeys(("bash", "sh", "zsh", "dash", "ksh", "fish"), _SHELL),
    **dict.fromkeys(
        ("Rscript", "R", "julia", "perl", "ruby", "node", "lua", "php", "octave", "tclsh"), _LANGUAGE
    ),
    "papermill": _PAPERMILL,
    "jupyter": _JUPYTER,
    **dict.fromkeys(("jupyter-nbconvert", "jupyter-execute", "jupyter-run"), _NBCONVERT),
    "deriva-ml-run-notebook": _DERIVA_NOTEBOOK,
    "uv": _UV,
    "uvx": replace(_UV, runs=COMMAND, verbs=frozenset()),
    **dict.fromkeys(
        ("poetry", "pdm", "pipenv", "pixi", "rye"),
        _launcher(
            COMMAND,
            "-P -p --project --python -e --environment --manifest-path --env-file",
            folders="-C --directory",
            verbs="run",
        ),
    ),
    **dict.fromkeys(
        ("conda", "mamba", "micromamba"),
        _launcher(COMMAND, "-n --name -p --prefix -r --root-prefix -e -a", folders="--cwd", verbs="run"),
    ),
    "env": _launcher(
        COMMAND,
        "-u --unset -a --argv0",
        folders="-C --chdir",
        flags="-",
        switches=dict.fromkeys(("-S", "--split-string"), Kind.PROGRAM),
        assignments=True,
    ),
    "sudo": _launcher(
        COMMAND,
        "-u --user -g --group -h --host -p --prompt -C -r --role -t --type -T -U",
        folders="-D --chdir",
        switches=dict.fromkeys(("-e", "-l", "-v"), Kind.PROGRAM),
        assignments=True,
    ),
    "command": _launcher(COMMAND, switches=dict.fromkeys(("-v", "-V"), Kind.PROGRAM)),
    "exec": _launcher(COMMAND, "-a"),
    **dict.fromkeys(("nohup", "setsid"), _launcher(COMMAND)),
    "nice": _launcher(COMMAND, "-n --adjustment"),
    "time": _launcher(COMMAND, "-f --format -o --output"),
    "timeout": _launcher(COMMAND, "-k --kill-after -s --signal", skipped=1),
    "stdbuf": _launcher(COMMAND, "-i --input -o --output -e --error"),
    "ionice": _launcher(COMMAND, "-c --class -n --classdata"),
    "taskset": _launcher(COMMAND, skipped=1),
    "numactl": _launcher(
        COMMAND,
        "-i --interleave -p -m --membind -N --cpunodebind -C --physcpubind -P -w --weighted-interleave",
    ),
    "srun": _launcher(
        COMMAND,
        "--* -A -B -C -J -L -M -N -S -T -W -a -b -c -d -e -i -m -n -o -p -q -r -t -w -x -G",
        flags="--exact --exclusive --immediate --kill-on-bad-exit --label --multi-prog --no-allocate"
        " --overcommit --overlap --oversubscribe --preserve-env --pty --quiet --quit-on-interrupt --reboot"
        " --unbuffered --use-min-nodes --verbose",
        folders="-D --chdir",
        glued="-K -I",
    ),
    **dict.fromkeys(("mpirun", "mpiexec", "mpirun.openmpi", "mpiexec.openmpi", "mpiexec.hydra"), _MPI),
    "torchrun": _TORCH,
    "accelerate": _ACCELERATE,
    "accelerate-launch": _ACCELERATE_LAUNCH,
    "deepspeed": _DEEPSPEED,
    "coverage": _COVERAGE,
    **dict.fromkeys(("deriva-ml-hooks", "git-deriva"), _OURS),
}

MODULES: Mapping[str, Launcher] = {
    **{name: LAUNCHERS[name] for name in ("papermill", "jupyter", "uv", "coverage", "deepspeed")},
    "nbconvert": _NBCONVERT,
    "deriva_ml.run_notebook": _DERIVA_NOTEBOOK,
    "deriva_ml_hooks": _OURS,
    **dict.fromkeys(("IPython", "mpi4py"), _PYTHON),
    **dict.fromkeys(("torch.distributed.run", "torch.distributed.launch"), _TORCH),
    "accelerate.commands.launch": _ACCELERATE_LAUNCH,
    "accelerate.commands.accelerate_cli": _ACCELERATE,
    "deepspeed.launcher.runner": _DEEPSPEED,
    **dict.fromkeys(("cProfile", "profile"), _PROFILER),
    **dict.fromkeys(("pdb", "trace", "debugpy"), _DEBUGGER),
}
"""Python modules that run another file when they are started with `python -m`."""
