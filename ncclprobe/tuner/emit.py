"""Settings as text that a job can load: shell, nccl.conf, Slurm, PBS, tuner table.

No value ever reaches a shell unquoted, and no name, value or reason can end its line.

Source: NCCL 2.28.9, src/misc/param.cc (``setEnvFile``: a line is a comment only where ``#`` is its first character,
the value is all that follows the first ``=``, quotes included, cut at 1023 bytes); sbatch(1), srun(1) and qsub(1B)
for how a job's environment reaches its ranks.
"""

from __future__ import annotations

import enum
import re
import shlex
from collections.abc import Callable, Sequence

from ncclprobe.errors import UsageError
from ncclprobe.records.base import EnvVariable
from ncclprobe.tuner.environ import Settings
from ncclprobe.tuner.table import nvidia_text, table_text

NCCL_CONF_VALUE_BYTES = 1023
"""NCCL cuts a longer value without a word."""


class Form(enum.StrEnum):
    """What is emitted."""

    SHELL = "shell"
    NCCL_CONF = "nccl.conf"
    SLURM = "slurm"
    PBS = "pbs"
    TUNER = "tuner"
    NVIDIA_CSV = "nvidia-csv"


def emitted(settings: Settings, form: Form) -> str:
    """Return the settings as text in a form, each variable under its reason.

    Raises:
        UsageError: A name or a value cannot be said in that form.
    """
    for variable in settings.variables:
        _check(variable)
    return _FORMS[form](settings)


def _check(variable: EnvVariable) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable.name):
        raise UsageError(f"{variable.name!r} is no name of an environment variable")
    if not variable.value.isprintable():
        raise UsageError(
            f"the value of {variable.name} holds a line break or another control character ({variable.value!r}); "
            "correct the run it comes from"
        )


def comment(text: str) -> str:
    """Return one comment line: white space becomes single spaces, what cannot be printed becomes ``?``."""
    words = " ".join(text.split())
    return "# " + "".join(letter if letter.isprintable() else "?" for letter in words)


def _head(settings: Settings) -> list[str]:
    sources = [comment(f"Settings from {source}") for source in settings.sources]
    nothing = [] if settings.variables else [comment("No variable to set.")]
    return [*sources, *map(comment, settings.notes), *_table_hint(settings), *nothing]


def _exports(variables: Sequence[EnvVariable]) -> list[str]:
    return [
        line
        for variable in variables
        for line in (comment(variable.reason), f"export {variable.name}={_quoted(variable.value)}")
    ]


def _quoted(value: str) -> str:
    """Return a shell word; zsh looks up a command after a bare ``=``, so one at the start is quoted as well."""
    return f"'{value}'" if value.startswith("=") and shlex.quote(value) == value else shlex.quote(value)


def _text(*parts: Sequence[str]) -> str:
    return "\n".join(line for part in parts for line in part) + "\n"


def _table_hint(settings: Settings) -> list[str]:
    if not settings.table_only:
        return []
    return [comment("No variable can say that: emit it with --format tuner, a tuner plugin applies it size by size.")]


def _shell(settings: Settings) -> str:
    return _text(_head(settings), _exports(settings.variables))


def _slurm(settings: Settings) -> str:
    if not settings.variables:
        return _shell(settings)
    how = [comment("In the job script, before srun.")]
    passing = [
        comment("srun hands the environment to every rank, also in a job submitted with --export=NONE."),
        "export SLURM_EXPORT_ENV=ALL",
    ]
    return _text(_head(settings), how, _exports(settings.variables), passing)


def _pbs(settings: Settings) -> str:
    if not settings.variables:
        return _shell(settings)
    names = [variable.name for variable in settings.variables]
    how = [comment("In the job script, before mpiexec. PBS runs it on one node; pass the names on to the others.")]
    passing = [
        comment("Open MPI: mpirun " + " ".join(f"-x {name}" for name in names)),
        comment("MPICH, Intel MPI: mpiexec -genvlist " + ",".join(names)),
    ]
    return _text(_head(settings), how, passing, _exports(settings.variables))


def _nccl_conf(settings: Settings) -> str:
    ours = [variable for variable in settings.variables if variable.name.startswith("NCCL_")]
    others = [variable.name for variable in settings.variables if not variable.name.startswith("NCCL_")]
    left_out = [comment(f"Only NCCL reads this file; set {name} in the job's environment.") for name in others]
    return _text(_head(settings), left_out, [line for one in ours for line in _conf_lines(one)])


def _conf_lines(variable: EnvVariable) -> list[str]:
    if len(variable.value.encode()) > NCCL_CONF_VALUE_BYTES:
        raise UsageError(
            f"the value of {variable.name} has over {NCCL_CONF_VALUE_BYTES} bytes, where NCCL cuts it in "
            "nccl.conf; use --format shell"
        )
    return [comment(variable.reason), f"{variable.name}={variable.value}"]


def _tuner(settings: Settings) -> str:
    return table_text(settings.rows, _table_notes(settings))


def _nvidia(settings: Settings) -> str:
    channels = ["NVIDIA's plugin runs whatever no row matches with 1 channel; in rows 0 is NCCL's own number."]
    return nvidia_text(settings.rows, [*_table_notes(settings), *(channels if settings.rows else [])])


def _table_notes(settings: Settings) -> list[str]:
    notes = [*(f"Settings from {source}" for source in settings.sources), *settings.notes]
    nothing = [] if settings.rows else ["No row: the library chooses at every size."]
    return [comment(note)[2:] for note in (*notes, *nothing)]


_FORMS: dict[Form, Callable[[Settings], str]] = {
    Form.SHELL: _shell,
    Form.NCCL_CONF: _nccl_conf,
    Form.SLURM: _slurm,
    Form.PBS: _pbs,
    Form.TUNER: _tuner,
    Form.NVIDIA_CSV: _nvidia,
}
