"""The workload ``proxy``: a DeepSeek-shaped tensor-parallel decode loop on real MPI ranks."""

from __future__ import annotations

import importlib.util
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ncclprobe.backends.mpi import giving_way
from ncclprobe.backends.mpi_names import OPEN_MPI_START
from ncclprobe.decoding import from_json
from ncclprobe.e2e.decode import ALL_REDUCES, message_bytes
from ncclprobe.e2e.workload import Limit, Outcome, Surroundings
from ncclprobe.errors import BackendError, LaunchError, MeasurementTimeout, MissingDependencyError, UsageError
from ncclprobe.findings import Finding
from ncclprobe.launchers import make_launcher
from ncclprobe.launchers.base import python_job
from ncclprobe.launchers.run import run_ranks
from ncclprobe.records.base import Record
from ncclprobe.records.e2e import ArmSettings, E2eOptions, Placement, ProxyShape, Trial
from ncclprobe.records.foretold import Sent
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.profile import Message

WORKER = "ncclprobe.e2e.proxy_worker"
METRIC = "tok_s"
HERE = Placement()
SHOWN = ("MPIR_CVAR_", "OMPI_MCA_")
"""Prefixes of the variables that an MPI library reads at its start."""


class InForce(Record, frozen=True, kw_only=True):
    """What some ranks' library was set to for all-reduces of one size, read back from it."""

    size_bytes: int
    """Of the message."""
    ranks: tuple[int, ...]
    """Which."""
    variables: dict[str, str]
    """The library's control variables that choose the algorithm, by the names of their environment variables."""


class ProxyRequest(Record, frozen=True, kw_only=True):
    """What rank 0 is told."""

    shape: ProxyShape
    """The loop's size."""
    table: tuple[TunerRow, ...]
    """Settings by message size, applied live."""


class ProxyReport(Record, frozen=True, kw_only=True):
    """What rank 0 answers."""

    metrics: dict[str, float]
    """``tok_s``, ``step_ms``, ``comm_share``, ``checksum``."""
    library: str
    """What ran the all-reduces."""
    in_force: tuple[InForce, ...]
    """What was set while they ran, a row for each message size and each way in which ranks were set."""
    problem: str = ""
    """Why the result does not count."""
    hosts: tuple[str, ...] = ()
    """Each rank's."""


class ProxyWorkload:
    """Starts ranks for each trial: what differs between starts is part of the answer."""

    metric, opening = METRIC, ""

    def __init__(self, options: E2eOptions, _surroundings: Surroundings) -> None:
        if importlib.util.find_spec("mpi4py") is None:
            raise MissingDependencyError("the workload `proxy` runs on MPI ranks; `pip install 'ncclprobe[embedded]'`")
        self.shape, self.placement, self.expected = options.proxy, options.placement, options.expected
        self.per_host = ranks_per_host(self.shape, self.placement)
        self.launcher = make_launcher(self.placement.launcher)

    def run(self, arm: ArmSettings, log: pathlib.Path, limit: Limit, started: Callable[[int], None]) -> Outcome:
        """Run the loop once on fresh ranks, which end with this process even when it is killed."""
        request = ProxyRequest(shape=self.shape, table=arm.table)
        start = OPEN_MPI_START if arm.table else ()
        way = giving_way(self.shape.nranks, self.launcher.name)
        job = python_job(
            WORKER,
            nranks=self.shape.nranks,
            hosts=self.placement.hosts,
            ranks_per_host=self.per_host,
            env=(*start, *way, *arm.env.items()),
        )
        records = run_ranks(
            job,
            self.launcher,
            request=msgspec.json.encode(request),
            timeout_s=limit.seconds,
            start_timeout_s=limit.seconds,
        )
        try:
            answers = list(records)
        except MeasurementTimeout as problem:
            log.write_text(f"{problem}\n", encoding="utf-8")
            return _failed(f"{limit.said}: {problem}", {})
        except (LaunchError, BackendError) as problem:
            log.write_text(f"{problem}\n", encoding="utf-8")
            return _failed(str(problem), {})
        log.write_bytes(b"".join(answer + b"\n" for answer in answers))
        outcome = outcome_of(answers, arm.env, self.placement)
        asked = self.expected is not None and not outcome.message
        return outcome.with_(sent=sent_by(self.shape, outcome.metrics)) if asked else outcome

    def checks(self) -> tuple[Finding, ...]:
        """Return nothing: there is nothing to get wrong."""
        return ()

    def doubts(self, _trials: Sequence[Trial]) -> tuple[Finding, ...]:
        """Return nothing: a trial that ran otherwise has failed."""
        return ()


def ranks_per_host(shape: ProxyShape, placement: Placement) -> int | None:
    """Return how many consecutive ranks a host gets, None where nobody says on how many hosts they are.

    Raises:
        UsageError: There are other hosts than nodes, or the ranks do not divide among them.
    """
    hosts = len(placement.hosts)
    nnodes = placement.nnodes or hosts
    if hosts and nnodes != hosts:
        raise UsageError(f"--hosts names {hosts} hosts, and --nnodes says {nnodes}; leave --nnodes out")
    if placement.launcher == "local" and nnodes > 1:
        raise UsageError("several nodes need a launcher; name --launcher mpirun, srun or pbs")
    if nnodes and shape.nranks % nnodes:
        raise UsageError(f"{shape.nranks} ranks do not divide among {nnodes} nodes; choose another --nranks")
    return shape.nranks // nnodes if nnodes and placement.launcher != "local" else None


def outcome_of(answers: list[bytes], env: Mapping[str, str], placement: Placement = HERE) -> Outcome:
    """Return what a trial gave.

    Args:
        answers: What rank 0 sent.
        env: What was to be in force.
        placement: Where the ranks were to run.
    """
    if not answers:
        return _failed("the ranks ended without a result", {})
    try:
        report = from_json(answers[-1], ProxyReport)
    except msgspec.DecodeError as problem:  # a sum that is no number is no JSON
        return _failed(f"the ranks' report cannot be read: {problem}", {})
    effective: dict[str, Any] = {
        "env": {name: value for name, value in os.environ.items() if name.startswith(SHOWN)} | dict(env),
        "library": report.library,
        "allreduce": msgspec.to_builtins(report.in_force),
        "hosts": list(report.hosts),
    }
    if why := report.problem or misplaced(placement, report.hosts) or not_in_force(env, report.in_force):
        return _failed(why, effective)
    return Outcome(metrics=report.metrics, effective=effective)


def sent_by(shape: ProxyShape, metrics: Mapping[str, float]) -> Sent:
    """Return what a rank sent in a trial's timed steps, which the loop's shape says."""
    size, count = message_bytes(shape), ALL_REDUCES * shape.layers * shape.steps
    reduced = Message(
        collective="all_reduce", dtype="float32", size_bytes=size, count=count, seen=count, nranks=shape.nranks
    )
    seconds = metrics["step_ms"] * shape.steps / 1e3
    return Sent(messages=(reduced,), steps=shape.steps, seconds=seconds, comm_share=metrics["comm_share"])


def misplaced(placement: Placement, hosts: Sequence[str]) -> str:
    """Return why ranks are not where they were to be; empty where they are, or nobody said where."""
    asked, found = placement.nnodes or len(placement.hosts), len(set(hosts))
    return f"the ranks ran on {found} hosts, not on {asked}" if asked and found != asked else ""


def not_in_force(env: Mapping[str, str], in_force: Sequence[InForce]) -> str:
    """Return which variable of an arm the ranks did not run with; empty where all that could be read back agree."""
    for row in in_force:
        for name, value in row.variables.items():
            if name in env and env[name] != value:
                ranks = ", ".join(map(str, row.ranks))
                return f"{name} is {value!r} on rank {ranks}, not {env[name]!r}: the setting was not in force"
    return ""


def _failed(why: str, effective: dict[str, Any]) -> Outcome:
    return Outcome(metrics={}, effective=effective, message=why)
