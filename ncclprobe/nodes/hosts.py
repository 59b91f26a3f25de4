"""How the ranks of a fleet are started on hosts, and how it is found out which hosts answer."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from ncclprobe.backends.mpi import giving_way
from ncclprobe.backends.nccl_settings import NODES_VARIABLE, passed_on
from ncclprobe.errors import LaunchError, MeasurementTimeout, UsageError
from ncclprobe.launchers import make_launcher
from ncclprobe.launchers.allocation import allocated_hosts
from ncclprobe.launchers.base import Job, Launcher, python_job
from ncclprobe.launchers.gang import Meeting
from ncclprobe.launchers.run import run_ranks
from ncclprobe.launchers.slurm import QUEUE_PATIENCE, QUEUED, hindrance, hindrance_to, is_queued
from ncclprobe.launchers.spawn import SpawnLauncher
from ncclprobe.nodes.gpus import gpu_names
from ncclprobe.nodes.messages import Answered, FleetSettings, answer_in
from ncclprobe.nodes.rails import rail_variables
from ncclprobe.records.base import Record

WORKER = "ncclprobe.nodes.worker"
"""The module that each rank runs."""
SIZE_BYTES = {"mpi": 8 << 20, "nccl": 128 << 20}
"""Of the all-reduce unless told otherwise: the network's bandwidth decides its time, not its latency."""
PROBES_AT_ONCE = 64
"""Hosts that are asked at the same time whether they answer."""


class FleetOptions(Record, frozen=True, kw_only=True):
    """What is measured on which hosts; a run's manifest holds it."""

    backend: str
    """``mpi`` or ``nccl``; ``auto`` before the hosts were asked."""
    launcher: str
    """What starts ranks."""
    hosts: tuple[str, ...]
    """The nodes; on the launcher ``local`` names for parts of this host's ranks."""
    ranks_per_node: int | None
    """None before the hosts were asked: one, or one a GPU."""
    size_bytes: int | None
    """Of the all-reduce; None before the hosts were asked."""
    timeout_s: float
    """Of a group in a round, and of a host's start."""
    gpus: int = 0
    """So many GPUs of each host are the nodes, one rank each; 0 where the hosts themselves are."""
    rail: str | None = None
    """The only HCA or interface that ranks may use; None leaves that to the library."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the names of all nodes."""
        return tuple(node for host in self.hosts for node in self.nodes_of(host))

    def nodes_of(self, host: str) -> tuple[str, ...]:
        """Return the nodes that are on a host: itself, or its GPUs."""
        return gpu_names(self.hosts, host, self.gpus) if self.gpus else (host,)

    def on_one_host(self, nodes: Sequence[str]) -> bool:
        """Return whether some nodes are on the same host."""
        return any(set(nodes) <= set(self.nodes_of(host)) for host in self.hosts)

    def ranks_of_nodes(self, ranks: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Return each node's ranks.

        Args:
            ranks: Of each host; on a host each has the GPU of its place among them.
        """
        if not self.gpus:
            return dict(ranks)
        return {
            node: (rank,) for host, own in ranks.items() for node, rank in zip(self.nodes_of(host), own, strict=True)
        }


class Hosts:
    """Starts ranks and probes as the options say."""

    def __init__(self, options: FleetOptions) -> None:
        self.options = options
        self.here = options.launcher == "local"

    def launcher(self) -> Launcher:
        """Return what starts the ranks."""
        return SpawnLauncher() if self.here and self.options.backend == "nccl" else make_launcher(self.options.launcher)

    def job(self, hosts: Sequence[str], settings: FleetSettings, meeting: Meeting | None) -> Job:
        """Return the job that serves rounds on some of the hosts.

        Args:
            hosts: In the order of their ranks.
            settings: For the ranks.
            meeting: Where ranks without MPI meet; None with MPI.
        """
        per_host = self.options.ranks_per_node or 1
        nranks = per_host * len(hosts)
        way = () if meeting is not None else giving_way(nranks, self.options.launcher)
        pretended = ((NODES_VARIABLE, str(self._pretended(hosts))),) if self.here and meeting is not None else ()
        own = passed_on(os.environ) if meeting is not None else {}
        own |= rail_variables(self.options.backend, self.options.rail) if self.options.rail else {}
        return python_job(
            WORKER,
            (self.options.backend, settings.text()),
            nranks=nranks,
            hosts=() if self.here else tuple(hosts),
            ranks_per_host=None if self.here else per_host,
            env=(*own.items(), *pretended, *way),
        ).with_(inherited=meeting.environment if meeting is not None else ())

    def _pretended(self, hosts: Sequence[str]) -> int:
        """Return how many nodes this host's ranks are to look like: none where its GPUs are measured as they are."""
        return 0 if self.options.gpus else len(hosts)

    def ask(self, hosts: Sequence[str]) -> tuple[dict[str, Answered], dict[str, str]]:
        """Return what the hosts answer, each asked by a job of its own, and why the others don't; all at once."""
        if self.here:
            return dict.fromkeys(hosts, self._here()), {}
        return self._heard(dict.fromkeys(hosts, self.options.timeout_s))

    def ask_again(self, silent: Mapping[str, str]) -> tuple[dict[str, Answered], dict[str, str]]:
        """Return what hosts answer when they are asked a second time: a launcher or a scheduler may have been late.

        Args:
            silent: The hosts, and why they did not answer.
        """
        limit_s = self.options.timeout_s
        return self._heard(
            {h: limit_s * (QUEUE_PATIENCE if why.startswith(QUEUED) else 1) for h, why in silent.items()}
        )

    def _heard(self, limits_s: Mapping[str, float]) -> tuple[dict[str, Answered], dict[str, str]]:
        with ThreadPoolExecutor(min(PROBES_AT_ONCE, len(limits_s))) as pool:
            found = dict(zip(limits_s, pool.map(self._ask, limits_s, limits_s.values()), strict=True))
        answers = {host: answer for host, answer in found.items() if isinstance(answer, Answered)}
        return answers, {host: why for host, why in found.items() if isinstance(why, str)}

    def _ask(self, host: str, limit_s: float) -> Answered | str:
        if why := hindrance_to(self.options.launcher, host, limit_s):
            return why
        job = python_job(WORKER, ("probe",), nranks=1, hosts=(host,), ranks_per_host=1)
        try:
            lines = list(
                run_ranks(job, make_launcher(self.options.launcher), timeout_s=limit_s, start_timeout_s=limit_s)
            )
        except MeasurementTimeout as problem:
            if is_queued(str(problem)):
                return hindrance(host, 0.0) or f"{QUEUED} within {limit_s:g} s"
            return f"nothing was heard within {limit_s:g} s of a process started on it"
        except LaunchError as problem:
            return f"no process could be started on it: {str(problem).splitlines()[-1].strip()}"
        answers = [answer for line in lines if isinstance(answer := answer_in(line), Answered)]
        return answers[0] if answers else "a process was started on it, but did not answer"

    @staticmethod
    def _here() -> Answered:
        from ncclprobe.nodes.worker import answer

        return answer()


def settled(options: FleetOptions, answers: Mapping[str, Answered]) -> FleetOptions:
    """Return the options with what depends on the hosts settled: GPUs where every host has some."""
    if not answers:
        return options
    ngpus = min(answer.ngpus for answer in answers.values())
    backend = ("nccl" if ngpus else "mpi") if options.backend == "auto" else options.backend
    ranks = options.ranks_per_node or (max(1, ngpus) if backend == "nccl" else 1)
    return options.with_(backend=backend, ranks_per_node=ranks, size_bytes=options.size_bytes or SIZE_BYTES[backend])


def hosts_here(launcher: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the hosts of the job that this process is part of, or this host's pretended ones.

    Raises:
        UsageError: Nobody says which they are.
    """
    if launcher == "local":
        pretended = int(environment.get(NODES_VARIABLE, "0") or 0)
        return tuple(f"{platform.node()}-{number}" for number in range(pretended)) or _nowhere()
    return allocated_hosts(launcher, environment) or _nowhere()


def _nowhere() -> NoReturn:
    raise UsageError("nobody says which hosts: name them with --hosts, such as --hosts 'dgx[001-016]'")


def ranks_of(hosts: Sequence[str], names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return each host's ranks: by the names that ranks give their nodes, or by place where those are other names.

    Slurm starts ranks in its own order of nodes; MPI launchers start them in the order of the hosts, which may be
    addresses.

    Raises:
        LaunchError: The ranks are not spread evenly over the hosts.
    """
    short = [name.partition(".")[0] for name in names]
    if set(names) == set(hosts):
        labels = list(names)
    elif set(short) == set(hosts):
        labels = short
    else:
        labels = [hosts[rank * len(hosts) // len(names)] for rank in range(len(names))]
    ranks = {host: tuple(rank for rank, label in enumerate(labels) if label == host) for host in hosts}
    if len({len(own) for own in ranks.values()}) > 1 or len(names) < len(hosts):
        counts = ", ".join(f"{host} {len(own)}" for host, own in ranks.items())
        raise LaunchError(f"the launcher spread the ranks unevenly ({counts}); start as many on each node")
    return ranks
