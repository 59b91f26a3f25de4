"""What a script, a configuration file or an environment sets, and what it starts with it."""

from __future__ import annotations

import enum
from typing import NamedTuple


class How(enum.StrEnum):
    """In which way a variable is set."""

    EXPORT = "export"
    """For this script and all that it starts."""
    ASSIGN = "assign"
    """For this script alone."""
    PREFIX = "prefix"
    """For one command: ``NAME=VALUE command``."""
    LAUNCHER = "launcher"
    """By a launcher's option, for what it launches."""
    DIRECTIVE = "directive"
    """By a line for the batch system."""
    ENTRY = "entry"
    """As an entry of a file or of an environment."""
    LISTED = "listed"
    """In an array, a loop's words or a text of options: for something that this reader does not know."""
    UNSET = "unset"
    """Not set any more, or not for what is started; the name is empty for all variables."""


class Setting(NamedTuple):
    """A variable that is set."""

    name: str
    value: str | None
    """None where only a shell can tell."""
    line: int
    """Counted from 1; 0 in an environment."""
    how: How
    scope: tuple[int, ...] = ()
    """Blocks and branches around it."""
    order: int = 0
    """Of what a script does, counted; a launch has its place in the same count."""
    launch: int = -1
    """The ``order`` of the launch that it is an option of, -1 for none."""


class LaunchKind(enum.StrEnum):
    """What starts processes elsewhere."""

    MPI = "mpi"
    SRUN = "srun"
    SSH = "ssh"
    CONTAINER = "container"
    SANDBOX = "sandbox"
    """Singularity, Apptainer: containers that inherit the environment."""
    QSUB = "qsub"
    SBATCH = "sbatch"
    OTHER = "other"
    """Any other command that may use what is set."""


class Parts(NamedTuple):
    """The words behind a launcher's name, told apart."""

    own: tuple[int, ...] = ()
    """Places of the launcher's options, of what these take and of its operands."""
    operands: tuple[int, ...] = ()
    """Places of what it needs before the command: a host, a container's image."""
    commands: tuple[slice, ...] = ()
    """What it starts: one, or several with ``:`` between them."""
    hidden: bool = False
    """Whether options may hide in a variable: a word that is one expansion stands where an option may."""


class Launch(NamedTuple):
    """A command that starts something with what is set."""

    kind: LaunchKind
    program: str
    """``mpirun``."""
    words: tuple[str | None, ...]
    """What follows it; None where only a shell can tell."""
    line: int
    scope: tuple[int, ...]
    order: int
    passed: frozenset[str] = frozenset()
    """The variables that its options name; ``NCCL_*`` for all that begin so, ``*`` for all."""
    exports: str | None = None
    """Of srun and sbatch: what ``--export`` says; None without it."""
    shown: tuple[str, ...] = ()
    """The words with their expansions as ``$NAME``, empty for one that is nothing else."""
    values: tuple[str | None, ...] = ()
    """The words with known variables put in."""
    parts: Parts = Parts()

    def own(self) -> list[str]:
        """Return the launcher's own words, as shown."""
        return [self.shown[at] for at in self.parts.own]

    def operands(self) -> list[str]:
        """Return what the launcher needs before the command, as shown: a host, ``run`` and an image."""
        return [self.shown[at] for at in self.parts.operands]

    def commands(self) -> list[tuple[str, ...]]:
        """Return what the launcher starts, as shown."""
        return [self.shown[part] for part in self.parts.commands]

    def passes(self, name: str) -> bool:
        """Return whether the launcher's options name a variable."""
        return name in self.passed or any(name.startswith(one[:-1]) for one in self.passed if one.endswith("*"))


ELSEWHERE = -(10**9)
"""An element of a scope: what is further in runs where no setting from outside holds, on another host or so."""


class Dialect(enum.StrEnum):
    """What a text is."""

    SHELL = "shell"
    NCCL_CONF = "nccl.conf"
    ENTRIES = "entries"
    """Lines of NAME=VALUE: what ``env`` prints, an environment file."""
    YAML = "yaml"
    JSON = "json"
    TOML = "toml"
    """INI too."""
    UNIT = "unit"
    """Of systemd."""
    DOCKERFILE = "dockerfile"
    MAKEFILE = "makefile"
    PYTHON = "python"


class Script(NamedTuple):
    """What was found in one text."""

    source: str
    """What findings call it."""
    dialect: Dialect
    settings: tuple[Setting, ...] = ()
    launches: tuple[Launch, ...] = ()
    used: frozenset[str] = frozenset()
    """Names of variables whose value the script itself uses."""
    directives: tuple[str, ...] = ()
    """Lines for the batch system, without their ``#``: ``SBATCH --nodes=2``."""
    programs: frozenset[str] = frozenset()
    """Which programs that use NCCL the text names: nccl-tests', ``python``, ``torchrun`` and so on."""
    raw: tuple[tuple[int, str], ...] = ()
    """Of nccl.conf: its lines with their numbers."""
    allexport: bool = False
    """Whether the script exports all that it assigns (``set -a``), or names that only a shell can tell."""
    unset: frozenset[str] = frozenset()
    """Names that it unsets."""
    exported: frozenset[str] = frozenset()
    """Names that the script exports, at whatever place."""

    spaced: tuple[Setting, ...] = ()
    """What has blanks around its ``=`` and so is no assignment to a shell."""
    cut: tuple[Setting, ...] = ()
    """What begins a command though it belongs to the one before: with ``How.LAUNCHER`` options, else a whole value."""
    lost: tuple[Setting, ...] = ()
    """What is exported in a subshell that starts nothing."""
    written: tuple[Script, ...] = ()
    """Texts of nccl.conf that a script writes, with its own line numbers."""
    ended: tuple[Setting, ...] = ()
    """What a shell within the file exports and then ends with: a Dockerfile's ``RUN export NAME=VALUE``."""

    def parts(self) -> tuple[Script, ...]:
        """Return the script and the texts that it writes."""
        return self, *self.written

    def subject(self, line: int) -> str:
        """Return ``job.sh:12``, or the source alone where there are no lines."""
        return f"{self.source}:{line}" if line else self.source
