"""GPUs as the nodes of a fleet: their names, and what to do about one, which differs from what helps with a host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from ncclprobe.errors import UsageError
from ncclprobe.findings import Finding

_LEAVE_OUT = "leave it out of CUDA_VISIBLE_DEVICES and look at its clocks, throttling reasons and NVLinks"
HINTS = {
    "slow-node": f"{_LEAVE_OUT} (nvidia-smi -q -d PERFORMANCE; nvidia-smi nvlink -s)",
    "unreachable-node": f"{_LEAVE_OUT}, and at the driver's messages (nvidia-smi -q; dmesg | grep Xid)",
    "slow-link": "look at the NVLinks between the two (nvidia-smi topo -m; nvidia-smi nvlink -s; nvidia-smi nvlink -e)",
    "unreachable-link": "look at the NVLinks between the two (nvidia-smi nvlink -s) and the driver's messages",
}
"""Code -> hint.

Source: NVIDIA System Management Interface, nvidia-smi(1), -d PERFORMANCE, nvlink, topo; NVIDIA XID Errors r580
"""


def gpu_names(hosts: Sequence[str], host: str, gpus: int) -> tuple[str, ...]:
    """Return the names of a host's GPUs as nodes, with the host's in front where there are several hosts."""
    before = f"{host}/" if len(hosts) > 1 else ""
    return tuple(f"{before}gpu{number}" for number in range(gpus))


def measurable(hosts: Sequence[str], ngpus: Mapping[str, int]) -> int:
    """Return how many GPUs of each host are measured: as many as all hosts have that answer.

    Args:
        hosts: That are to be measured.
        ngpus: Host -> its GPUs that NCCL could be run on.

    Raises:
        UsageError: There are fewer than two in all.
    """
    if not ngpus:
        raise UsageError(f"none of {', '.join(hosts)} answers, so nobody says how many GPUs there are")
    least, host = min((number, host) for host, number in ngpus.items())
    if least == 0:
        raise UsageError(
            f"{host} has no GPU that NCCL can be run on; check nvidia-smi, CUDA_VISIBLE_DEVICES and that"
            " ncclprobe[cuda13] (or cuda12) is installed for this Python"
        )
    if least * len(hosts) < 2:
        raise UsageError(f"{host} has one GPU, which can be compared with nothing; --each gpu needs two or more")
    return least


def with_hints(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings on nodes that are GPUs, with what helps there."""
    for finding in findings:
        hint = HINTS.get(finding.code)
        yield finding if hint is None else msgspec.structs.replace(finding, hint=hint)
