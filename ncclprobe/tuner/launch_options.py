"""Which words of a launcher's command line are its own, and where the command begins that it starts.

Source: mpirun(1) of Open MPI 4 and 5, mpiexec of MPICH 4 (Hydra) and Intel MPI, srun(1) and sbatch(1) of Slurm 23,
ssh(1) of OpenSSH 9, docker-run(1), docker-exec(1), apptainer-exec(1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ncclprobe.tuner.script import LaunchKind, Parts

PROGRAM = re.compile(
    r"(\.{0,2}|~|\$\w+)/\S|(\S+\.(py|sh)|python3?|torchrun|env|bash|sh|hostname|nvidia-smi|\w+_perf(_mpi)?)\Z"
)
"""What is rather a program than what an option takes."""


class _Grammar(NamedTuple):
    """How one kind of launcher reads its options."""

    operands: int = 0
    flags: frozenset[str] = frozenset()
    """Options that take no word."""
    valued: frozenset[str] = frozenset()
    """Options that take one, whatever it looks like; any other takes one unless that looks like a program."""
    pairs: frozenset[str] = frozenset()
    """Options that take two."""
    letters: str = ""
    """Options of one letter that take no word and may come as one: ``-it``; empty where there are none such."""
    takes: bool = True
    """Whether an option that is none of these takes a word."""
    named: bool = False
    """Whether a word that is one expansion is rather an operand than options."""
    several: bool = False
    """Whether ``:`` ends a command, and options of the launcher follow."""


_MPI = _Grammar(
    flags=frozenset({
        "allow-run-as-root", "oversubscribe", "nooversubscribe", "use-hwthread-cpus", "tag-output", "timestamp-output",
        "report-bindings", "display-map", "display-allocation", "display-topo", "display-devel-map", "nolocal",
        "bynode", "byslot", "bycore", "bysocket", "bind-to-core", "bind-to-socket", "bind-to-none", "do-not-launch",
        "do-not-resolve", "debug", "debug-devel", "debug-daemons", "leave-session-attached", "enable-recovery",
        "disable-recovery", "continuous", "keep-fqdn-hostnames", "novm", "nw", "merge-stderr-to-stdout",
        "get-stack-traces", "report-state-on-timeout", "index-argv-by-rank", "noprefix", "v", "vv", "vvv", "q", "V",
        "verbose", "quiet", "version", "help", "h", "info", "l", "prepend-rank", "print-rank-map", "localonly", "rr",
        "print-all-exitcodes", "disable-auto-cleanup", "genvall", "genvnone", "envall", "envnone", "enable-x",
        "disable-x", "check_mpi", "ilp64", "cleanup",
    }),
    valued=frozenset({
        "np", "n", "c", "N", "x", "H", "host", "hosts", "hostfile", "machinefile", "default-hostfile", "f", "ppn",
        "perhost", "npernode", "npersocket", "map-by", "bind-to", "rank-by", "cpu-bind", "prefix", "wdir", "wd", "path",
        "rankfile", "rf", "output-filename", "output", "genvlist", "envlist", "launcher", "bootstrap", "launcher-exec",
        "bootstrap-exec", "iface", "configfile", "tune", "am", "app", "launch-agent", "report-uri", "outfile-pattern",
        "errfile-pattern", "prepend-pattern", "personality", "timeout", "cpu-list", "cpu-set", "slot-list",
    }),
    pairs=frozenset({"mca", "gmca", "pmixmca", "prtemca", "genv", "env"}),
    several=True,
)  # fmt: skip
_SRUN = _Grammar(
    flags=frozenset({
        "exclusive", "label", "unbuffered", "overlap", "pty", "verbose", "quiet", "contiguous", "disable-status",
        "hold", "no-kill", "overcommit", "oversubscribe", "preserve-env", "multi-prog", "use-min-nodes", "spread-job",
        "reboot", "exact", "whole", "immediate", "kill-on-bad-exit", "container-mount-home",
        "no-container-mount-home", "container-writable", "container-readonly", "container-remap-root",
        "no-container-remap-root", "container-entrypoint", "no-container-entrypoint", "x11", "requeue", "no-requeue",
        "parsable", "test-only", "send-libs", "external-launcher", "propagate",
    }),
    letters="EHIKklOQsuvXZhV",
)  # fmt: skip
_SBATCH = _SRUN._replace(flags=_SRUN.flags | {"wait", "ignore-pbs"}, letters=_SRUN.letters + "W")
_SSH = _Grammar(operands=1, letters="46AaCfGgKkMNnqsTtVvXxYy", named=True)
_DOCKER = _Grammar(
    operands=2,
    flags=frozenset({
        "rm", "detach", "interactive", "tty", "privileged", "init", "read-only", "no-healthcheck", "publish-all",
        "oom-kill-disable", "quiet", "sig-proxy", "disable-content-trust", "env-host", "replace", "tls", "debug",
        "no-TTY", "no-deps", "service-ports", "build", "quiet-pull", "remove-orphans", "use-aliases", "no-hosts",
        "rmi", "rootfs", "tls-verify", "latest", "all-resources",
    }),
    letters="ditPqTD",
)  # fmt: skip
_APPTAINER = _Grammar(
    operands=2,
    valued=frozenset({
        "B", "bind", "env", "env-file", "H", "home", "W", "workdir", "pwd", "cwd", "o", "overlay", "S", "scratch",
        "hostname", "app", "apply-cgroups", "dns", "mount", "network", "network-args", "add-caps", "drop-caps",
        "security", "fusemount", "no-mount", "cpus", "memory", "pem-path", "data",
    }),
    takes=False,
    named=True,
)  # fmt: skip
_GRAMMARS = {
    LaunchKind.MPI: _MPI, LaunchKind.SRUN: _SRUN, LaunchKind.SBATCH: _SBATCH, LaunchKind.SSH: _SSH,
    LaunchKind.CONTAINER: _DOCKER, LaunchKind.SANDBOX: _APPTAINER,
}  # fmt: skip


def parted(kind: LaunchKind, words: Sequence[str]) -> Parts:
    """Return which words are a launcher's own.

    Args:
        kind: Of the launcher.
        words: Those behind its name, with expansions as they stand; empty where one is nothing else.
    """
    if (grammar := _GRAMMARS.get(kind)) is None:
        return Parts(tuple(range(len(words))))
    return _Reader(grammar, words).read()


class _Reader:
    """One pass over a launcher's words."""

    def __init__(self, grammar: _Grammar, words: Sequence[str]) -> None:
        self.grammar, self.words, self.at = grammar, words, 0
        self.awaited = grammar.operands
        self.own: list[int] = []
        self.operands: list[int] = []
        self.commands: list[slice] = []
        self.hidden = False

    def read(self) -> Parts:
        while self.at < len(self.words):
            self.step(self.words[self.at])
        return Parts(tuple(self.own), tuple(self.operands), tuple(self.commands), self.hidden)

    def step(self, word: str) -> None:
        if word.startswith("-") and len(word) > 1:
            self.take(1 + self.taken(word))
        elif not word and not (self.awaited and self.grammar.named):
            self.hidden = True
            self.take(1)
        elif self.awaited:
            self.awaited -= 1
            self.operands.append(self.at)
            self.take(1)
        elif word.isdigit():
            self.take(1)  # of an option that is not known
        else:
            self.command()

    def take(self, count: int) -> None:
        end = min(self.at + count, len(self.words))
        self.own += range(self.at, end)
        self.at = end

    def taken(self, option: str) -> int:
        """Return how many words an option takes."""
        name, following = option.lstrip("-"), (*self.words[self.at + 1 : self.at + 2], "-")[0]
        if name in self.grammar.pairs:
            return 1 if name in ("genv", "env") and "=" in following else 2
        if self.attached(option, name):
            return 0
        if name in self.grammar.valued:
            return 1
        return int(self.grammar.takes and not following.startswith("-") and not self.begins(following))

    def attached(self, option: str, name: str) -> bool:
        """Return whether an option takes no word, or has it within its own."""
        if "=" in option or name.isdigit() or not name or name in self.grammar.flags:
            return True
        if not self.grammar.letters or option.startswith("--"):
            return False
        value = name.lstrip(self.grammar.letters)
        return len(value) != 1 or value.isdigit()  # flags alone, or a letter and what it takes

    def begins(self, following: str) -> bool:
        """Return whether the command begins behind an option that is not known: of MPI's launchers, which have many."""
        return self.grammar is _MPI and bool(PROGRAM.match(following))

    def command(self) -> None:
        rest = range(self.at, len(self.words) if self.grammar.several else self.at)
        end = next((at for at in rest if self.words[at] == ":"), len(self.words))
        self.commands.append(slice(self.at, end))
        self.at = end + 1
