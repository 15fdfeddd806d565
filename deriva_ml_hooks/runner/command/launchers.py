"""The launchers: every program and Python module known to run another file, and how each reads its words.

Only what decides where the operand stands is here. An option that is missing is taken for a flag, which at
worst names a file that does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from deriva_ml_hooks.runner.command.options import Kind, Launcher, Operand

# python3.11, python3.13t (free-threaded), python3-dbg, coverage-3.11
_VERSION = re.compile(r"(?:-?\d[\d.]*t?)?(?:-dbg)?$")


def launcher_of(name: str) -> Launcher | None:
    """The launcher that a program name or path stands for; None for every other program."""
    program = re.split(r"[\\/]", name)[-1]
    if program[-4:].lower() in (".exe", ".bat", ".cmd"):
        program = program[:-4]
    return LAUNCHERS.get(program) or LAUNCHERS.get(_VERSION.sub("", program))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COMMAND, TARGET, SCRIPT, PYTHON, MODULE = Operand
_MODULE_SWITCHES = {"-m": MODULE, "--module": MODULE}
_INLINE = {"-e": Kind.INLINE, "--eval": Kind.INLINE}
_TORCH = Launcher(
    PYTHON,
    values=_words(
        "--nnodes --nproc-per-node --node-rank --master-addr --master-port --local-addr --rdzv-backend"
        " --rdzv-endpoint --rdzv-id --rdzv-conf --max-restarts --monitor-interval --start-method --role"
        " --log-dir --event-log-handler --local-ranks-filter --logs-specs --numa-binding --signals-to-handle"
        " --redirects --tee -r -t"
    ),
    switches={**_MODULE_SWITCHES, "--no-python": COMMAND},
)
_ACCELERATE = Launcher(
    PYTHON,
    # Nearly every option of `accelerate launch` has a value, and each release adds some.
    values=_words("--* -t"),
    flags=_words(
        "--quiet --cpu --multi-gpu --tpu --enable-cpu-affinity --dynamo-use-fullgraph --dynamo-use-dynamic"
        " --dynamo-use-regional-compilation --use-deepspeed --use-fsdp --use-parallelism-config"
        " --use-megatron-lm --use-xpu --ipex --same-network --tpu-cluster --no-tpu-cluster --tpu-use-sudo"
        " --downcast-bf16 --fp8-use-autocast-during-eval --debug"
    ),
    switches={**_MODULE_SWITCHES, "--no-python": COMMAND},
)
_DEEPSPEED = Launcher(
    PYTHON,
    values=_words(
        "-H --hostfile -i --include -e --exclude --num-nodes --min-elastic-nodes --max-elastic-nodes"
        " --num-gpus --num-accelerators --master-port --master-addr --node-rank --launcher --launcher-args"
        " --enable-each-rank-log --autotuning --comment --account --bind-core-list --ssh-port"
    ),
    switches={"--module": MODULE, "--no-python": COMMAND},
)
_MPI = Launcher(
    COMMAND,
    values=_words(
        "-n -np -N -c -H -x -f -ppn -host -hosts --host -hostfile --hostfile -machinefile --machinefile"
        " -npernode --npernode -npersocket --npersocket --np --map-by -map-by --bind-to -bind-to --rank-by"
        " --path -path --prefix -prefix --output-filename --timeout --app --genvlist -genvlist -envlist"
        " -rankfile --rankfile -rf"
    ),
    pairs=_words("-mca --mca -gmca --gmca -genv -env"),
    folders=_words("-wdir --wdir -wd --wd"),
    clusters=False,
)
_SHELL = Launcher(
    SCRIPT,
    alone=Kind.STDIN,
    values=_words("-o +o -O +O --rcfile --init-file"),
    switches={"-c": Kind.PROGRAM, "-s": Kind.STDIN},
    marks="-+",
)
_CONDA = Launcher(
    COMMAND,
    verbs=_words("run"),
    values=_words("-n --name -p --prefix -r --root-prefix -e --env -a --attach --label"),
    folders=_words("--cwd"),
)
_PAPERMILL = Launcher(
    SCRIPT,
    alone=Kind.STDIN,
    values=_words(
        "-f --parameters-file -y --parameters-yaml -b --parameters-base64 -k --kernel -l --language --engine"
        " --cwd --autosave-cell-every --stdout-file --stderr-file --log-level --start-timeout"
        " --execution-timeout"
    ),
    pairs=_words("-p --parameters -r --parameters-raw"),
)
_NOTEBOOK_VALUES = _words(
    "--to --output --output-dir --template --template-file --theme --config --log-level --post --writer"
    " --nbformat --kernel --kernel-name --timeout --startup-timeout --ExecutePreprocessor.timeout"
    " --ExecutePreprocessor.kernel-name"
)
_NOTEBOOK = Launcher(SCRIPT, values=_NOTEBOOK_VALUES, switches={"--stdin": Kind.STDIN})
_JUPYTER = Launcher(
    SCRIPT,
    verbs=_words("nbconvert execute run"),
    values=_NOTEBOOK_VALUES,
    switches={"--stdin": Kind.STDIN},
)
_DERIVA_NOTEBOOK = Launcher(
    SCRIPT,
    values=_words(
        "-f --file -k --kernel --host --catalog --token --oauth2-token --credential-file --config-file"
    ),
    pairs=_words("-p --parameter"),
)
_COVERAGE = Launcher(
    PYTHON,
    verbs=_words("run"),
    values=_words("--source --source-pkgs --omit --include --rcfile --data-file --context --concurrency"),
    switches=_MODULE_SWITCHES,
)
_PROFILER = Launcher(PYTHON, values=_words("-o --outfile -s --sort"), switches={"-m": MODULE})
_GATE = Launcher(COMMAND, verbs=_words("run"), values=_words("--description --entry-point --json --catalog"))
_IPYTHON = Launcher(
    PYTHON,
    values=_words("--profile --profile-dir --ipython-dir --config --log-level --logfile --ext"),
    switches={"-c": Kind.INLINE, "-m": MODULE},
)
_STREAMLIT = Launcher(SCRIPT, verbs=_words("run"), values=_words("--*"))
_MARIMO = Launcher(
    SCRIPT,
    verbs=_words("run edit"),
    values=_words("-p --port --host --proxy --base-url -l --log-level --token-password --session-ttl"),
)
_UV = Launcher(
    TARGET,
    verbs=frozenset({"run", "tool run"}),
    values=_words(
        "-p --python -w --with --with-editable --with-requirements -C --config-setting"
        " --config-settings-package -P --upgrade-package --upgrade-group -f --find-links -i --index-url"
        " --extra-index-url --index --default-index --index-strategy --keyring-provider --allow-insecure-host"
        " --cache-dir --color --config-file --env-file --exclude-newer --exclude-newer-package --extra"
        " --no-extra --group --no-group --only-group --fork-strategy --link-mode --no-binary-package"
        " --no-build-package --no-build-isolation-package --no-editable-package --no-sources-package"
        " --package --prerelease --prerelease-package --project --python-platform --refresh-package"
        " --reinstall-package --resolution --from"
    ),
    folders=_words("--directory"),
    switches={"-m": MODULE, "--module": MODULE, "-s": PYTHON, "--script": PYTHON, "--gui-script": PYTHON},
)
_PYTHON = Launcher(
    PYTHON,
    alone=Kind.STDIN,
    values=_words("-W -X --check-hash-based-pycs --jit"),
    switches={
        "-c": Kind.INLINE,
        "-m": MODULE,
        **dict.fromkeys(("-h", "-?", "-V", "--help-env", "--help-xoptions", "--help-all"), Kind.PROGRAM),
    },
)

LAUNCHERS: Mapping[str, Launcher] = {
    # Interpreters
    **dict.fromkeys(("python", "pythonw", "pypy", "py"), _PYTHON),
    "ipython": _IPYTHON,
    **dict.fromkeys(("bash", "sh", "zsh", "dash", "ksh"), _SHELL),
    "fish": Launcher(
        SCRIPT,
        alone=Kind.STDIN,
        values=_words("-C --init-command -d --debug -o --debug-output -f --features --profile"),
        switches={"-c": Kind.PROGRAM, "--command": Kind.PROGRAM},
    ),
    "Rscript": Launcher(SCRIPT, switches={"-e": Kind.INLINE}, clusters=False),
    "R": Launcher(
        SCRIPT,
        alone=Kind.STDIN,
        values=_words("-g -d --gui --debugger"),
        flags=_words("CMD BATCH"),
        switches={"-f": SCRIPT, "--file": SCRIPT, "-e": Kind.INLINE},
        clusters=False,
    ),
    "julia": Launcher(
        SCRIPT,
        alone=Kind.STDIN,
        values=_words("-p --procs -t --threads -J --sysimage -L --load -H --home -C --cpu-target"),
        glued=_words("-O -g"),
        switches={"-E": Kind.INLINE, "--print": Kind.INLINE, "-m": Kind.PROGRAM, **_INLINE},
        marks="-+",  # juliaup: `julia +1.11 x.jl`
    ),
    "perl": Launcher(
        SCRIPT,
        alone=Kind.STDIN,
        values=_words("-I"),
        glued=_words("-M -m -i -F -D -x -C -V -d"),
        switches={"-e": Kind.INLINE, "-E": Kind.INLINE, "-v": Kind.PROGRAM},
    ),
    "ruby": Launcher(
        SCRIPT,
        alone=Kind.STDIN,
        values=_words("-I -r -E --encoding"),
        folders=_words("-C"),
        glued=_words("-W -K -T -F -i -x"),
        switches={"-e": Kind.INLINE},
    ),
    "node": Launcher(
        SCRIPT,
        alone=Kind.STDIN,
        values=_words("-r --require --import --loader --experimental-loader -C --conditions"),
        switches={"-p": Kind.INLINE, "--print": Kind.INLINE, "-v": Kind.PROGRAM, **_INLINE},
    ),
    **dict.fromkeys(
        ("lua", "luajit"),
        Launcher(SCRIPT, alone=Kind.STDIN, values=_words("-l"), switches={"-e": Kind.INLINE}),
    ),
    "php": Launcher(
        SCRIPT,
        alone=Kind.STDIN,
        values=_words("-c -d -z"),
        switches={
            "-f": SCRIPT,
            "--file": SCRIPT,
            "-r": Kind.INLINE,
            "--run": Kind.INLINE,
            **dict.fromkeys(("-S", "-a", "-i", "-v", "-R", "-B", "-E", "-F"), Kind.PROGRAM),
        },
    ),
    "deno": Launcher(
        SCRIPT,
        verbs=_words("run"),
        values=_words("-c --config --import-map --lock --cert --seed --location --preload --env-file"),
    ),
    "octave": Launcher(
        SCRIPT,
        alone=Kind.STDIN,
        values=_words("-p --path --image-path --info-file --doc-cache-file"),
        switches={"--eval": Kind.INLINE},
    ),
    "tclsh": Launcher(SCRIPT, alone=Kind.STDIN, values=_words("-encoding"), clusters=False),
    # Notebooks and apps
    "papermill": _PAPERMILL,
    "jupyter": _JUPYTER,
    **dict.fromkeys(("jupyter-nbconvert", "jupyter-execute", "jupyter-run"), _NOTEBOOK),
    "deriva-ml-run-notebook": _DERIVA_NOTEBOOK,
    "marimo": _MARIMO,
    "streamlit": _STREAMLIT,
    # Environments
    "uv": _UV,
    "uvx": Launcher(COMMAND, values=_UV.values, folders=_UV.folders),
    "poetry": Launcher(
        COMMAND, verbs=_words("run"), values=_words("-P --project"), folders=_words("-C --directory")
    ),
    "pdm": Launcher(
        TARGET, verbs=_words("run"), values=_words("-p --project -c --config --venv --recreate-site")
    ),
    "pipenv": Launcher(COMMAND, verbs=_words("run"), values=_words("--python --pypi-mirror")),
    "hatch": Launcher(
        TARGET,
        verbs=_words("run"),
        values=_words("-e --env -p --project --data-dir --cache-dir --config"),
        marks="-+",  # `hatch run +py=3.12 test:cmd`
        prefixed=True,
    ),
    "pixi": Launcher(
        COMMAND,
        verbs=_words("run"),
        values=_words("-e --environment -m --manifest-path --color --auth-file --tls-root-certs -w"),
    ),
    "rye": Launcher(COMMAND, verbs=_words("run"), values=_words("-f --pyproject --env-file")),
    **dict.fromkeys(("conda", "mamba", "micromamba"), _CONDA),
    # What a system puts around a command
    "env": Launcher(
        COMMAND,
        values=_words("-u --unset -a --argv0"),
        folders=_words("-C --chdir"),
        flags=_words("-"),
        switches={"-S": Kind.PROGRAM, "--split-string": Kind.PROGRAM},
        assignments=True,
    ),
    "sudo": Launcher(
        COMMAND,
        values=_words("-u --user -g --group -h --host -p --prompt -C -r --role -t --type -T -U -R --chroot"),
        folders=_words("-D --chdir"),
        switches={"-e": Kind.PROGRAM, "-l": Kind.PROGRAM, "-v": Kind.PROGRAM},
        assignments=True,
    ),
    "command": Launcher(COMMAND, switches={"-v": Kind.PROGRAM, "-V": Kind.PROGRAM}),
    "exec": Launcher(COMMAND, values=_words("-a")),
    **dict.fromkeys(("nohup", "setsid"), Launcher(COMMAND)),
    "caffeinate": Launcher(COMMAND, values=_words("-t -w")),
    "nice": Launcher(COMMAND, values=_words("-n --adjustment")),
    "time": Launcher(COMMAND, values=_words("-f --format -o --output")),
    "timeout": Launcher(COMMAND, values=_words("-k --kill-after -s --signal"), skipped=1),
    "stdbuf": Launcher(COMMAND, values=_words("-i --input -o --output -e --error")),
    "ionice": Launcher(COMMAND, values=_words("-c --class -n --classdata")),
    "chrt": Launcher(COMMAND, values=_words("-T -P -D"), skipped=1),
    "taskset": Launcher(COMMAND, skipped=1),
    "flock": Launcher(COMMAND, values=_words("-w --wait --timeout -E --conflict-exit-code"), skipped=1),
    "prlimit": Launcher(COMMAND, values=_words("-p --pid -o --output")),
    "setpriv": Launcher(
        COMMAND,
        values=_words(
            "--ambient-caps --inh-caps --bounding-set --ruid --euid --rgid --egid --reuid --regid --groups"
            " --securebits --pdeathsig --selinux-label --apparmor-profile"
        ),
    ),
    "strace": Launcher(
        COMMAND, values=_words("-a -b -e -E -I -o -O -p -P -s -S -u -U -X --output --trace --user --env")
    ),
    "systemd-run": Launcher(
        COMMAND,
        values=_words(
            "-H --host -M --machine -p --property -u --unit -E --setenv --slice --uid --gid --nice"
            " --description --service-type"
        ),
        folders=_words("--working-directory"),
    ),
    "valgrind": Launcher(COMMAND, clusters=False),
    "gdb": Launcher(
        COMMAND,
        values=_words("-ex --ex -x -d -iex -ix -p -c -cd --command --directory --eval-command --pid --core"),
        clusters=False,
    ),
    "xargs": Launcher(
        COMMAND,
        values=_words(
            "-a --arg-file -d --delimiter -E -I -L -n --max-args -P --max-procs -s --max-chars"
            " --process-slot-var"
        ),
        glued=_words("-e -i -l"),
    ),
    "numactl": Launcher(
        COMMAND,
        values=_words(
            "-i --interleave -p -m --membind -N --cpunodebind -C --physcpubind -P -w --weighted-interleave"
        ),
    ),
    "xvfb-run": Launcher(
        COMMAND,
        values=_words(
            "-n --server-num -s --server-args -e --error-file -f --auth-file -p --xauth-protocol -w --wait"
        ),
    ),
    # Clusters
    "srun": Launcher(
        COMMAND,
        values=_words(
            "-A --account -B --extra-node-info -C --constraint -J --job-name -L --licenses -M --clusters"
            " -N --nodes -S --core-spec -T --threads -W --wait -a --attach -b --begin -c --cpus-per-task"
            " -d --dependency -e --error -i --input -m --distribution -n --ntasks -o --output -p --partition"
            " -q --qos -r --relative -t --time -w --nodelist -x --exclude -G --gpus --cpu-bind --gres"
            " --gpus-per-node --gpus-per-task --gpu-bind --mem --mem-per-cpu --mem-per-gpu --mem-bind --mpi"
            " --ntasks-per-node --ntasks-per-gpu --ntasks-per-core --ntasks-per-socket --cpus-per-gpu"
            " --export --jobid --reservation --signal --tmp --hint --het-group --mail-type"
            " --mail-user --container-image --container-mounts --container-workdir --container-name --prolog"
            " --epilog --task-prolog --task-epilog --comment"
        ),
        folders=_words("-D --chdir"),
        glued=_words("-K -I"),
    ),
    **dict.fromkeys(
        ("mpirun", "mpiexec", "mpirun.openmpi", "mpiexec.openmpi", "mpiexec.hydra", "horovodrun"), _MPI
    ),
    "torchrun": _TORCH,
    "accelerate-launch": _ACCELERATE,
    "accelerate": Launcher(
        PYTHON,
        verbs=_words("launch"),
        values=_ACCELERATE.values,
        flags=_ACCELERATE.flags,
        switches=_ACCELERATE.switches,
    ),
    "deepspeed": _DEEPSPEED,
    # Measuring, and this project
    "coverage": _COVERAGE,
    "py-spy": Launcher(
        COMMAND,
        verbs=_words("record top"),
        values=_words("-o --output -d --duration -r --rate -f --format -p --pid"),
    ),
    **dict.fromkeys(("deriva-ml-hooks", "git-deriva"), _GATE),
}

MODULES: Mapping[str, Launcher] = {
    **{
        name: LAUNCHERS[name]
        for name in ("papermill", "jupyter", "marimo", "streamlit", "uv", "poetry", "pdm", "pipenv", "hatch")
    },
    "nbconvert": _NOTEBOOK,
    "deriva_ml.run_notebook": _DERIVA_NOTEBOOK,
    "deriva_ml_hooks": _GATE,
    "IPython": _IPYTHON,
    "torch.distributed.run": _TORCH,
    "torch.distributed.launch": _TORCH,
    "accelerate.commands.launch": _ACCELERATE,
    "accelerate.commands.accelerate_cli": LAUNCHERS["accelerate"],
    "deepspeed": _DEEPSPEED,
    "deepspeed.launcher.runner": _DEEPSPEED,
    "coverage": _COVERAGE,
    "cProfile": _PROFILER,
    "profile": _PROFILER,
    "pdb": Launcher(PYTHON, values=_words("-c --command"), switches={"-m": MODULE, "-p": Kind.PROGRAM}),
    "trace": Launcher(
        PYTHON,
        values=_words("-f --file -C --coverdir --ignore-module --ignore-dir"),
        switches={"--module": MODULE},
    ),
    "debugpy": Launcher(
        PYTHON,
        values=_words("--listen --connect --log-to --adapter-access-token --configure-subProcess"),
        switches={"-m": MODULE, "-c": Kind.INLINE, "--pid": Kind.PROGRAM},
    ),
    "mpi4py": Launcher(
        PYTHON,
        alone=Kind.STDIN,
        values=_words("-rc --rc -p -profile --profile"),
        switches={"-m": MODULE, "-c": Kind.INLINE},
        clusters=False,
    ),
}
"""Python modules that run another file when they are started with `python -m`."""
