"""``ncclprobe`` alone, and what shells complete."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from ncclprobe.cli.start import glanced
from ncclprobe.report.text.start import Machine, PastRun, start_text

HEAVY = ("numpy", "scipy", "cupy", "mpi4py", "pynvml", "tqdm", "tabulate")
FABRIC = pathlib.Path(__file__).parents[1] / "data" / "terminal" / "fabric.toml"
BARE = Machine(
    gpus=0, hcas=(), gpu_libraries=False, mpi4py=False, mpiexec=False, job="", launcher="mpirun", job_nodes=0, runs=(),
    runs_folder="ncclprobe-runs",
)  # fmt: skip


def python(*arguments: str, cwd: pathlib.Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **env}, check=True)


def test_nothing_heavy_is_imported(tmp_path: pathlib.Path) -> None:
    ended = python("-X", "importtime", "-m", "ncclprobe", cwd=tmp_path)
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in ended.stderr.splitlines()}
    assert "msgspec" in imported
    assert not imported & set(HEAVY)
    assert ended.stdout.startswith("ncclprobe ")


@pytest.mark.parametrize(
    ("changes", "here", "commands"),
    [
        ({}, "no GPUs, no HCAs, no MPI.", ["pip install 'ncclprobe[embedded]'"]),
        ({"mpi4py": True, "mpiexec": True}, "no GPUs, no HCAs, MPI.", ["ncclprobe tune"]),
        ({"mpi4py": True}, "no GPUs, no HCAs, no MPI.", ["pip install 'ncclprobe[embedded]'"]),
        (
            {"gpus": 8, "hcas": ("mlx5_0",)},
            "8 GPUs, 1 HCA, no MPI.",
            ["pip install 'ncclprobe[cuda13]'", "ncclprobe nodes --each gpu", "ncclprobe scan"],
        ),
        (
            {"gpus": 8, "gpu_libraries": True, "job": "Slurm job 7 on dgx[1-4]", "launcher": "srun", "job_nodes": 4},
            "8 GPUs, no HCAs, no MPI, Slurm job 7 on dgx[1-4].",
            ["ncclprobe tune", "ncclprobe nodes --launcher srun", "ncclprobe nodes --each gpu", "ncclprobe scan"],
        ),
    ],
)
def test_the_next_commands_fit_the_machine(changes: dict[str, object], here: str, commands: list[str]) -> None:
    text = start_text(BARE.with_(**changes), "1.0")
    first, following, last = text.split("\n\n")
    assert first == f"ncclprobe 1.0 sees here: {here}"
    assert [line.strip().split("  ")[0] for line in following.splitlines()[1:]] == commands
    assert last == "All commands: ncclprobe --help"
    assert max(map(len, text.splitlines())) <= 80


def test_earlier_runs_are_shown_or_gone_on_with() -> None:
    runs = (
        PastRun(path="ncclprobe-runs/2-sweep", command="sweep", is_finished=False),
        PastRun(path="ncclprobe-runs/1-scan", command="scan", is_finished=True),
    )
    text = start_text(BARE.with_(runs=runs), "1.0")
    assert "Earlier runs in ncclprobe-runs: 2\n" in text
    assert "ncclprobe report ncclprobe-runs/1-scan" in text
    assert "ncclprobe sweep --resume ncclprobe-runs/2-sweep" in text


def test_runs_that_are_there_are_seen(tmp_path: pathlib.Path) -> None:
    python("-m", "ncclprobe", "sweep", "--fabric", str(FABRIC), "--sizes", "8", "--seed", "1", cwd=tmp_path)
    (run,) = (tmp_path / "ncclprobe-runs").iterdir()
    assert f"ncclprobe report ncclprobe-runs/{run.name}" in python("-m", "ncclprobe", cwd=tmp_path).stdout
    (run / "document.json").unlink()
    assert f"ncclprobe sweep --resume ncclprobe-runs/{run.name}" in python("-m", "ncclprobe", cwd=tmp_path).stdout


def test_a_job_is_seen(tmp_path: pathlib.Path) -> None:
    slurm = glanced({"SLURM_JOB_ID": "12", "SLURM_JOB_NUM_NODES": "3", "SLURM_JOB_NODELIST": "dgx[1-3]"})
    assert (slurm.job, slurm.launcher, slurm.job_nodes) == ("Slurm job 12 on dgx[1-3]", "srun", 3)
    (tmp_path / "nodes").write_text("a\na\nb\n")
    pbs = glanced({"PBS_JOBID": "5.head", "PBS_NODEFILE": str(tmp_path / "nodes")})
    assert (pbs.job, pbs.launcher, pbs.job_nodes) == ("PBS job 5.head", "pbs", 2)


# ---- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shells_script_names_the_program(shell: str, tmp_path: pathlib.Path) -> None:
    script = python("-m", "ncclprobe", "completion", shell, cwd=tmp_path).stdout
    assert f"_NCCLPROBE_COMPLETE={shell}_complete" in script


COMPLETE = """
eval "$(ncclprobe completion bash)"
COMP_WORDS=({words}) COMP_CWORD={at}
_ncclprobe_completion ncclprobe
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ncclprobe s", ["scan", "sweep", "schema"]),
        ("ncclprobe sweep --bu", ["--budget"]),
        ("ncclprobe sweep --backend m", ["mpi"]),
        ("ncclprobe env e", ["emit", "explain"]),
        ("ncclprobe completion z", ["zsh"]),
        ("ncclprobe env explain NCCL_IB_H", ["NCCL_IB_HCA"]),
    ],
)
def test_bash_completes(words: str, expected: list[str], tmp_path: pathlib.Path) -> None:
    program = tmp_path / "ncclprobe"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from ncclprobe.cli import main; main()' \"$@\"\n")
    program.chmod(0o755)
    script = COMPLETE.format(words=words, at=len(words.split()) - 1)
    ended = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert ended.stdout.split() == expected
