"""Variables that mpirun and mpiexec do not pass on.

Source: mpirun(1) of Open MPI 4 and 5 (over ssh only what ``-x`` or mca_base_env_list names reaches other hosts; batch
systems' daemons hand on the whole environment), mpiexec of MPICH 4 and Intel MPI (all is passed unless ``-genvnone``
or a list says otherwise).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ncclprobe.findings import Severity
from ncclprobe.tuner.launch_context import Context
from ncclprobe.tuner.script import Launch

Loss = tuple[Severity, str, str]
"""Severity, reason and hint."""
OPEN_MPI = frozenset({
    "-x", "--x", "--mca", "-mca", "--map-by", "--bind-to", "--allow-run-as-root", "-allow-run-as-root", "-npernode",
    "--npernode", "-oversubscribe", "--oversubscribe", "-N", "--tag-output", "--prefix",
})  # fmt: skip
"""Options that show an Open MPI: no other mpirun has them in this form."""
HYDRA = frozenset({
    "-genv", "-genvall", "-genvnone", "-genvlist", "-env", "-envall", "-envnone", "-envlist", "-ppn", "-perhost", "-f",
    "-hosts", "-rmk", "-bootstrap", "-launcher", "-iface", "-prepend-rank",
})  # fmt: skip
"""Options that show MPICH's or Intel's: Open MPI has none of them."""
HOSTS = frozenset({"-H", "-host", "--host"})
HOSTFILES = frozenset({"-hostfile", "--hostfile", "-machinefile", "--machinefile", "--default-hostfile"})
PROCESS_LAUNCHER, SSH = re.compile(r"\bplm\b"), re.compile(r"\b(rsh|ssh)\b")


def mpi_losses(about: Context, launch: Launch, left: list[str]) -> Iterator[Loss]:
    """Yield why variables that no option of mpirun names are lost, if so."""
    given = set(launch.own())
    if launch.parts.hidden:
        return
    if {"-genvnone", "-envnone"} & given:
        yield Severity.ERROR, "-genvnone passes nothing on", "name them in -genvlist"
    elif {"-genvlist", "-envlist"} & given and not {"-genvall", "-envall"} & given:
        yield Severity.WARNING, "-genvlist passes only what it lists", f"add {','.join(left)} to -genvlist"
    elif _is_open_mpi(launch, given):
        yield from _open_mpi(about, launch, left)


def _is_open_mpi(launch: Launch, given: set[str]) -> bool:
    if launch.program in ("orterun", "prterun"):
        return True
    return launch.program != "mpiexec.hydra" and bool(given & OPEN_MPI) and not given & HYDRA


def _open_mpi(about: Context, launch: Launch, left: list[str]) -> Iterator[Loss]:
    batch = about.in_batch
    some = any(name.startswith(("NCCL_", "SGL")) for name in launch.passed) and (batch or not _is_local(launch))
    if some or (_over_hosts(launch) and (not batch or _names_ssh(" ".join(launch.own())))):
        why = "Open MPI passes on to other hosts what -x names" + (", as for the others" if some else "")
        yield Severity.WARNING, why, f"add {' '.join(f'-x {name}' for name in left)}"


def _names_ssh(text: str) -> bool:
    """Return whether Open MPI's options say that daemons are started by ssh."""
    asked = PROCESS_LAUNCHER.search(text)
    return "plm_rsh_agent" in text or bool(asked and SSH.search(text, asked.end()))


def _hosts(launch: Launch) -> set[str] | None:
    """Return the hosts that options name, as shown; None where a shell alone can tell how many."""
    hosts: set[str] = set()
    for at in launch.parts.own:
        option, equals, value = launch.shown[at].partition("=")
        if option in HOSTS:
            value = value if equals else _text(launch, at + 1)
            if not value:
                return None
            hosts |= {part.partition(":")[0] for part in value.split(",")}
    return hosts


def _text(launch: Launch, at: int) -> str:
    """Return a word with known variables put in, or else as shown."""
    value, shown = (*launch.values[at : at + 1], ""), (*launch.shown[at : at + 1], "")
    return value[0] or shown[0]


def _names_file(launch: Launch) -> bool:
    own = launch.own()
    return any(word.partition("=")[0] in HOSTFILES or word.endswith("default_hostfile") for word in own)


def _over_hosts(launch: Launch) -> bool:
    """Return whether several hosts are named, or a file of them."""
    return len(_hosts(launch) or ()) > 1 or _names_file(launch)


def _is_local(launch: Launch) -> bool:
    """Return whether all ranks are on one host, as far as options tell."""
    hosts = _hosts(launch)
    return hosts is not None and len(hosts) < 2 and not _names_file(launch)
