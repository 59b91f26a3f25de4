"""Documents for the page's tests: small ones, and ones whose every name is an attack."""

from __future__ import annotations

from ncclprobe.findings import error
from ncclprobe.names import DEFAULT
from ncclprobe.records.base import Document, EnvVariable, Interval
from ncclprobe.records.e2e import E2eDocument, E2eVerdict, Trial, TrialStatus
from ncclprobe.records.env import EnvDocument
from ncclprobe.records.nodes import LinkVerdict, NodesCost, NodesDocument, NodeStatus, NodeVerdict, RailVerdict
from ncclprobe.records.sweep import CellResult, Choice, Cost, Ratio, Status, Summary, SweepDocument, TableRow, Verdict

EVIL = '</script><script>window.evil = 1</script><img src="x" onerror="window.evil = 2">'
"""Runs, or asks the network for something, wherever it is taken for HTML."""
LINKED = '<a href="javascript:window.evil = 3">x</a>%{x} @ink'
"""What a plot library could take for a link, a value and a colour."""


def cell(algo: str, size: int, time: float, ratio: Ratio | None) -> CellResult:
    """Return a timed cell."""
    return CellResult(
        collective="all_reduce", dtype="float32", size_bytes=size, algo=algo, proto=DEFAULT, nchannels=None,
        samples=40, time_us=Summary(median=time, low=0.99 * time, high=1.01 * time), algbw_gbps=1.0, busbw_gbps=1.5,
        wrong=0, status=Status.OK, vs_default=ratio,
    )  # fmt: skip


def sweep(algo: str = "Ring", time: float = 112.0, collective: str = "all_reduce") -> SweepDocument:
    """Return a sweep of one setting that is chosen at the larger of two sizes."""
    gain = Ratio(ratio=1.12, low=1.10, high=1.14)
    row = TableRow(collective="all_reduce", min_bytes=2048, max_bytes=2048, algo=algo, proto=DEFAULT, nchannels=None)
    slower = Ratio(ratio=0.9, low=0.85, high=0.95)
    cells = (
        cell(DEFAULT, 1024, time, None), cell(algo, 1024, time / 0.9, slower),
        cell(DEFAULT, 2048, time, None), cell(algo, 2048, time / 1.12, gain),
    )  # fmt: skip
    return SweepDocument(
        backend="mpi", library=f"MPICH {algo}", nranks=4, nnodes=1, launches=3, seed=1,
        cells=tuple(one.with_(collective=collective) for one in cells),
        choice=Choice(verdict=Verdict.CHANGE, env={}, table=(row.with_(collective=collective),), gain=gain),
        cost=Cost(measured_s=1.0, exhaustive_s=10.0),
        findings=(error("slow-node", algo, f"{algo} is slow.", f"Look at {algo}."),),
    )  # fmt: skip


def nodes(*names: str, slow: str = "") -> NodesDocument:
    """Return nodes with a link and a rail; one of them is slow."""
    fine, bad = Interval(estimate=0.0, low=-0.01, high=0.01), Interval(estimate=0.15, low=0.1, high=0.2)
    return NodesDocument(
        nodes=tuple(
            NodeVerdict(node=name, status=NodeStatus.SLOW if name == slow else NodeStatus.OK,
                        slowdown=bad if name == slow else fine, evidence=f"{name} was measured.")
            for name in names
        ),
        links=(LinkVerdict(nodes=(names[0], names[1]), status=NodeStatus.OK, slowdown=fine, evidence=""),),
        rails=(RailVerdict(rail=f"rail {names[0]}", nodes=names, status=NodeStatus.OK, slowdown=fine, evidence=""),),
        cost=NodesCost(rounds=8, measurements_per_node=8, gpu_minutes_per_node=0.1),
        source=names[0], exclude=(slow,) if slow else (),
    )  # fmt: skip


def e2e(arm: str = "candidate", env: dict[str, str] | None = None, metric: str = "tok_s") -> E2eDocument:
    """Return three trials, the first of them a warm-up."""
    trials = (("baseline", TrialStatus.WARM_UP), ("baseline", TrialStatus.OK), (arm, TrialStatus.OK))
    return E2eDocument(
        workload=f"proxy {metric}", metric=metric, baseline={}, candidate=env or {},
        trials=tuple(
            Trial(arm=name, order=order, status=status, metrics={metric: 100.0 + order}, seconds=1.0,
                  effective={"env": {"NCCL_ALGO": name}, "telemetry": [{"power_w": 300 + order}]},
                  started="2026-11-22T00:00:00Z")
            for order, (name, status) in enumerate(trials)
        ),
        verdict=E2eVerdict.FASTER, ratio=Interval(estimate=1.08, low=1.05, high=1.11), trials_per_arm=8,
    )  # fmt: skip


def evil_documents() -> tuple[Document, ...]:
    """Return documents of every kind with plots, and one without, whose names are all attacks."""
    env = EnvDocument(
        sources=(EVIL,), format=EVIL, env=(EnvVariable(name=EVIL, value=EVIL, reason=EVIL),), table=(), text=EVIL
    )
    return sweep(EVIL, collective=EVIL), nodes(EVIL, LINKED, slow=EVIL), e2e(EVIL, {EVIL: LINKED}, EVIL), env
