"""Variables that a launcher does not pass on to what it launches.

Source: mpirun(1) of Open MPI 4 and 5 (over ssh only what ``-x`` names reaches other hosts; Slurm and PBS hand the
daemons the whole environment), mpiexec of MPICH 4 (all is passed unless ``-genvnone`` or a list says otherwise),
srun(1) (``--export``), qsub(1B) (``-V``, ``-v``), docker-run(1), apptainer(1) (``--cleanenv``), ssh(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ncclprobe.findings import Severity
from ncclprobe.tuner.lint_case import Case, Doubt, in_force
from ncclprobe.tuner.script import How, Launch, LaunchKind, Script

CODE = "launcher-drops"
OPEN_MPI = frozenset({
    "-x", "--x", "--mca", "-mca", "--map-by", "-map-by", "--bind-to", "-bind-to", "--allow-run-as-root",
    "-allow-run-as-root", "-npernode", "--npernode", "-oversubscribe", "--oversubscribe", "-N", "--tag-output",
    "--prefix",
})  # fmt: skip
"""Options that show an Open MPI: no other mpirun has them in this form."""
HOSTS = frozenset({"-H", "-host", "--host", "-hostfile", "--hostfile", "-machinefile", "--machinefile"})
BATCH_DAEMONS = re.compile(r"^(SBATCH|PBS)\b")
PROCESS_LAUNCHER, SSH = re.compile(r"\bplm\b"), re.compile(r"\b(rsh|ssh)\b")
WORKLOAD = re.compile(r"\b(python3?|torchrun|deepspeed|sglang|vllm|\w+_perf(_mpi)?|mpirun|accelerate)\b")
SETTING_UP = re.compile(r"(^|[;&|\s])(source|\.)\s|\bbash\s+\S*\.sh|\bsh\s+\S*\.sh|\bexport\b|\benv\b")


def check_launches(case: Case) -> Iterator[Doubt]:
    """Yield launches that leave variables behind."""
    launches = sorted(
        (one for one in case.script.launches if one.kind is not LaunchKind.OTHER), key=lambda one: one.order
    )
    changes = (one for one in case.script.settings if one.how in (How.EXPORT, How.UNSET))
    exported = [one for one in changes if case.ours(one.name) or not one.name]
    held = in_force([(launch.order, launch.scope) for launch in launches], exported)
    for launch, settings in zip(launches, held, strict=True):
        if settings:
            yield from _dropped(case.script, launch, [one.name for one in settings])


def _dropped(script: Script, launch: Launch, names: list[str]) -> Iterator[Doubt]:
    if "*" in launch.passed:
        return
    left = [name for name in names if name not in launch.passed]
    if left and launch.kind is LaunchKind.MPI:
        yield from _mpi(script, launch, left)
    elif left and launch.kind is LaunchKind.SRUN:
        yield from _srun(script, launch, left)
    elif left and launch.kind is LaunchKind.SSH:
        yield from _ssh(launch, left)
    elif left and launch.kind is LaunchKind.CONTAINER:
        yield from _container(launch, left)
    elif left and launch.kind is LaunchKind.SANDBOX:
        yield from _sandbox(launch, left)
    elif left and launch.kind is LaunchKind.QSUB and not {"-V", None} & set(launch.words):
        yield _doubt(launch, left, Severity.WARNING, "qsub passes only what -v names", "add -V, or -v with the names")
    elif (
        left
        and launch.kind is LaunchKind.SBATCH
        and launch.exports is not None
        and "ALL" not in launch.exports.split(",")
    ):
        yield from _unlisted(launch, left, launch.exports)


def _mpi(script: Script, launch: Launch, left: list[str]) -> Iterator[Doubt]:
    if _hidden_options(launch):
        return
    given = {word for word in launch.words if word is not None}
    some = bool(launch.passed & _nccl_names(launch))
    if {"-genvnone", "-envnone"} & given:
        yield _doubt(launch, left, Severity.ERROR, "-genvnone passes nothing on", "name them in -genvlist")
    elif given & OPEN_MPI and (some or _over_ssh(script, launch)):
        options = " ".join(f"-x {name}" for name in left)
        why = "Open MPI passes on to other hosts what -x names" + (", as for the others" if some else "")
        yield _doubt(launch, left, Severity.WARNING, why, f"add {options}")


def _nccl_names(launch: Launch) -> frozenset[str]:
    return frozenset(name for name in launch.passed if name.startswith(("NCCL_", "SGL")))


def _hidden_options(launch: Launch) -> bool:
    """Return whether options may hide in a variable: a word that only a shell can tell, not behind an option."""
    before = ""
    for word in launch.words:
        if word is None and not before.startswith("-"):
            return True
        if word is not None and not word.startswith("-") and not before.startswith("-"):
            return False  # the program: what follows is its own
        before = word or ""
    return False


def _over_ssh(script: Script, launch: Launch) -> bool:
    """Return whether Open MPI starts its daemons on other hosts by ssh."""
    batch = any(BATCH_DAEMONS.match(line) for line in script.directives)
    text = " ".join(word or "?" for word in launch.words)
    return bool(HOSTS & set(launch.words)) and _several_hosts(launch) and (not batch or _names_ssh(text))


def _names_ssh(text: str) -> bool:
    """Return whether Open MPI's options say that daemons are started by ssh."""
    asked = PROCESS_LAUNCHER.search(text)
    return "plm_rsh_agent" in text or bool(asked and SSH.search(text, asked.end()))


def _several_hosts(launch: Launch) -> bool:
    """Return whether the hosts that are named are more than this one."""
    for option, value in zip(launch.words, launch.words[1:], strict=False):
        if option in ("-H", "-host", "--host"):
            hosts = {part.partition(":")[0] for part in (value or "a,b").split(",")}
            return bool(hosts - {"localhost", "127.0.0.1"})
        if option in HOSTS:
            return True
    return False


def _srun(script: Script, launch: Launch, left: list[str]) -> Iterator[Doubt]:
    if launch.exports == "?" or any(word is None and not _value_of_option(launch, at) for at, word in _options(launch)):
        return
    if launch.exports is None:
        if _job_without_environment(script) and not _restored(script, launch):
            why = "#SBATCH --export=NONE holds for srun too, which passes nothing of the job's environment on"
            yield _doubt(
                launch, left, Severity.ERROR, why, "export SLURM_EXPORT_ENV=ALL before srun, or srun --export=ALL"
            )
    elif "ALL" not in launch.exports.split(","):
        yield from _unlisted(launch, left, launch.exports)


def _options(launch: Launch) -> Iterator[tuple[int, str | None]]:
    """Yield the words up to the program, with their places."""
    for at, word in enumerate(launch.words):
        if word is not None and not word.startswith("-") and not _value_of_option(launch, at):
            return
        yield at, word


def _value_of_option(launch: Launch, at: int) -> bool:
    before = launch.words[at - 1] if at else ""
    return before is not None and before.startswith("-") and "=" not in before


def _unlisted(launch: Launch, left: list[str], exports: str) -> Iterator[Doubt]:
    listed = "nothing" if exports in ("NONE", "NIL") else "only what it lists"
    why = f"--export={exports} passes {listed} on"
    hint = f"write --export=ALL{'' if exports in ('NONE', 'NIL') else ',' + exports}"
    yield _doubt(launch, left, Severity.ERROR, why, hint)


def _job_without_environment(script: Script) -> bool:
    return any(re.match(r"SBATCH\b.*--export[= ](NONE|NIL)\b", line) for line in script.directives)


def _restored(script: Script, launch: Launch) -> bool:
    restored = any(one.name == "SLURM_EXPORT_ENV" and one.order < launch.order for one in script.settings)
    return restored or "SLURM_EXPORT_ENV" in script.unset


def _ssh(launch: Launch, left: list[str]) -> Iterator[Doubt]:
    command = " ".join(launch.shown)
    left = [name for name in left if name not in command]
    hidden = bool(launch.shown) and not launch.shown[-1]
    if left and not hidden and WORKLOAD.search(command) and not SETTING_UP.search(command) and "SendEnv" not in command:
        yield _doubt(launch, left, Severity.WARNING, "ssh passes no environment on", "set them in the remote command")


def _container(launch: Launch, left: list[str]) -> Iterator[Doubt]:
    given = {word for word in launch.words if word is not None}
    if not {"run", "exec"} & given or "--env-host" in given or _hidden_options(launch._replace(words=launch.words[1:])):
        return
    names = " ".join(f"-e {name}" for name in left)
    why = f"{launch.program} gives a container only what -e or --env-file names"
    yield _doubt(launch, left, Severity.WARNING, why, f"add {names}")


def _sandbox(launch: Launch, left: list[str]) -> Iterator[Doubt]:
    if {"--cleanenv", "-e", "--containall", "-C"} & _before_image(launch):
        why = f"{launch.program} --cleanenv leaves the environment outside"
        yield _doubt(launch, left, Severity.WARNING, why, "name them with --env, or leave --cleanenv away")


def _before_image(launch: Launch) -> set[str]:
    return {word for word in launch.words[:8] if word is not None and word.startswith("-")}


def _doubt(launch: Launch, left: list[str], severity: Severity, why: str, hint: str) -> Doubt:
    names = ", ".join(left[:4]) + (f" and {len(left) - 4} more" if len(left) > 4 else "")
    return Doubt(launch.line, severity, CODE, f"{names} {'is' if len(left) == 1 else 'are'} lost here: {why}", hint)
