"""What a whole script says about all of its launches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ncclprobe.tuner.script import Launch, LaunchKind, Script

BATCH_LINE = re.compile(r"(SBATCH|PBS|BSUB|SGE|\$)(?!\w)")
BATCH_NAME = re.compile(r"(SLURM|PBS|LSB|COBALT)_|PE_HOSTFILE\Z")
"""Variables that only a batch system sets."""
OPEN_MPI_LIST = "OMPI_MCA_mca_base_env_list"
SANDBOX_PREFIXES = ("APPTAINERENV_", "SINGULARITYENV_")
"""Of variables that a container gets without the prefix, whatever else it gets."""


class Context(NamedTuple):
    """What holds for all launches of a script."""

    in_batch: bool
    """Whether a batch system runs it, whose daemons pass the environment on."""
    without_environment: bool
    """Whether the job begins without its submitter's environment, and srun without the job's."""
    restored: float
    """The order from which on srun gets the environment all the same."""
    listed: frozenset[str]
    """Names that Open MPI finds in a list in the environment; ``*`` where it may be any."""
    of_sandboxes: frozenset[str]
    """Names that Apptainer gets by variables of its own."""
    of_containers: frozenset[str]
    """Names that containers which it starts are given; ``*`` where these may be any."""


def context(script: Script) -> Context:
    """Return what a script says about all of its launches."""
    names = {one.name for one in script.settings} | script.exported
    restored = (one.order for one in script.settings if one.name == "SLURM_EXPORT_ENV")
    return Context(
        in_batch=any(map(BATCH_LINE.match, script.directives)) or any(map(BATCH_NAME.match, script.used)),
        without_environment=any(re.match(r"SBATCH\b.*--export[= ](NONE|NIL)\b", line) for line in script.directives),
        restored=-1 if "SLURM_EXPORT_ENV" in script.unset else min(restored, default=float("inf")),
        listed=frozenset(_listed(script)),
        of_sandboxes=frozenset(name.partition("_")[2] for name in names if name.startswith(SANDBOX_PREFIXES)),
        of_containers=frozenset(name for one in script.launches for name in _given(one)),
    )


def _listed(script: Script) -> Iterator[str]:
    for one in script.settings:
        if one.name == OPEN_MPI_LIST:
            yield from ("*",) if one.value is None else (item.partition("=")[0] for item in one.value.split(";"))


def _given(launch: Launch) -> Iterator[str]:
    """Yield what a container is given that a launch starts."""
    if launch.kind is LaunchKind.CONTAINER and {"run", "create"} & set(launch.operands()[:1]):
        yield from ("*",) if launch.parts.hidden else launch.passed
    elif launch.kind is LaunchKind.CONTAINER and {"start", "compose"} & set(launch.operands()[:1]):
        yield "*"
