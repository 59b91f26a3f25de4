"""A real Slurm on a cluster's hosts: its controller and munge on the first, slurmd on all of them.

Source: Slurm 22.05 and 23.11, slurm.conf(5), cgroup.conf(5); munge 0.5.15, munged(8)
"""

from __future__ import annotations

import pathlib
import secrets
import shutil
import time
from collections.abc import Sequence
from typing import Protocol

PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "srun": "slurm-client",
    "sinfo": "slurm-client",
}
"""What it takes -> the Debian package that has it."""
_READY_S = 30.0
_CPUS = 4
"""Of each host, whatever the machine has."""


class Hosts(Protocol):
    """What Slurm needs of a cluster."""

    folder: pathlib.Path

    @property
    def names(self) -> tuple[str, ...]: ...

    def must(self, host: str, *argv: str) -> str: ...


def missing() -> str:
    """Return why there can be no Slurm here, nothing where there can."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    absent = [package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None]
    return f"there is no Slurm: apt-get install {' '.join(dict.fromkeys(absent))}" if absent else ""


def start_slurm(cluster: Hosts) -> None:
    """Start it and wait until all hosts are idle; the commands' SLURM_CONF is ``slurm.conf`` in the cluster's folder.

    Raises:
        OSError: It does not come up.
    """
    first, folder = cluster.names[0], cluster.folder
    (folder / "slurm.conf").write_text(configuration(cluster.names, folder))
    (folder / "cgroup.conf").write_text(f"CgroupPlugin={_cgroups(cluster.must(first, 'slurmd', '-V'))}\n")
    _start_munge(cluster)
    for name in ("state", *cluster.names):
        (folder / name).mkdir()
    cluster.must(first, "slurmctld")
    for name in cluster.names:
        cluster.must(name, "slurmd")
    wait_until_idle(cluster, _READY_S)


def configuration(names: Sequence[str], folder: pathlib.Path) -> str:
    """Return slurm.conf for hosts that only run small jobs of root's: no accounting, no cgroups, cores shared."""
    return f"""\
ClusterName=ncclprobe
SlurmctldHost={names[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=60
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
NodeName={",".join(names)} CPUs={_CPUS} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE
"""


def _cgroups(version: str) -> str:
    """Return the plugin that touches no cgroups: none of them from 23.11, before that one whose users are all off."""
    year, month, *_ = version.split()[-1].split(".")
    return "disabled" if (int(year), int(month)) >= (23, 11) else "cgroup/v1"


def _start_munge(cluster: Hosts) -> None:
    """Start munge with a key and a socket of its own: one for all hosts, since they share files."""
    key = cluster.folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    options = [f"--{option}={cluster.folder}/munge.{suffix}" for option, suffix in files.items()]
    cluster.must(cluster.names[0], "munged", "--force", *options)


def wait_until_idle(cluster: Hosts, within_s: float) -> None:
    """Return once no host has a job.

    Raises:
        OSError: That takes too long.
    """
    deadline = time.monotonic() + within_s
    states = ""
    while time.monotonic() < deadline:
        states = cluster.must(cluster.names[0], "sinfo", "--noheader", "--format=%T")
        if set(states.split()) <= {"idle", "planned"}:  # planned: a job that is no more was to have it
            return
        time.sleep(0.1)
    raise OSError(f"Slurm's hosts are {states.split()} after {within_s:g} s, not idle; see {cluster.folder}/*.log")
