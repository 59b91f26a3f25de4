"""``ncclprobe nodes``: which node, link or rail is slow, from past results or from rounds on hosts or a simulation."""

from __future__ import annotations

import functools
import os
import pathlib
import platform
from typing import Any

import click

from ncclprobe.cli.nodes_history import changed
from ncclprobe.cli.nodes_run import BUDGET, ROUNDS, NodesOptions, fleet_described, judged, keep, run_nodes
from ncclprobe.cli.numbers import Number
from ncclprobe.cli.output import OUT_WHERE_MEASURED, drawn_seed, finish, refuse_options_with_resume, shared_options
from ncclprobe.errors import UsageError
from ncclprobe.launchers import LAUNCHERS
from ncclprobe.nodes.gpus import measurable
from ncclprobe.nodes.hosts import FleetOptions, Hosts, hosts_here
from ncclprobe.nodes.rails import parse_rails
from ncclprobe.nodesets import expand
from ncclprobe.report.text.nodes import nodes_text
from ncclprobe.store import Manifest, RunDirectory, command_line, default_directory, relevant_environment
from ncclprobe.units import parse_size

NAME = "nodes"
BACKENDS = ("auto", "nccl", "mpi")
SIZES = {"nccl": "128M", "mpi": "8M"}
ON_HOSTS = ("each", "hosts", "launcher", "backend", "size", "nranks_per_node", "timeout")
"""Options about real hosts."""
ALONE = ("from", "history", "fabric")
"""Options each of which says by itself what to judge."""
TIMEOUT_S = 20.0


@click.command(NAME)
@click.option("--from", "results", type=click.Path(path_type=pathlib.Path), metavar="CSV", help="Judge past results.")
@click.option("--lower-is-better", is_flag=True, help="The values of --from are times.")
@click.option(
    "--history", type=click.Path(path_type=pathlib.Path, exists=True, file_okay=False), metavar="DIR",
    help="Find when nodes changed, in the run directories below DIR.",
)  # fmt: skip
@click.option("--hosts", metavar="NODESET", help="Measure these hosts: dgx[001-016]  [default: the job's]")
@click.option("--each", type=click.Choice(("host", "gpu")), help="What is a node  [default: host]")
@click.option(
    "--launcher",
    type=click.Choice(list(LAUNCHERS)),
    help="Starts ranks on them  [default: mpirun; srun in a Slurm job]",
)
@click.option(
    "--backend", type=click.Choice(BACKENDS), help="What runs on them  [default: auto: nccl if all have GPUs]"
)
@click.option("--size", metavar="BYTES", help=f"Of the all-reduce  [default: {SIZES['mpi']}; nccl: {SIZES['nccl']}]")
@click.option("--nranks-per-node", type=click.IntRange(1), help="Ranks on each  [default: 1; nccl: one a GPU]")
@click.option(
    "--timeout", type=Number(0, min_open=True), metavar="SECONDS",
    help="Of a group in a round, and of a host's answer  [default: 20]",
)  # fmt: skip
@click.option("--rails", metavar="NAME,...", help="HCAs or interfaces, measured one at a time: mlx5_0,mlx5_1")
@click.option("--fabric", type=click.Path(path_type=pathlib.Path), metavar="TOML", help="Measure a simulated fabric.")
@click.option("--rounds", type=click.IntRange(1), help=f"Of disjoint pairs of all nodes  [default: {ROUNDS}]")
@click.option("--budget", type=Number(1), help=f"Measurements a node, on average  [default: {BUDGET:g}]")
@click.option(
    "--threshold",
    type=Number(0.005, 0.5),
    default=0.05,
    show_default=True,
    help="The smallest slowdown of interest.",
)
@click.option("--resume", type=click.Path(path_type=pathlib.Path), metavar="DIR", help="Go on with this run.")
@functools.partial(shared_options, out_help=OUT_WHERE_MEASURED)
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    results: pathlib.Path | None,
    lower_is_better: bool,
    threshold: float,
    resume: pathlib.Path | None,
    out: pathlib.Path | None,
    seed: int | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Name the slow node, link or rail, with its slowdown and the evidence in a sentence.

    A group is as fast as its slowest part, so groups are compared, never ranks within one. CSV has a header with
    nodes (names, or a set such as dgx[001-004]) and value, and may have unit, rail and time.

    \b
    ncclprobe nodes --from results.csv
    ncclprobe nodes --history ncclprobe-runs
    ncclprobe nodes --hosts 'dgx[001-016]' --launcher srun
    ncclprobe nodes --each gpu
    ncclprobe nodes --fabric fabric.toml --seed 1
    """  # noqa: D301 (click reads the backspace)
    if resume is not None:
        refuse_options_with_resume(context)
        with RunDirectory.resume(resume, NAME) as directory:
            document = run_nodes(directory)
        return finish(document, lambda: nodes_text(document, str(resume)), as_json=as_json, path=str(resume))
    _refuse_contradictions(results, given, lower_is_better=lower_is_better)
    if given["fabric"]:
        fleet_described(given["fabric"])
    options = NodesOptions(
        threshold=threshold,
        rounds=given["rounds"] or ROUNDS,
        budget=given["budget"] or BUDGET,
        fabric=str(given["fabric"].absolute()) if given["fabric"] else None,
        fleet=None
        if results is not None or given["history"] or given["fabric"]
        else fleet_options(**{n: given[n] for n in ON_HOSTS}),
        rails=parse_rails(given["rails"]) if given["rails"] else (),
    )
    manifest = Manifest(
        command=NAME,
        argv=command_line(),
        seed=drawn_seed(seed),
        environment=relevant_environment(dict(os.environ)),
        options=options.stored(),
    )
    if results is not None:
        document = judged(results, threshold, lower_is_better=lower_is_better)
        path = keep(document, out, manifest)
    elif given["history"] is not None:
        document = changed(given["history"], threshold)
        path = keep(document, out, manifest)
    else:
        with RunDirectory.create(out or default_directory(NAME), manifest) as directory:
            document, path = run_nodes(directory), str(directory.path)
    return finish(document, lambda: nodes_text(document, path), as_json=as_json, path=path)


def _refuse_contradictions(results: pathlib.Path | None, given: dict[str, Any], *, lower_is_better: bool) -> None:
    on_hosts = [f"--{name.replace('_', '-')}" for name in ON_HOSTS if given[name] is not None]
    past = results is not None or given["history"] is not None
    alone = [f"--{name}" for name, way in (("from", results), *given.items()) if name in ALONE and way is not None]
    if len(alone) > 1 or (alone and on_hosts):
        raise UsageError(
            f"{', '.join([*alone, *on_hosts])} exclude each other: --from and --history judge past results, --fabric a"
            " simulation, the others measure real hosts"
        )
    if not alone and not on_hosts and not given["rails"]:
        raise UsageError(
            "say what to judge: --from CSV or --history DIR for past results, --hosts NODESET (or --launcher in a job)"
            " for real hosts, --each gpu for the GPUs of this one, or --fabric TOML for a simulated fabric"
        )
    if given["rails"] and (not on_hosts or given["each"] == "gpu"):
        raise UsageError("--rails is about the network between real hosts; name these with --hosts")
    if past and (given["rounds"] is not None or given["budget"] is not None):
        way = "--from" if results is not None else "--history"
        raise UsageError(f"{way} measures nothing; leave --rounds and --budget away")
    if results is None and lower_is_better:
        raise UsageError("--lower-is-better is about the values of --from; leave it away")


def fleet_options(
    *,
    each: str | None,
    hosts: str | None,
    launcher: str | None,
    backend: str | None,
    size: str | None,
    nranks_per_node: int | None,
    timeout: float | None,
) -> FleetOptions:
    """Return what is to be measured on which hosts.

    Raises:
        UsageError: There are fewer than two hosts or GPUs, or nobody says which.
    """
    if each == "gpu":
        _refuse_other_than_gpus(backend, nranks_per_node)
        return _gpu_fleet(hosts, launcher, size, timeout or TIMEOUT_S)
    name = launcher or ("srun" if "SLURM_JOB_ID" in os.environ and not hosts else "mpirun")
    nodes = expand(hosts) if hosts else hosts_here(name, os.environ)
    if len(nodes) < 2:
        raise UsageError(f"{nodes[0]} alone can be compared with nothing; name two hosts or more with --hosts")
    return FleetOptions(
        backend=backend or "auto",
        launcher=name,
        hosts=nodes,
        ranks_per_node=nranks_per_node,
        size_bytes=parse_size(size) if size else None,
        timeout_s=timeout or TIMEOUT_S,
    )


def _refuse_other_than_gpus(backend: str | None, nranks_per_node: int | None) -> None:
    if backend == "mpi":
        raise UsageError("--each gpu measures GPUs with NCCL; leave --backend mpi away")
    if nranks_per_node is not None:
        raise UsageError("--each gpu starts a rank on each GPU; leave --nranks-per-node away")


def _gpu_fleet(hosts: str | None, launcher: str | None, size: str | None, timeout_s: float) -> FleetOptions:
    """Return a fleet of which every GPU is a node: of this host, unless others are named or a launcher's job has them.

    Raises:
        UsageError: There are fewer than two GPUs.
    """
    names = expand(hosts) if hosts else ()
    here = names in ((), (platform.node(),), ("localhost",)) and launcher in (None, "local")
    if launcher == "local" and not here:
        raise UsageError(f"the launcher `local` measures the GPUs of this host, not of {hosts}; use mpirun or srun")
    name = "local" if here else launcher or "mpirun"
    names = (platform.node(),) if here else names or hosts_here(name, os.environ)
    options = FleetOptions(
        backend="nccl",
        launcher=name,
        hosts=names,
        ranks_per_node=None,
        size_bytes=parse_size(size) if size else None,
        timeout_s=timeout_s,
    )
    answers, _ = Hosts(options).ask(names)
    gpus = measurable(names, {host: answer.ngpus for host, answer in answers.items()})
    return options.with_(gpus=gpus, ranks_per_node=gpus)
