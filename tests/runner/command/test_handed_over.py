"""A command that hands another one over is not the run: refused, with what to do instead."""

from __future__ import annotations

import shlex

import pytest

from deriva_ml_hooks.gate import RefusedError
from deriva_ml_hooks.runner.command.handed_over import handed_over, script_at
from deriva_ml_hooks.runner.request import Request, accept


@pytest.mark.parametrize(
    "command",
    [
        "sbatch job.sh",
        "/opt/slurm/bin/sbatch -p gpu --mem=4G job.sh --wait",
        "qsub -l nodes=1 job.sh",
        "bsub -q long ./job.sh",
        "tmux new-session -d python train.py",
        "screen -dm python train.py",
        "systemd-run --user python train.py --wait",
        "at now",
        "docker run -d image",
        "setsid --fork python train.py",
        "env A=1 nice -n 3 sbatch job.sh",
        "A=1 uv run sbatch job.sh",
        "bash -lc 'nohup python train.py > log 2>&1 &'",
        "bash -c 'python train.py & echo started'",
        "sh -c '(python train.py &)'",
        "sh -c 'if true; then sbatch job.sh; fi'",
        "bash -c \"sh -c 'qsub job.sh'\"",
        "bash -c 'echo python train.py | at now'",
    ],
)
def test_what_hands_its_command_over_is_told(command: str) -> None:
    found = handed_over(shlex.split(command))
    assert found is not None
    assert found.code == "handed-over"


@pytest.mark.parametrize(
    "command",
    [
        "python train.py",
        "nohup python train.py",
        "sbatch --wait job.sh",
        "bsub -K job.sh",
        "srun -n 4 python train.py",
        "systemd-run --scope python train.py",
        "systemd-run -tP --user python train.py",
        "docker run --rm image",
        "docker run --rm -v a:b --name x image program -d",
        "setsid --wait python train.py",
        "bash -c 'python a.py & python b.py & wait'",
        "bash -c 'python train.py > log 2>&1 && echo done'",
        "bash -c 'python train.py &> log'",
        'bash -c \'echo "a & b" "sbatch"\'',
        "bash train.sh -c 'x &'",
        "python -c 'a & b'",
        "echo sbatch job.sh",
    ],
)
def test_what_runs_here_is_not(command: str) -> None:
    assert handed_over(shlex.split(command)) is None


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("sbatch -p gpu --mem 4G --parsable -vJ name job.sh --array 3", "job.sh"),
        ("qsub -pe smp 4 -V job.sh x", "job.sh"),
        ("bsub -q long -n 4 ./job.sh x", "./job.sh"),
        ("sbatch --wrap 'python train.py'", None),
        ("sbatch -p gpu", None),
    ],
)
def test_the_script_of_a_job_is_found(command: str, script: str | None) -> None:
    words = shlex.split(command)
    at = script_at(words)
    assert (None if at is None else words[at]) == script


def test_it_is_refused_with_what_to_do_instead(repo: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo.path)  # type: ignore[attr-defined]
    with pytest.raises(RefusedError) as refused:
        accept(Request(["sbatch", "--export=TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345", "src/train.py"]))
    (reason,) = refused.value.reasons
    assert reason.fix == "deriva-ml-hooks submit -- sbatch '--export=TOKEN=***' src/train.py"
