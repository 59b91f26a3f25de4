"""``ncclprobe scan``: what HCAs and GPUs there are, what is wrong with them, and which variables to set."""

from __future__ import annotations

import functools
import os
import pathlib
import shlex
import sys
from typing import Any

import click
from tqdm import tqdm

from ncclprobe import processes
from ncclprobe.cli.numbers import Number
from ncclprobe.cli.output import OUT_WHERE_MEASURED, drawn_seed, finish, note, shared_options
from ncclprobe.cli.verbosity import is_quiet
from ncclprobe.errors import UsageError
from ncclprobe.nodesets import expand
from ncclprobe.records.scan import ScanDocument
from ncclprobe.report.text.scan import scan_text
from ncclprobe.scan.check import judged
from ncclprobe.scan.source import Source, read_source
from ncclprobe.store import Manifest, RunDirectory, command_line, default_directory, relevant_environment

NAME = "scan"
HOST_TIMEOUT_S, TOOL_TIMEOUT_S = 60.0, 15.0
NOWHERE = pathlib.Path("-")
"""What ``--out`` takes to keep nothing."""


@click.command(NAME)
@click.option("--from", "source", type=click.Path(path_type=pathlib.Path), help="Read captured outputs instead.")
@click.option("--hosts", metavar="NODESET", help="Scan these hosts: dgx[001-004,007].")
@click.option("--launcher", type=click.Choice(["ssh", "srun"]), help="How to reach --hosts  [default: srun in a job]")
@click.option("--ssh", metavar="COMMAND", help="The remote shell and its options  [default: ssh]")
@click.option("--remote-command", metavar="COMMAND", help="ncclprobe on the hosts  [default: ncclprobe]")
@click.option(
    "--timeout",
    type=Number(0, min_open=True),
    metavar="SECONDS",
    help=f"Of a host  [default: {HOST_TIMEOUT_S:g}]; without --hosts, of ibv_devinfo  [default: {TOOL_TIMEOUT_S:g}]",
)
@functools.partial(shared_options, out_help=OUT_WHERE_MEASURED)
def command(
    source: pathlib.Path | None, out: pathlib.Path | None, seed: int | None, *, as_json: bool, **reach: Any
) -> int:
    """Probe this machine, other hosts, or captured outputs: HCAs, GPUs, their affinity, limits, environment.

    Nodes are compared with each other, and NCCL_IB_HCA is derived for all of them. PATH of --from is a file that
    ibv_devinfo, ibstat, ibstatus, show_gids, ibdev2netdev, rdma link, nvidia-smi topo -m or this command wrote, or a
    folder with one subfolder a host.

    \b
    ncclprobe scan
    ncclprobe scan --from captured/
    ncclprobe scan --hosts 'dgx[001-016]'
    """  # noqa: D301 (click reads the backspace)
    _refuse_contradictions(source, reach)
    read = _read(source, reach)
    document = judged(read.hosts, read.findings)
    path = _keep(document, out, seed, only_read=source is not None)
    return finish(document, lambda: scan_text(document, path), as_json=as_json, path=path)


def _refuse_contradictions(source: pathlib.Path | None, reach: dict[str, Any]) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in reach.items() if value is not None]
    if source is not None and given:
        raise UsageError(f"--from reads files alone; leave {', '.join(given)} away")
    only_with_hosts = [name for name in given if name not in ("--hosts", "--timeout")]
    if reach["hosts"] is None and only_with_hosts:
        raise UsageError(f"{', '.join(only_with_hosts)}: say which hosts with --hosts")


def _read(source: pathlib.Path | None, reach: dict[str, Any]) -> Source:
    if source is not None:
        return read_source(source)
    if reach["hosts"] is not None:
        return _read_fleet(**reach)
    from ncclprobe.scan.collect import collect  # NVML's binding is loaded for this machine alone

    return collect(timeout_s=reach["timeout"] or TOOL_TIMEOUT_S)


def _read_fleet(
    hosts: str, launcher: str | None, ssh: str | None, remote_command: str | None, timeout: float | None
) -> Source:
    from ncclprobe.scan.fleet import Reach, scan_fleet

    names = expand(hosts)
    if ssh is not None and launcher == "srun":
        raise UsageError("--ssh and --launcher srun exclude each other")
    reach = Reach(
        launcher=launcher or ("ssh" if ssh is not None else _usual_launcher()),
        ssh=_tokens(ssh or "ssh", "--ssh"),
        program=_tokens(remote_command or "ncclprobe", "--remote-command"),
        timeout_s=timeout or HOST_TIMEOUT_S,
    )
    with tqdm(total=len(names), unit="host", disable=is_quiet() or not sys.stderr.isatty(), leave=False) as bar:
        answers = scan_fleet(names, reach, lambda: bar.update())
    note(f"{len(answers.hosts)} of {len(names)} hosts scanned over {reach.launcher}")
    return Source(answers.hosts, answers.findings)


def _usual_launcher() -> str:
    """Return srun inside a Slurm job, which may have no ssh between its nodes, else ssh."""
    return "srun" if "SLURM_JOB_ID" in os.environ and processes.which("srun") else "ssh"


def _tokens(text: str, option: str) -> tuple[str, ...]:
    try:
        tokens = tuple(shlex.split(text))
    except ValueError as problem:
        raise UsageError(f"{option} {text!r}: {problem}; close every quote") from problem
    if not tokens:
        raise UsageError(f"{option} is empty; name a program")
    return tokens


def _keep(document: ScanDocument, out: pathlib.Path | None, seed: int | None, *, only_read: bool) -> str:
    """Write the run directory and return its path; nothing where files were only read and no --out asks for it."""
    if out == NOWHERE or (only_read and out is None):
        return ""
    manifest = Manifest(
        command=NAME,
        argv=command_line(),
        seed=drawn_seed(seed),
        environment=relevant_environment(dict(os.environ)),
    )
    with RunDirectory.create(out or default_directory(NAME), manifest) as directory:
        directory.finish(document)
    return str(directory.path)
