"""What an NCCL log is worth saying about beyond its figures.

Source: NCCL's user guide, "Environment Variables" and "Troubleshooting"; InfiniBand verbs, ``ibv_wc_status``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ncclprobe.findings import Finding, error, info, warning
from ncclprobe.names import OF_ONE_RANK, LinkLayer
from ncclprobe.records.inspect import LogError, NcclLog


class Evidence(NamedTuple):
    """What the document leaves out and a judgement needs."""

    versions: tuple[str, ...]
    """All that the log names."""
    env_values: dict[str, tuple[str, ...]]
    """Every value that a variable has on some rank."""
    net_lines: int
    """Channel lines over a network."""
    gdr_lines: int
    """Those of them with GPUDirect RDMA."""
    gdr_refused: bool
    """Whether NCCL says of every HCA that GPUDirect RDMA is disabled."""
    unfinished: int
    """Ranks that began to initialise a communicator and never said that they ended."""
    symmetric: bool
    """Whether symmetric kernels ran."""
    networks: frozenset[str]
    """What NCCL says that it uses: ``IB``, ``Socket``, or a plugin's name."""


_STATUS = re.compile(r"(?:status=|error )(?:\(?IBV_\w+\)?\(?)?(\d{1,18})")
_FLUSHED = 5
_STATUS_HINTS = {
    4: "status 4 is a local protection error: a buffer is not registered for its use; check nvidia_peermem",
    5: "status 5 (flushed) only follows another error: look for the first one with a different status, on the peer too",
    9: "status 9 is a remote invalid request",
    10: "status 10 is a remote access error; with GPUDirect RDMA look at ACS and nvidia_peermem on the peer",
    11: "status 11 is a remote operation error; look at the peer's log",
    12: "status 12 is a retry count exceeded: the peer does not answer over this HCA; check the link, routing (GID "
    "index on RoCE, subnet on InfiniBand) and the peer's health, with `ncclprobe scan` on both nodes",
    13: "status 13 is receiver not ready: the peer stopped or hangs; look at its log",
}
_CUDA_HINTS = (
    (
        "peer access",
        "these GPUs have no peer access here: see `nvidia-smi topo -p2p r`; NCCL_P2P_DISABLE=1 goes through host "
        "memory, with NCCL_CUMEM_HOST_ENABLE=0 where that fails too",
    ),
    ("out of memory", "the GPU is full: leave NCCL some memory beside the program's (SGLang: --mem-fraction-static)"),
    (
        "illegal memory access",
        "a kernel before it failed, more often the program's than NCCL's: find it with CUDA_LAUNCH_BLOCKING=1",
    ),
)
_INTERNAL_NETWORKS = frozenset({"IB", "Socket"})
_HINTS = {
    "nvls-failure": "the NVSwitches refuse multicast: see that the node's fabric manager (on GB200, IMEX) runs and was "
    "not restarted under running GPUs; NCCL_NVLS_ENABLE=0 does without it",
    "ofi-completion-error": "the peer did not answer through libfabric: look for its own error; on AWS the nodes' "
    "security group must let all of its own traffic in and out",
    "ib-async-event": "a port or queue failed while running; look at the port's counters and cable",
    "ib-connect-failure": "the HCAs cannot reach each other; check NCCL_IB_HCA, GID index and that rails are connected",
    "ib-failure": "at 'Cannot allocate memory' raise the memlock limit (ulimit -l unlimited); else see dmesg",
    "network-not-found": "what NCCL_NET and NCCL_NET_PLUGIN ask for has no device here: unset them, or see why with "
    "`ncclprobe scan`",
    "ib-memory-registration": "raise the memlock limit (ulimit -l unlimited) and check nvidia_peermem or DMA-BUF",
    "link-layer-mismatch": "an HCA of InfiniBand met one of Ethernet: list those of one link layer in NCCL_IB_HCA on "
    "every node, in the exact form that `ncclprobe scan` recommends",
    "duplicate-gpu": "two ranks were given the same GPU; check CUDA_VISIBLE_DEVICES and the local rank's device",
    "shared-memory-failure": "make /dev/shm larger (containers: --shm-size or --ipc=host)",
    "shared-memory-absent": "a rank opened what a peer of its node made: both must live and see one /dev/shm "
    "(containers: --ipc=host); look for the peer's own error",
    "message-truncated": "ranks called different operations or sizes, or their NCCL_ALGO and NCCL_PROTO differ; "
    "compare their logs with NCCL_DEBUG_SUBSYS=COLL,ENV",
    "rank-mismatch": "two processes came with one rank, or those of two jobs to one root: check RANK and WORLD_SIZE of "
    "each node, and that the master's address and port are this job's alone",
    "version-mismatch": "start every rank with the same libnccl",
    "no-network-interface": "NCCL_SOCKET_IFNAME names no interface that is up; run `ncclprobe scan` on the node",
    "socket-failure": "a peer ended or cannot be reached; look for the first error on the other ranks",
    "collective-timeout": "a rank never came to the collective; look for the first rank that failed or hangs",
    "no-algorithm": "NCCL_ALGO and NCCL_PROTO leave nothing for this operation; unset them",
    "remote-error": "another rank failed first; look at its log",
}
_ECHO_HINT = (
    "NCCL's caller repeats what NCCL met: the cause is in a WARN line or after 'Last error:'; without one, run it "
    "again with NCCL_DEBUG=INFO"
)
_ECHOES = frozenset({"unhandled-cuda-error", "system-error", "internal-error", "invalid-usage"})
_FIRST_HINT = "the first error in time is the cause, those that follow are its echo"


def judge(document: NcclLog, evidence: Evidence) -> Iterator[Finding]:
    """Yield what is worth knowing about a log."""
    yield from _errors(document)
    yield from _versions(document, evidence)
    yield from _gdr(document, evidence)
    yield from _sockets(document)
    yield from _links(document)
    yield from _environment(document, evidence)
    yield from _plugins(document, evidence)
    yield from _shared_memory(document)
    if evidence.symmetric:
        yield info(
            "symmetric-kernels",
            document.source,
            "some operations ran as symmetric kernels, which take no algorithm and protocol",
            "NCCL_ALGO, NCCL_PROTO and tuner plugins do not reach them; NCCL_WIN_ENABLE=0 turns them off",
        )
    if evidence.unfinished:
        yield info(
            "init-incomplete",
            document.source,
            f"{evidence.unfinished} × Init START of a communicator without its Init COMPLETE",
            "fine where the log is cut or an error follows; else these ranks hang: look at them first",
        )


def _errors(document: NcclLog) -> Iterator[Finding]:
    """Yield one finding a kind of error, with its first text."""
    by_code: dict[str, list[LogError]] = {}
    for failure in document.errors:
        by_code.setdefault(failure.code, []).append(failure)
    for code, failures in by_code.items():
        count = sum(failure.count for failure in failures)
        hosts = sorted({failure.host for failure in failures if failure.host})
        where = f" on {', '.join(hosts[:4])}{' and others' if len(hosts) > 4 else ''}" if hosts else ""
        cause = next((failure for failure in failures if _status(failure) != _FLUSHED), failures[0])
        yield error("nccl-error", document.source, f"{code}, {count}×{where}: {cause.text[:300]}", _hint(failures))


def _hint(failures: list[LogError]) -> str:
    if failures[0].code in _ECHOES:
        return _ECHO_HINT
    if failures[0].code == "cuda-failure":
        return next((hint for words, hint in _CUDA_HINTS if words in failures[0].text), _FIRST_HINT)
    if failures[0].code != "ib-completion-error":
        return _HINTS.get(failures[0].code, _FIRST_HINT)
    statuses = {status for failure in failures if (status := _status(failure)) is not None}
    causes = sorted(statuses - {_FLUSHED}) or sorted(statuses)
    return "; ".join(_STATUS_HINTS[status] for status in causes if status in _STATUS_HINTS) or _FIRST_HINT


def _status(failure: LogError) -> int | None:
    match = _STATUS.search(failure.text)
    return int(match[1]) if match else None


def _versions(document: NcclLog, evidence: Evidence) -> Iterator[Finding]:
    if len(evidence.versions) > 1:
        yield warning(
            "nccl-version-mix",
            document.source,
            f"the log names several versions of NCCL: {', '.join(evidence.versions)}",
            "ranks of one job need the same libnccl; check LD_LIBRARY_PATH, containers and LD_PRELOAD on every node",
        )


def _gdr(document: NcclLog, evidence: Evidence) -> Iterator[Finding]:
    over_ib = any(name.startswith("NET/") and name != "NET/Socket" for name in document.transports)
    refused = evidence.gdr_refused and not document.transports and document.nnodes != 1
    if refused or (document.gdr is False and over_ib):
        yield warning(
            "no-gdr",
            document.source,
            "NCCL says of every HCA that GPUDirect RDMA is disabled"
            if refused
            else f"none of {evidence.net_lines} network connections uses GPUDirect RDMA: data goes through host memory",
            "load nvidia_peermem or use DMA-BUF; check NCCL_NET_GDR_LEVEL and, with `ncclprobe scan`, how far the GPUs "
            "are from the HCAs",
        )
    elif document.gdr and evidence.gdr_lines < evidence.net_lines:
        yield warning(
            "gdr-partial",
            document.source,
            f"{evidence.net_lines - evidence.gdr_lines} of {evidence.net_lines} network connections do without "
            "GPUDirect RDMA",
            "a GPU is too far from its HCA, or a node lacks nvidia_peermem; compare nodes with `ncclprobe scan`",
        )


def _sockets(document: NcclLog) -> Iterator[Finding]:
    if "NET/Socket" not in document.transports:
        return
    off = document.env.get("NCCL_IB_DISABLE") == "1"
    if document.hcas or off or document.env.get("NCCL_NET") == "Socket":
        names = ", ".join(hca.name for hca in document.hcas[:4])
        seen = f"although NCCL saw {names}" if names else "NCCL_NET=Socket asks for it"
        why = "NCCL_IB_DISABLE=1 turned InfiniBand off" if off else seen
        yield warning(
            "socket-despite-ib",
            document.source,
            f"{document.transports['NET/Socket']} connections between nodes go over TCP sockets: {why}",
            "unset NCCL_IB_DISABLE and NCCL_NET unless there is a reason, and check NCCL_IB_HCA",
        )
    else:
        yield info(
            "socket-transport",
            document.source,
            f"{document.transports['NET/Socket']} connections between nodes go over TCP sockets",
            "fine without InfiniBand or RoCE; else see what `ncclprobe scan` finds on the nodes",
        )


def _links(document: NcclLog) -> Iterator[Finding]:
    links = {hca.link for hca in document.hcas if hca.link}
    refused = next((refusal.text for refusal in document.warnings if "merge incompatible" in refusal.text), None)
    if len(links) < 2 and refused is None:
        return
    by_link = {
        link: [hca.name for hca in document.hcas if hca.link is link]
        for link in (LinkLayer.INFINIBAND, LinkLayer.ETHERNET)
    }
    what = refused or "; ".join(f"{link.value}: {', '.join(names)}" for link, names in by_link.items())
    yield warning(
        "mixed-link-layers",
        document.source,
        f"NCCL uses HCAs of InfiniBand and of Ethernet: {what[:300]}",
        "list the HCAs of one link layer in NCCL_IB_HCA, in the exact form that `ncclprobe scan` recommends",
    )


def _environment(document: NcclLog, evidence: Evidence) -> Iterator[Finding]:
    for name, values in evidence.env_values.items():
        if len(values) > 1 and name not in OF_ONE_RANK:
            yield warning(
                "env-differs",
                f"{document.source}: {name}",
                f"{name} has several values: {', '.join(values[:4])}",
                "fine where the log holds several runs; within a job ranks with different settings can hang",
            )


def _plugins(document: NcclLog, evidence: Evidence) -> Iterator[Finding]:
    idle = bool(evidence.networks) and evidence.networks <= _INTERNAL_NETWORKS
    nets = [plugin.name for plugin in document.plugins if plugin.loaded and plugin.kind == "net"]
    if idle and nets and document.nnodes != 1:
        yield warning(
            "net-plugin-unused",
            f"{document.source}: {nets[0]}",
            f"the external plugin {nets[0]!r} was loaded, and NCCL uses its own {', '.join(sorted(evidence.networks))}",
            "the plugin found no device or failed to start; see its WARN lines",
        )
    wanted = ("tuner",) if idle else ("net", "tuner")
    loaded = {plugin.kind: plugin for plugin in reversed(document.plugins) if plugin.loaded and plugin.kind in wanted}
    for plugin in loaded.values():
        owns = "the network" if plugin.kind == "net" else "the choice of algorithm and protocol"
        yield info(
            f"{plugin.kind}-plugin",
            f"{document.source}: {plugin.name}",
            f"the external plugin {plugin.name!r} has {owns}",
            "its own settings count beside NCCL's; see its documentation"
            if plugin.kind == "net"
            else "set NCCL_TUNER_PLUGIN=none to see NCCL's own choice, or another plugin to replace it",
        )


def _shared_memory(document: NcclLog) -> Iterator[Finding]:
    shared = sum(count for name, count in document.transports.items() if name.startswith(("SHM", "direct shared")))
    if shared and not any(name.startswith("P2P") for name in document.transports):
        off = document.env.get("NCCL_P2P_DISABLE") == "1"
        yield info(
            "no-p2p",
            document.source,
            f"GPUs of a node talk through host memory only ({shared} connections), none directly"
            + (": NCCL_P2P_DISABLE=1" if off else ""),
            "unset NCCL_P2P_DISABLE if it is set; else see `nvidia-smi topo -p2p r` and the IOMMU and ACS settings",
        )
