"""What ``env emit`` says."""

from __future__ import annotations

from ncclprobe.records.base import Document, EnvVariable
from ncclprobe.records.inspect import TunerRow


class EnvDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.env/1``."""

    schema: str = "ncclprobe.env/1"
    sources: tuple[str, ...]
    """The runs, as they were named."""
    format: str
    """``shell``, ``nccl.conf``, ``slurm``, ``pbs``, ``tuner`` or ``nvidia-csv``."""
    env: tuple[EnvVariable, ...]
    """The variables, each once, in order; empty where nothing is to be set."""
    table: tuple[TunerRow, ...]
    """The choice by message size; empty where there is none."""
    text: str
    """What was emitted."""
