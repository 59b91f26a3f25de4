"""What the options of launchers say about the environment of what they launch.

Source: mpirun(1) of Open MPI 4 and 5 (``-x``), mpiexec of MPICH 4 and Intel MPI (``-genv``, ``-env`` and lists),
srun(1) and sbatch(1) of Slurm 23 (``--export``), qsub(1B) of PBS 2022 (``-V``, ``-v``), docker-run(1), apptainer(1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ncclprobe.tuner.launch_options import parted
from ncclprobe.tuner.script import LaunchKind, Parts
from ncclprobe.tuner.shell_lists import items
from ncclprobe.tuner.shell_words import NAME, Word

KINDS = {
    "mpirun": LaunchKind.MPI, "mpiexec": LaunchKind.MPI, "mpiexec.hydra": LaunchKind.MPI, "orterun": LaunchKind.MPI,
    "prterun": LaunchKind.MPI, "srun": LaunchKind.SRUN, "ssh": LaunchKind.SSH, "docker": LaunchKind.CONTAINER,
    "podman": LaunchKind.CONTAINER, "nerdctl": LaunchKind.CONTAINER, "singularity": LaunchKind.SANDBOX,
    "apptainer": LaunchKind.SANDBOX, "qsub": LaunchKind.QSUB, "sbatch": LaunchKind.SBATCH,
}  # fmt: skip
WILDCARD = re.compile(r"[A-Za-z_]\w*\*\Z")
"""``-x 'NCCL_*'`` of Open MPI 5."""
ENVIRONMENT_LIST = "mca_base_env_list"
"""Open MPI's parameter with names to pass on; source: Open MPI 4.1, opal/mca/base/mca_base_var.c."""
NEXT_PAIR = re.compile(r",(?=[A-Za-z_]\w*=)")
LISTS = frozenset({"-genvlist", "-envlist"})
PAIRS = frozenset({"-genv", "-env"})


class Launched(NamedTuple):
    """What the options of one command set and pass on."""

    kind: LaunchKind
    settings: tuple[tuple[str, str | None, int], ...]
    """Name, value and line."""
    passed: tuple[str, ...]
    exports: str | None
    parts: Parts


def kind_of(program: str) -> LaunchKind:
    """Return what a program starts."""
    return KINDS.get(program, LaunchKind.OTHER)


def launched(kind: LaunchKind, program: str, values: Sequence[str | None], words: Sequence[Word]) -> Launched:
    """Return what a command's options say about variables.

    Args:
        kind: Of the program.
        program: Its name.
        values: The words behind it, with known variables put in; None where only a shell can tell.
        words: The same as they stand.
    """
    found, parts = _Found(kind, values, words), parted(kind, [word.shown for word in words])
    for at in parts.own:
        found.option(at, words[at])
    for part in parts.commands:
        found.command(range(part.start, part.stop))
    return Launched(kind, tuple(found.settings), tuple(found.passed), found.exports, parts)


class _Found:
    """Collects what options say."""

    def __init__(self, kind: LaunchKind, values: Sequence[str | None], words: Sequence[Word]) -> None:
        self.kind, self.values, self.words = kind, values, words
        self.settings: list[tuple[str, str | None, int]] = []
        self.passed: list[str] = []
        self.exports: str | None = None

    def option(self, at: int, word: Word) -> None:
        text = word.start
        if self.kind is LaunchKind.MPI:
            self.of_mpi(at, text)
        elif self.kind in (LaunchKind.SRUN, LaunchKind.SBATCH):
            self.of_slurm(at, text)
        elif self.kind in (LaunchKind.CONTAINER, LaunchKind.SANDBOX):
            self.of_container(at, text)
        elif self.kind is LaunchKind.QSUB and text == "-v":
            self.items(at + 1, ",")

    def of_mpi(self, at: int, text: str) -> None:
        if text in ("-x", "--x"):
            self.item(at + 1, 0)
        elif text in LISTS:
            self.items(at + 1, ",")
        elif text in PAIRS:
            self.pair(at + 1)
        elif text == ENVIRONMENT_LIST and at < len(self.words) - 1:
            self.items(at + 1, ";")

    def of_slurm(self, at: int, text: str) -> None:
        if text.startswith("--export="):
            self.exports = self.values[at][len("--export=") :] if self.values[at] is not None else "?"  # type: ignore[index]
            self.items(at, ",", len("--export="))
        elif text == "--export":
            following = self.values[at + 1 : at + 2]
            self.exports = following[0] if following and following[0] is not None else "?"
            self.items(at + 1, ",")

    def of_container(self, at: int, text: str) -> None:
        several = self.kind is LaunchKind.SANDBOX
        if text in ("-e", "--env") and not (several and text == "-e"):  # apptainer's -e is --cleanenv
            self.pairs(at + 1, 0) if several else self.item(at + 1, 0)
        elif text.startswith("--env="):
            self.pairs(at, len("--env=")) if several else self.item(at, len("--env="))
        elif not several and text.startswith("-e") and "=" in text:
            self.item(at, len("-e"))
        elif text == "--env-file" or text.startswith("--env-file="):
            self.passed.append("*")

    def item(self, at: int, skip: int) -> None:
        """Take ``NAME`` or ``NAME=VALUE`` from a word, which may be any names where a variable stands for it."""
        if at < len(self.words):
            if not self.words[at].start[skip:]:
                self.passed.append("*")
            self.take(self.words[at].start[skip:], self.values[at], skip, self.words[at].line)

    def pairs(self, at: int, skip: int) -> None:
        """Take ``NAME=VALUE,NAME=VALUE``, of which a value may have commas, too."""
        value = self.values[at] if at < len(self.words) else None
        if value is None:
            self.item(at, skip)
            return
        for item in NEXT_PAIR.split(value[skip:]):
            self.take(item, item, 0, self.words[at].line)

    def take(self, start: str, value: str | None, skip: int, line: int) -> None:
        name, equals, _ = start.partition("=")
        if WILDCARD.match(start):
            self.passed.append(start)
        if NAME.fullmatch(name):
            self.passed.append(name)
            if equals:
                known = None if value is None else value[skip:].partition("=")[2]
                self.settings.append((name, known, line))

    def command(self, places: range) -> None:
        """Take what is set at the begin of the command that is launched: ``env NAME=VALUE``, and behind a host."""
        remote, options = self.kind is LaunchKind.SSH, False
        for at in places:
            text = self.words[at].start
            if options and self.words[at - 1].start == "-u":
                continue
            if text.rpartition("/")[2] == "env":
                remote = options = True
            elif remote and "=" in text and not text.startswith("-") and (options or " " not in self.words[at].shown):
                self.item(at, 0)
            elif not (options and text.startswith("-")):
                return

    def items(self, at: int, separator: str, skip: int = 0) -> None:
        if at >= len(self.words):
            return
        value = self.values[at]
        if self.kind is LaunchKind.MPI and value is None:
            self.passed.append("*")
        for item in items((self.words[at].start if value is None else value)[skip:], separator):
            self.take(item, item if value is not None else None, 0, self.words[at].line)

    def pair(self, at: int) -> None:
        """Take MPICH's ``-genv NAME VALUE``, or ``-genv NAME=VALUE``."""
        if at < len(self.words) and "=" in self.words[at].start:
            self.item(at, 0)
        elif at + 1 < len(self.words) and NAME.fullmatch(self.words[at].start):
            self.passed.append(self.words[at].start)
            self.settings.append((self.words[at].start, self.values[at + 1], self.words[at].line))
