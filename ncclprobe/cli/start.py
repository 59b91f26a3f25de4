"""``ncclprobe`` without a command: a glance at this machine, and what to do next. Nothing heavy is imported."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator, Mapping

from ncclprobe import __version__
from ncclprobe.errors import ProbeError
from ncclprobe.report.text.start import Machine, PastRun, start_text
from ncclprobe.store import DOCUMENT, RESUMABLE, read_manifest

RUNS = pathlib.Path("ncclprobe-runs")
MOST_RUNS = 2000
"""Of a folder's runs are looked at."""


def advice() -> str:
    """Return what to do next on this machine."""
    return start_text(glanced(os.environ), __version__)


def glanced(environment: Mapping[str, str]) -> Machine:
    """Return what files, installed packages and variables show, without starting or loading anything."""
    job, launcher, nodes = _job(environment)
    return Machine(
        gpus=sum(path.name.removeprefix("nvidia").isdigit() for path in pathlib.Path("/dev").glob("nvidia*")),
        hcas=tuple(sorted(path.name for path in pathlib.Path("/sys/class/infiniband").glob("*"))),
        gpu_libraries=all(importlib.util.find_spec(name) for name in ("cupy", "nccl")),
        mpi4py=importlib.util.find_spec("mpi4py") is not None,
        mpiexec=(pathlib.Path(sys.executable).parent / "mpiexec").exists() or shutil.which("mpiexec") is not None,
        job=job,
        launcher=launcher,
        job_nodes=nodes,
        runs=tuple(_past_runs(RUNS)),
        runs_folder=str(RUNS),
    )


def _job(environment: Mapping[str, str]) -> tuple[str, str, int]:
    """Return the job's name for people, its launcher and its number of nodes.

    Source: Slurm 22.05, sbatch(1), "OUTPUT ENVIRONMENT VARIABLES"; OpenPBS 22, qsub(1B)
    """
    if number := environment.get("SLURM_JOB_ID"):
        count = environment.get("SLURM_JOB_NUM_NODES", "")
        where = environment.get("SLURM_JOB_NODELIST", "")
        return f"Slurm job {number}" + (f" on {where}" if where else ""), "srun", int(count) if count.isdigit() else 0
    if number := environment.get("PBS_JOBID"):
        nodes = _hosts(environment.get("PBS_NODEFILE", ""))
        return f"PBS job {number}", "pbs", len(nodes)
    return "", "mpirun", 0


def _hosts(file: str) -> set[str]:
    try:
        return set(pathlib.Path(file).read_text(encoding="utf-8").split()) if file else set()
    except (OSError, UnicodeDecodeError):
        return set()


def _past_runs(folder: pathlib.Path) -> Iterator[PastRun]:
    """Yield the runs in a folder, the newest first; their names begin with their time."""
    for path in sorted(folder.glob("*"), key=lambda path: path.name, reverse=True)[:MOST_RUNS]:
        finished = (path / DOCUMENT).exists()
        command = _command(path)
        if command and (finished or command in RESUMABLE):
            yield PastRun(path=str(path), command=command, is_finished=finished)


def _command(path: pathlib.Path) -> str:
    """Return what a directory is a run of; empty where it is none."""
    try:
        return read_manifest(path).command
    except ProbeError:
        return ""
