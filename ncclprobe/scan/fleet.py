"""Scan other machines: ``ncclprobe scan --json`` on each, over ssh or srun, many at a time.

Source: OpenSSH 9.6, ssh(1); Slurm 24.05, srun(1) (``--overlap`` runs beside the steps of the job that we are in).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

import msgspec

from ncclprobe import processes
from ncclprobe.decoding import from_json
from ncclprobe.errors import LaunchError, MissingDependencyError, UsageError
from ncclprobe.findings import Finding, error
from ncclprobe.launchers.slurm import canceller, unique_name
from ncclprobe.processes import Completed
from ncclprobe.records.base import Record
from ncclprobe.records.scan import Host, ScanDocument
from ncclprobe.scan.facts import COLLECTED

AT_ONCE = 64
"""Connections open at a time; more gain little and overwhelm a login node."""
CONNECT_TIMEOUT_S = 10
SSH_FAILED = 255
"""What ssh itself exits with; everything else comes from the other side. Source: ssh(1)."""
SCANNED = (0, 3)
"""Exit statuses with a document: healthy, or with an error-level finding."""


class Reach(Record, frozen=True, kw_only=True):
    """How other machines are reached."""

    launcher: str
    """``ssh`` or ``srun``."""
    ssh: tuple[str, ...] = ("ssh",)
    """The remote shell's tokens."""
    program: tuple[str, ...] = ("ncclprobe",)
    """ncclprobe's tokens on the other side."""
    timeout_s: float = 60.0
    """For each host."""


class FromHost(NamedTuple):
    """What came back from one host."""

    hosts: tuple[Host, ...]
    findings: tuple[Finding, ...]


def remote_command(reach: Reach, host: str, job: str = "") -> list[str]:
    """Return the tokens that scan a host.

    Args:
        reach: How to get there.
        host: Its name.
        job: A name by which Slurm shows it.

    Raises:
        UsageError: The host's name would be taken for an option.
    """
    if host.startswith("-"):
        raise UsageError(f"{host!r} is no host's name")
    # --out -: a scan that was asked for from elsewhere leaves nothing behind in the user's home directory there.
    # Half of the time for a tool that hangs there leaves the other half to tell of it.
    scan = [*reach.program, "scan", "--json", "--out", "-", "--timeout", f"{reach.timeout_s / 2:g}"]
    if reach.launcher == "srun":
        named = [f"--job-name={job}"] if job else []
        return ["srun", "--overlap", "--nodes=1", "--ntasks=1", f"--nodelist={host}", *named, *scan]
    # ssh joins what follows the host with blanks and hands it to the user's shell over there, so the tokens are quoted
    # for that shell here, once. Options are one token each: stand-ins for ssh may drop what begins with a dash.
    options = ["-oBatchMode=yes", f"-oConnectTimeout={CONNECT_TIMEOUT_S}"]
    return [*reach.ssh, *options, "--", host, shlex.join(scan)]


def scan_fleet(names: Sequence[str], reach: Reach, progress: Callable[[], object] = lambda: None) -> FromHost:
    """Return what all hosts say, in the order of their names; a host that fails is an error-level finding.

    Args:
        names: Hosts.
        reach: How to get there.
        progress: Called as each host is done.

    Raises:
        MissingDependencyError: The launcher's program is absent here.
        UsageError: A host's name would be taken for an option.
    """
    jobs = {name: unique_name() for name in names}
    commands = {name: remote_command(reach, name, job) for name, job in jobs.items()}
    answers: dict[str, FromHost] = {}
    with ThreadPoolExecutor(min(AT_ONCE, len(commands))) as pool:
        asked = {pool.submit(_scan_host, name, commands[name], reach, job): name for name, job in jobs.items()}
        try:
            for answer in as_completed(asked):
                answers[asked[answer]] = answer.result()
                progress()
        finally:  # after Ctrl-C, those that have not begun are not begun
            pool.shutdown(wait=False, cancel_futures=True)
    return FromHost(
        tuple(host for name in names for host in answers[name].hosts),
        tuple(finding for name in names for finding in answers[name].findings),
    )


def _scan_host(name: str, command: Sequence[str], reach: Reach, job: str) -> FromHost:
    on_kill = canceller(reach.launcher, job)
    try:
        return read_answer(name, processes.run(command, timeout_s=reach.timeout_s, on_kill=on_kill), reach)
    except MissingDependencyError as problem:
        hint = "install it, or choose another with --launcher or --ssh"
        raise MissingDependencyError(f"{problem}; {hint}") from problem
    except LaunchError as problem:
        return FromHost((), (error("host-unreachable", name, str(problem), "try again with fewer hosts"),))


def read_answer(name: str, ended: Completed, reach: Reach) -> FromHost:
    """Return a host's entries under the name by which it was asked for, or the finding that says why there are none."""
    if ended.timed_out:
        message = f"no answer within {reach.timeout_s:g} s"
        hint = "raise --timeout; if it stays, a tool hangs there (ibv_devinfo, the NVIDIA driver): look at its dmesg"
        return FromHost((), (error("host-unreachable", name, message, hint),))
    if ended.returncode == SSH_FAILED and reach.launcher == "ssh":
        hint = f"log in by hand: {shlex.join(reach.ssh)} {name}; it must work without a password"
        return FromHost((), (error("host-unreachable", name, _last_line(ended.stderr) or "ssh failed", hint),))
    document = _document(ended.stdout) if ended.returncode in SCANNED else None
    if document is None:
        said = _last_line(ended.stderr) or _last_line(ended.stdout) or "it printed nothing"
        message = f"scanning ended with status {ended.returncode}: {said}"
        hint = f"run {shlex.join(reach.program)} scan there; name its path with --remote-command where it is elsewhere"
        return FromHost((), (error("remote-scan-failed", name, message, hint),))
    return FromHost(_named(name, document.hosts), _collected(name, document))


def _document(stdout: str) -> ScanDocument | None:
    """Return the document among whatever a login shell's start-up files print too."""
    for line in reversed(stdout.splitlines()):
        if line.startswith("{"):
            try:
                return from_json(line, ScanDocument)
            except msgspec.DecodeError:
                return None
    return None


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _named(name: str, hosts: Sequence[Host]) -> tuple[Host, ...]:
    return tuple(host.with_(host=name) for host in hosts)


def _collected(name: str, document: ScanDocument) -> tuple[Finding, ...]:
    """Return what went wrong while reading that host; all else is judged again beside the other hosts."""
    return tuple(
        Finding(
            severity=finding.severity,
            code=finding.code,
            subject="/".join([name, *finding.subject.split("/")[1:]]),
            message=finding.message,
            hint=finding.hint,
        )
        for finding in document.findings
        if finding.code in COLLECTED
    )
