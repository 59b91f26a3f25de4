"""What ``ncclprobe`` says without a command: what is here, and what to do next with it."""

from __future__ import annotations

from collections.abc import Iterator

from ncclprobe.records.base import Record

_COLUMN = 44
_PIP = "pip install 'ncclprobe[{extra}]'"


class PastRun(Record, frozen=True, kw_only=True):
    """An earlier run, as its directory shows it."""

    path: str
    """Its directory."""
    command: str
    """What it is a run of."""
    is_finished: bool
    """Whether it has a result."""


class Machine(Record, frozen=True, kw_only=True):
    """What a glance at this machine shows."""

    gpus: int
    """Device files of NVIDIA's driver."""
    hcas: tuple[str, ...]
    """Names."""
    gpu_libraries: bool
    """Whether cupy and nccl4py are installed."""
    mpi4py: bool
    """Whether it is installed."""
    mpiexec: bool
    """Whether there is one."""
    job: str
    """``Slurm job 12 on dgx[001-002]``; empty outside of jobs."""
    launcher: str
    """``srun``, ``pbs`` or ``mpirun``: what starts ranks on the job's nodes."""
    job_nodes: int
    """Nodes of the job; 0 where unknown or outside of jobs."""
    runs: tuple[PastRun, ...]
    """Earlier ones, the newest first."""
    runs_folder: str
    """Where they lie."""


def start_text(machine: Machine, version: str) -> str:
    """Return what is here, what to do next, and what earlier runs left, in at most 80 columns where names allow it."""
    parts = [
        f"ncclprobe {version} sees here: {', '.join(_things(machine))}.",
        _section("Next:", _steps(machine)),
        _section(f"Earlier runs in {machine.runs_folder}: {len(machine.runs)}", _past(machine)),
        "All commands: ncclprobe --help",
    ]
    return "\n\n".join(part for part in parts if part)


def _things(machine: Machine) -> Iterator[str]:
    yield _counted(machine.gpus, "GPU")
    yield _counted(len(machine.hcas), "HCA")
    yield "MPI" if machine.mpi4py and machine.mpiexec else "no MPI"
    if machine.job:
        yield machine.job


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _section(title: str, lines: Iterator[tuple[str, str]]) -> str:
    """Return commands with what they do; a long command has a line of its own."""
    rows = []
    for command, what in lines:
        gap = " " * max(2, _COLUMN - len(command))
        rows.append(f"  {command}{gap}{what}" if len(command) < _COLUMN else f"  {what}:\n    {command}")
    return "\n".join([title, *rows]) if rows else ""


def _steps(machine: Machine) -> Iterator[tuple[str, str]]:
    if machine.gpus > 1 and not machine.gpu_libraries:
        yield _PIP.format(extra="cuda13"), "to measure NCCL (or cuda12)"
    elif machine.gpus < 2 and not (machine.mpi4py and machine.mpiexec):
        yield _PIP.format(extra="embedded"), "MPI, to measure something real"
    else:
        yield "ncclprobe tune", "everything in order; minutes"
    if machine.job_nodes > 1:
        yield f"ncclprobe nodes --launcher {machine.launcher}", "which of the job's nodes is slow"
    if machine.gpus > 1:
        yield "ncclprobe nodes --each gpu", "which of these GPUs is slow"
    if machine.gpus or machine.hcas:
        yield "ncclprobe scan", "what is wrong; which HCAs to use"


def _past(machine: Machine) -> Iterator[tuple[str, str]]:
    finished = [run for run in machine.runs if run.is_finished]
    if finished:
        yield f"ncclprobe report {finished[0].path}", "What the newest found"
    if machine.runs and not machine.runs[0].is_finished:
        newest = machine.runs[0]
        yield f"ncclprobe {newest.command} --resume {newest.path}", "The newest is unfinished; go on"
