"""Variables that a launcher does not pass on to what it launches.

Source: srun(1) (``--export``), qsub(1B) (``-V``, ``-v``), docker-run(1), apptainer(1) (``--cleanenv``), ssh(1); those
of mpirun and mpiexec are in lint_mpi.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from ncclprobe.findings import Severity
from ncclprobe.tuner.launch_context import Context, context
from ncclprobe.tuner.launch_programs import IMAGE, may_use_nccl, names_workload
from ncclprobe.tuner.lint_case import Case, Doubt, in_force
from ncclprobe.tuner.lint_mpi import Loss, mpi_losses
from ncclprobe.tuner.script import How, Launch, LaunchKind, Setting

CODE = "launcher-drops"
SETTING_UP = re.compile(r"(^|[;&|\s])(source|\.)\s|\bbash\s+\S*\.sh|\bsh\s+\S*\.sh|\bexport\b|\benv\b")
"""What a remote command does that sets variables of its own."""
SOURCING = re.compile(r"(^|[;&|\s])(source|\.)\s")


def check_launches(case: Case) -> Iterator[Doubt]:
    """Yield launches that leave variables behind."""
    launches = sorted(
        (one for one in case.script.launches if one.kind is not LaunchKind.OTHER), key=lambda one: one.order
    )
    ours = [one for one in case.script.settings if case.ours(one.name) or not one.name]
    lasting = [one for one in ours if one.how in (How.EXPORT, How.UNSET)]
    held = in_force([(launch.order, launch.scope) for launch in launches], lasting)
    prefixes: dict[int, list[Setting]] = defaultdict(list)
    for one in ours:
        prefixes[one.order] += [one] if one.how is How.PREFIX else []
    about = context(case.script)
    for launch, settings in zip(launches, held, strict=True):
        names = dict.fromkeys(one.name for one in (*settings, *prefixes[launch.order]))
        yield from _dropped(about, launch, [name for name in names if not launch.passes(name)])


def _dropped(about: Context, launch: Launch, left: list[str]) -> Iterator[Doubt]:
    command = " ".join(word for words in launch.commands() for word in _meant(launch.kind, words))
    given = _given_elsewhere(about, launch)
    left = [name for name in left if name not in command and not {name, "*"} & given]  # what names it sets it there
    if not left or not _concerns(launch, command):
        return
    for severity, why, hint in _LOSSES[launch.kind](about, launch, left):
        names = ", ".join(left[:4]) + (f" and {len(left) - 4} more" if len(left) > 4 else "")
        message = f"{names} {'is' if len(left) == 1 else 'are'} lost here: {why}"
        yield Doubt(launch.line, severity, CODE, message, hint)


def _meant(kind: LaunchKind, words: Sequence[str]) -> Iterator[str]:
    """Yield the words of a command but for what was meant as the launcher's option: ``-x NAME`` behind the program."""
    option = {LaunchKind.MPI: "-x", LaunchKind.CONTAINER: "-e"}.get(kind)
    yield from (word for before, word in zip(("", *words), words, strict=False) if before != option)


def _given_elsewhere(about: Context, launch: Launch) -> frozenset[str]:
    """Return the variables that a launcher passes on because of another place in the script."""
    if launch.kind is LaunchKind.MPI:
        return about.listed
    if launch.kind is LaunchKind.SANDBOX:
        return about.of_sandboxes
    return about.of_containers if launch.operands()[:1] == ["exec"] else frozenset()


def _concerns(launch: Launch, command: str) -> bool:
    """Return whether a launch may start what uses NCCL, and does not set it up by itself."""
    if launch.kind in (LaunchKind.QSUB, LaunchKind.SBATCH):
        return True
    if launch.kind is LaunchKind.SSH:
        return names_workload(command) and not SETTING_UP.search(command)
    return not SOURCING.search(command) and (
        not launch.parts.commands or any(may_use_nccl(words) for words in launch.commands())
    )


def _qsub(_about: Context, launch: Launch, _left: list[str]) -> Iterator[Loss]:
    if not {"-V", None} & set(launch.words):
        yield Severity.WARNING, "qsub passes only what -v names", "add -V, or -v with the names"


def _sbatch(_about: Context, launch: Launch, _left: list[str]) -> Iterator[Loss]:
    if launch.exports not in (None, "?") and "ALL" not in launch.exports.split(","):
        yield _unlisted(launch.exports)


def _srun(about: Context, launch: Launch, _left: list[str]) -> Iterator[Loss]:
    if launch.exports == "?" or launch.parts.hidden:
        return
    if launch.exports is None:
        if about.without_environment and launch.order <= about.restored:
            why = "#SBATCH --export=NONE holds for srun too, which passes nothing of the job's environment on"
            yield Severity.ERROR, why, "export SLURM_EXPORT_ENV=ALL before srun, or srun --export=ALL"
    elif "ALL" not in launch.exports.split(","):
        yield _unlisted(launch.exports)


def _unlisted(exports: str) -> Loss:
    listed = "nothing" if exports in ("NONE", "NIL") else "only what it lists"
    hint = f"write --export=ALL{'' if exports in ('NONE', 'NIL') else ',' + exports}"
    return Severity.ERROR, f"--export={exports} passes {listed} on", hint


def _ssh(_about: Context, launch: Launch, _left: list[str]) -> Iterator[Loss]:
    if not any("SendEnv" in word for word in launch.own()):
        yield Severity.WARNING, "ssh passes no environment on", "set them in the remote command"


def _container(_about: Context, launch: Launch, left: list[str]) -> Iterator[Loss]:
    does, image = (*launch.operands(), "", "")[:2]
    own_command = not launch.parts.commands or launch.commands()[0][0].startswith("-")
    if does not in ("run", "exec") or launch.parts.hidden or "--env-host" in launch.own():
        return
    if own_command and not IMAGE.search(image):
        return
    names = " ".join(f"-e {name}" for name in left)
    yield Severity.WARNING, f"{launch.program} gives a container only what -e or --env-file names", f"add {names}"


def _sandbox(_about: Context, launch: Launch, _left: list[str]) -> Iterator[Loss]:
    cleaned = {"--cleanenv", "-e", "--containall", "-C"} & set(launch.own())
    if cleaned and launch.operands()[:1] != ["shell"]:
        why = f"{launch.program} --cleanenv leaves the environment outside"
        yield Severity.WARNING, why, "name them with --env, or leave --cleanenv away"


_LOSSES: dict[LaunchKind, Callable[[Context, Launch, list[str]], Iterator[Loss]]] = {
    LaunchKind.MPI: mpi_losses, LaunchKind.SRUN: _srun, LaunchKind.SSH: _ssh, LaunchKind.CONTAINER: _container,
    LaunchKind.SANDBOX: _sandbox, LaunchKind.QSUB: _qsub, LaunchKind.SBATCH: _sbatch,
}  # fmt: skip
"""Yields why variables that no option names are lost, if so."""
