"""What ``nodes`` says: of each node, link and rail."""

from __future__ import annotations

import enum

from ncclprobe.decoding import is_measured
from ncclprobe.records.base import Document, Interval, Record

SLOW_HCA = "slow-hca"
"""Code of the finding on a node that is slow on one rail alone; its subject is ``NODE/RAIL``."""


class NodeStatus(enum.StrEnum):
    """What the evidence says."""

    OK = "ok"
    SLOW = "slow"
    SUSPECT = "suspect"
    UNREACHABLE = "unreachable"


class Check(enum.StrEnum):
    """What a node measures of itself, without any other node."""

    HOST_MEMORY = "host-memory"
    """Copies within host memory, GB/s."""
    HOST_COMPUTE = "host-compute"
    """Products of matrices on a core, GFLOP/s."""
    GPU_MEMORY = "gpu-memory"
    """Copies within a GPU's memory, GB/s."""
    GPU_COMPUTE = "gpu-compute"
    """Products of matrices on a GPU, TFLOP/s."""
    INTRA_NODE = "intra-node"
    """An all-reduce between the node's own ranks, GB/s (busbw)."""


class Cause(enum.StrEnum):
    """Which part of a slow node is slow, as far as its own checks tell."""

    HOST = "host"
    """Its memory, its cores, or the way between its ranks."""
    GPU = "gpu"
    """A GPU."""
    NETWORK = "network"
    """Neither: the node's own checks are as fast as the fleet's."""


class CheckVerdict(Record, frozen=True, kw_only=True):
    """A node's own check, compared with the fleet's."""

    check: Check
    """Which."""
    gpu: int | None
    """Which GPU of the node, from 0; None where the check is about no single one, or the node is a GPU itself."""
    status: NodeStatus
    """ok, slow or suspect."""
    slowdown: Interval
    """0.15 means 15 % below the median of the others."""
    value: float
    """The median of its measurements."""
    unit: str
    """Of the value."""


class NodeVerdict(Record, frozen=True, kw_only=True):
    """One node."""

    node: str
    """Its name."""
    status: NodeStatus
    """``suspect`` where it looks slow and the values cannot say; ``ok`` where nothing slow was seen, however few."""
    slowdown: Interval | None
    """0.15 means 15 % below a healthy node, at 95 %; None only for an unreachable node."""
    evidence: str
    """A sentence for people."""
    cause: Cause | None = None
    """Of a slow node; None where nothing is known of its inside."""
    checks: tuple[CheckVerdict, ...] = ()
    """Its own checks; empty where nothing was measured inside nodes."""


class LinkVerdict(Record, frozen=True, kw_only=True):
    """The path between two nodes."""

    nodes: tuple[str, str]
    """In sorted order."""
    status: NodeStatus
    """As for nodes; ``unreachable`` where both nodes work, but never together."""
    slowdown: Interval | None
    """Against a healthy link; None only for an unreachable one."""
    evidence: str
    """A sentence for people."""


class RailVerdict(Record, frozen=True, kw_only=True):
    """One rail: the same HCA of every node and the switches it goes to."""

    rail: str
    """Its name."""
    nodes: tuple[str, ...]
    """On which it was measured."""
    status: NodeStatus
    """As for nodes."""
    slowdown: Interval | None
    """Against a healthy rail."""
    evidence: str
    """A sentence for people."""


class NodesCost(Record, frozen=True, kw_only=True):
    """What the judgement cost."""

    rounds: int
    """Of disjoint groups."""
    measurements_per_node: float
    """Mean."""
    gpu_minutes_per_node: float
    """Mean; 0 for results of the past."""


class NodesDocument(Document, frozen=True, kw_only=True):
    """``ncclprobe.nodes/1``."""

    schema: str = "ncclprobe.nodes/1"
    nodes: tuple[NodeVerdict, ...] = ()
    """Every node."""
    links: tuple[LinkVerdict, ...] = ()
    """Those that stand out; every measured one where the fleet has at most 12 nodes."""
    rails: tuple[RailVerdict, ...] = ()
    """Every rail that was measured."""
    cost: NodesCost
    """What it took."""
    source: str
    """The file that was read, or the fabric that was measured."""
    seed: int | None = None
    """Of an active run."""
    exclude: tuple[str, ...] = ()
    """Nodes to leave out of jobs: the slow and the unreachable ones; none where the nodes are GPUs."""
    each: str = "host"
    """What a node is: ``host`` or ``gpu``."""


class GroupValue(Record, frozen=True, kw_only=True):
    """One measured value of a group of nodes; what ``nodes`` judges by."""

    nodes: tuple[str, ...]
    """Members, one or more."""
    value: float
    """Larger is better after reading; a time is inverted by the reader."""
    unit: str | None = None
    """Values of different units are judged apart."""
    rail: str | None = None
    """The rail it was restricted to."""
    time: str | None = None
    """When, ISO 8601, for drift."""
    round: int | None = None
    """The round of an active run."""
    status: str = "ok"
    """``ok``, ``failed`` or ``timeout``."""
    samples: tuple[float, ...] = ()
    """What the value is the median of, in its unit; empty where only the value is known."""
    seconds: float = 0.0
    """How long the group took in all, warm-ups included; 0 for results of the past."""

    def __post_init__(self) -> None:
        """Refuse, also when one is read, what no logarithm can be taken of, and a group of nobody."""
        if not self.nodes or (self.status == "ok" and not is_measured(self.value)):
            raise ValueError(f"a group's value is {self.value!r} of {len(self.nodes)} nodes; it must be over 0")


class CheckValue(Record, frozen=True, kw_only=True):
    """One measured value of a node's inside."""

    node: str
    """Its name."""
    check: Check
    """What was measured."""
    gpu: int | None = None
    """Which GPU of the node, from 0; None where the node is a GPU itself."""
    value: float
    """Larger is better."""
    unit: str
    """Of the value."""
    round: int
    """Before which round of groups."""


class HostGone(Record, frozen=True, kw_only=True):
    """A host that does not answer."""

    node: str
    """Its name."""
    why: str
    """What happened when it was asked."""
    round: int
    """Before or in which round that was found."""


class WrongSum(Record, frozen=True, kw_only=True):
    """A group's sums that were not what they had to be."""

    nodes: tuple[str, ...]
    """The group; one node where its own ranks summed up."""
    on: tuple[str, ...]
    """Those of them on which elements were wrong."""
    elements: int
    """How many, on all ranks, in all of the round's sums."""
    round: int
    """In which, or before which."""


class Group(Record, frozen=True, kw_only=True):
    """Nodes to be measured together."""

    nodes: tuple[str, ...]
    """Two of them in every round of ours."""
    rail: str | None = None
    """The rail that it is restricted to; None uses all."""


class Round(Record, frozen=True, kw_only=True):
    """Disjoint groups to be measured at the same time."""

    index: int
    """From 0; the measured values carry it as their ``round``."""
    stage: str
    """``survey`` of the whole fleet, or ``confirm`` for suspects."""
    groups: tuple[Group, ...]
    """No node is in two of them."""
