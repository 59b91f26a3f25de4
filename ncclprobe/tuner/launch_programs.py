"""Whether what a launcher starts may be a program that uses NCCL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ncclprobe.tuner.shell_commands import Command, commands
from ncclprobe.tuner.shell_script import MOST_WRAPPERS, NEUTRAL, WRAPPERS
from ncclprobe.tuner.shell_words import ASSIGNMENT, tokens
from ncclprobe.tuner.shell_written import SHELLS

WORKLOAD = re.compile(r"python[\d.]*|torchrun|deepspeed|sglang|vllm|\w+_perf(_mpi)?|mpirun|mpiexec|accelerate")
"""Programs that use NCCL or start what does, by their names."""
IMAGE = re.compile(
    r"vllm|sglang|torch|nemo|megatron|deepspeed|nccl|train|triton|tensorrt|text-generation", re.IGNORECASE
)
"""In the names of container images whose own command uses NCCL."""
TOOLS = NEUTRAL | {
    "pkill", "kill", "killall", "pgrep", "ps", "top", "free", "df", "du", "cat", "echo", "printf", "grep", "find",
    "stat", "touch", "mv", "ln", "chmod", "chown", "tar", "dd", "rsync", "scp", "wget", "curl", "git", "make", "id",
    "whoami", "nproc", "uptime", "getent", "printenv", "lscpu", "lspci", "lsmod", "modprobe", "sysctl",
    "systemctl", "supervisorctl", "mount", "umount", "fuser", "lsof", "ipcs", "ipcrm", "ip", "ping", "ethtool",
    "ibstat", "ibstatus", "ibv_devinfo", "ibv_devices", "ibdev2netdev", "ib_write_bw", "ib_read_bw", "ib_send_bw",
    "ib_write_lat", "iperf", "iperf3", "dcgmi", "dcgm-exporter", "nvcc", "nvbandwidth", "numastat", "fio", "tail",
    "pip", "pip3", "apt", "apt-get", "squeue", "sinfo", "scancel", "ldconfig", "ldd", "sync", "tr", "cut", "wc", "awk",
    "sed", "mktemp", "rmdir", "nvidia-persistenced", "nvidia-cuda-mps-control",
}  # fmt: skip
STARTERS = frozenset({"docker", "podman", "nerdctl", "singularity", "apptainer", "conda", "mamba"})
"""Programs that start others by ``run`` or ``exec`` alone."""
IDLE_MODULES = frozenset({"pip", "venv", "json.tool", "http.server", "torch.utils.collect_env"})
OF_NCCL = re.compile(r"nccl|dist|all_reduce", re.IGNORECASE)
OPTION = re.compile(r"-|\d+[smh]?\Z")
"""Of a wrapper, or the duration of ``timeout``."""
DEEPEST = 3
"""Shells within each other whose text is read."""


def may_use_nccl(words: Sequence[str]) -> bool:
    """Return whether a command, or one of a shell's text, may use NCCL: whatever is no tool that does not.

    Args:
        words: Of the command, with expansions as they stand; empty where one is nothing else.
    """
    return any(not is_tool(command) for command in simple_commands(words))


def names_workload(text: str) -> bool:
    """Return whether one of the commands of a shell's text names a program that is known to use NCCL."""
    found = (one for one in simple_commands(["sh", "-c", text]) if not is_tool(one) and not _sets_up(one))
    return any(WORKLOAD.fullmatch(_base(word)) for one in found for word in one)


def simple_commands(words: Sequence[str], depth: int = 0) -> Iterator[Sequence[str]]:
    """Yield a command behind its wrappers, or those in the text of ``bash -c``."""
    words = unwrapped(words)
    text = shell_text(words)
    if text is None or depth == DEEPEST:
        yield words
        return
    for found in commands(tokens(text)):
        if isinstance(found, Command):
            yield from simple_commands([word.shown for word in found.words], depth + 1)


def unwrapped(words: Sequence[str]) -> Sequence[str]:
    """Return a command behind its assignments, ``env``, ``nohup`` and the like, and their options."""
    at = 0
    for _ in range(MOST_WRAPPERS):
        at = _behind(ASSIGNMENT, words, at)
        if at == len(words) or _base(words[at]) not in WRAPPERS:
            break
        at = _behind(OPTION, words, at + 1)
    return words[at:]


def _behind(pattern: re.Pattern[str], words: Sequence[str], at: int) -> int:
    """Return the first place from a given one on whose word does not begin as a pattern says."""
    return next((place for place in range(at, len(words)) if not pattern.match(words[place])), len(words))


def shell_text(words: Sequence[str]) -> str | None:
    """Return what a shell is to run by ``-c``; None where a command is none such."""
    if not words or _base(words[0]) not in SHELLS:
        return None
    letters = next((at for at, word in enumerate(words) if re.fullmatch(r"-[a-z]*c", word)), len(words))
    return words[letters + 1] if letters + 1 < len(words) and words[letters + 1] else None


def is_tool(words: Sequence[str]) -> bool:
    """Return whether a simple command is one that no setting of NCCL's concerns."""
    program = _base(words[0]) if words else ""
    if not words or program in SHELLS:
        return all(word.startswith("-") for word in words[1:])  # for somebody to type
    if program in STARTERS:
        return not {"run", "exec"} & set(words)
    if re.fullmatch(r"python[\d.]*", program):
        return _is_idle_python(words[1:])
    return program in TOOLS or "install" in words[:3]


def _sets_up(words: Sequence[str]) -> bool:
    """Return whether a command may bring its own settings: a variable's content, or a container that runs already."""
    return not words[0] or (_base(words[0]) in ("docker", "podman", "nerdctl") and "run" not in words)


def _is_idle_python(words: Sequence[str]) -> bool:
    """Return whether a Python only says its version, or runs something short or known that has nothing of NCCL."""
    option, value = (*words[:2], "", "")[:2]
    if option == "-m":
        return value in IDLE_MODULES
    return option in ("-V", "--version") or (option == "-c" and bool(value) and not OF_NCCL.search(value))


def _base(word: str) -> str:
    return word.rpartition("/")[2]
