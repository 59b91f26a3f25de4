"""The hosts of a job are taken where nobody names any."""

from __future__ import annotations

import pathlib

import pytest

from ncclprobe.backends.base import BackendOptions
from ncclprobe.backends.mpi import default_ranks
from ncclprobe.launchers.allocation import rank_hosts

SLURM = {"SLURM_JOB_NODELIST": "dgx[001-002]", "SLURM_NTASKS": "16"}


@pytest.mark.parametrize(
    ("launcher", "nranks", "environment", "hosts"),
    [
        ("srun", None, SLURM, ("dgx001", "dgx002")),
        ("srun", 2, SLURM, ("dgx001", "dgx002")),
        ("srun", None, {}, ()),
        ("mpirun", None, SLURM, ("dgx001", "dgx002")),
        ("mpirun", None, {}, ()),
        ("local", None, SLURM, ()),
    ],
)
def test_all_launchers_but_local_have_the_hosts_of_a_slurm_job(
    launcher: str, nranks: int | None, environment: dict[str, str], hosts: tuple[str, ...]
) -> None:
    assert rank_hosts(launcher, nranks, environment) == hosts


def test_fewer_ranks_than_hosts_leave_open_which_have_one() -> None:
    assert rank_hosts("srun", 2, {"SLURM_JOB_NODELIST": "dgx[001-003]"}) == ()


def test_pbs_has_the_hosts_of_its_node_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nodes").write_text("dgx001\ndgx001\ndgx002\n")
    monkeypatch.setenv("PBS_NODEFILE", str(tmp_path / "nodes"))
    assert rank_hosts("pbs", None, {}) == ("dgx001", "dgx002")


@pytest.mark.parametrize(
    ("options", "tasks", "nranks"),
    [
        (BackendOptions(launcher="srun"), "16", 16),
        (BackendOptions(launcher="srun", hosts=("a", "b", "c", "d")), "1", 4),
        (BackendOptions(launcher="srun", hosts=("a", "b")), "16", 16),
        (BackendOptions(launcher="srun", hosts=("a", "b")), "", 2),
        (BackendOptions(launcher="mpirun"), "16", 4),
    ],
)
def test_ranks_of_mpi(options: BackendOptions, tasks: str, nranks: int) -> None:
    assert default_ranks(options, {"SLURM_NTASKS": tasks}) == nranks
