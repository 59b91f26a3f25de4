"""What a workload tries after a sweep, and what its answer changes."""

from __future__ import annotations

import pytest

from ncclprobe.findings import error
from ncclprobe.names import DEFAULT
from ncclprobe.records.base import Interval
from ncclprobe.records.e2e import E2eDocument, E2eVerdict, ProxyShape
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.sweep import CellResult, Choice, Cost, Ratio, Status, Summary, SweepDocument, TableRow, Verdict
from ncclprobe.report.text.tune import tune_verdict
from ncclprobe.tuner.confirm import Candidate, candidate, doubts, fit, stands

SHAPE = ProxyShape(layers=4, hidden=512, batch=64, steps=16, nranks=4)
"""Messages of 128 KiB."""
NONE = Ratio(ratio=1.0, low=1.0, high=1.0)


def cell(size: int, algo: str, ratio: float | None, status: Status = Status.OK) -> CellResult:
    vs_default = None if ratio is None else Ratio(ratio=ratio, low=ratio - 0.01, high=ratio + 0.01)
    return CellResult(
        collective="all_reduce", dtype="float32", size_bytes=size, algo=algo, proto=DEFAULT, nchannels=None,
        samples=9, time_us=Summary(median=10, low=9, high=11), algbw_gbps=1, busbw_gbps=1, wrong=0,
        status=status, vs_default=vs_default,
    )  # fmt: skip


def row(low: int, high: int, algo: str = "Ring") -> TableRow:
    return TableRow(collective="all_reduce", min_bytes=low, max_bytes=high, algo=algo, proto=DEFAULT, nchannels=None)


def sweep(*cells: CellResult, table: tuple[TableRow, ...] = (), env: dict[str, str] | None = None) -> SweepDocument:
    choice = Choice(
        verdict=Verdict.CHANGE if table else Verdict.KEEP_DEFAULTS,
        env=env or {},
        table=table,
        gain=Ratio(ratio=1.12, low=1.1, high=1.14) if table else NONE,
    )
    return SweepDocument(
        backend="mpi", library="MPICH 5.0.2", nranks=2, nnodes=1, launches=3, seed=1, cells=cells, choice=choice,
        cost=Cost(measured_s=1, exhaustive_s=9),
    )  # fmt: skip


def both(size: int, *rivals: CellResult) -> tuple[CellResult, ...]:
    return (cell(size, DEFAULT, None), *rivals)


def of(document: SweepDocument) -> Candidate:
    found = candidate(document, SHAPE)
    assert found is not None
    return found


def test_where_the_defaults_stay_the_closest_rival_is_tried_at_the_nearest_swept_size() -> None:
    document = sweep(
        *both(4096, cell(4096, "Ring", 1.3)),
        *both(256 << 10, cell(256 << 10, "Ring", 0.9), cell(256 << 10, "Tree", 0.95, Status.ELIMINATED)),
        *both(2 << 20, cell(2 << 20, "Ring", 1.2)),
    )
    tried = of(document)
    assert tried.label == "Tree"
    expected = TunerRow(collective="all_reduce", min_bytes=256 << 10, max_bytes=256 << 10, algo="Tree", proto=DEFAULT)
    assert (tried.settings.table, tried.settings.env) == ((expected,), {})
    assert (tried.shape.batch, tried.shape.hidden, tried.shape.steps, tried.shape.nranks) == (128, 512, 8, 2)


@pytest.mark.parametrize("status", [Status.WRONG, Status.TIMEOUT, Status.REFUSED])
def test_a_cell_that_does_not_work_is_never_tried(status: Status) -> None:
    document = sweep(*both(128 << 10, cell(128 << 10, "Ring", 1.5, status), cell(128 << 10, "Tree", 0.5)))
    assert of(document).label == "Tree"


def test_a_change_by_size_is_tried_at_a_size_that_it_changes() -> None:
    cells = [one for size in (4096, 128 << 10, 1 << 20) for one in both(size, cell(size, "Ring", 1.1))]
    tried = of(sweep(*cells, table=(row(4096, 4096), row(1 << 20, 1 << 20))))
    assert tried.label == "the choice"
    assert [(r.min_bytes, r.max_bytes, r.algo) for r in tried.settings.table] == [
        (4096, 4096, "Ring"), (1 << 20, 1 << 20, "Ring"),
    ]  # fmt: skip
    assert tried.shape.batch == 512, "1 MiB is nearer to 128 KiB than 4 KiB is"


def test_a_change_that_variables_can_say_is_tried_by_variables() -> None:
    document = sweep(
        *both(128 << 10, cell(128 << 10, "Ring", 1.1)), table=(row(128 << 10, 128 << 10),), env={"MPIR_CVAR_X": "ring"}
    )
    assert (of(document).settings.env, of(document).settings.table) == ({"MPIR_CVAR_X": "ring"}, ())


@pytest.mark.parametrize(
    "document",
    [
        sweep(*both(8, cell(8, "Ring", 1.1)), table=(row(8, 8),)),
        sweep(*both(8, cell(8, "Ring", 1.0))),
        sweep(*both(1 << 30, cell(1 << 30, "Ring", 1.0))),
        sweep(*both(128 << 10)),
        sweep(*both(128 << 10, cell(128 << 10, "Ring", None, Status.REFUSED))),
    ],
)
def test_there_may_be_nothing_to_try(document: SweepDocument) -> None:
    assert candidate(document, SHAPE) is None


@pytest.mark.parametrize(("size", "batch", "steps"), [(2048, 1, 1024), (128 << 10, 64, 16), (2 << 20, 1024, 4)])
def test_fit_keeps_about_as_many_tokens(size: int, batch: int, steps: int) -> None:
    assert (fit(SHAPE, size, 2).batch, fit(SHAPE, size, 2).steps) == (batch, steps)


# ---- after the workload

KEPT = sweep(*both(128 << 10, cell(128 << 10, "Tree", 0.95)))
CHANGED = sweep(*both(128 << 10, cell(128 << 10, "Ring", 1.12)), table=(row(128 << 10, 128 << 10),))
KEEP, CHANGE = (
    "Keep the defaults: no setting beats them clearly at any size (MPICH 5.0.2, 2 ranks).",
    "Change: 12.0 % faster (95 % interval 10.0 to 14.0 %) over all measured sizes, by one range of sizes "
    "(MPICH 5.0.2, 2 ranks).",
)
HOW = " (1.050 times, 95 %: 1.020 to 1.080)."


def e2e(verdict: E2eVerdict) -> E2eDocument:
    return E2eDocument(
        workload="proxy", metric="tok_s", baseline={}, candidate={}, trials=(), verdict=verdict,
        ratio=Interval(estimate=1.05, low=1.02, high=1.08), trials_per_arm=8,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("document", "verdict", "said", "choice", "codes"),
    [
        (CHANGED, "faster", f"{CHANGE} The workload confirms it: with the change it is faster{HOW}", "change", []),
        (CHANGED, "no-difference", f"{CHANGE} The workload runs as fast with the change as without{HOW}", "change", []),
        (
            CHANGED, "inconclusive",
            f"{CHANGE} The workload's trials cannot tell whether it gains from the change{HOW}", "change", [],
        ),
        (
            CHANGED, "slower",
            f"Keep the defaults: collectives alone get faster with the change, but the workload gets slower{HOW}",
            "keep-defaults", ["workload-slower"],
        ),
        (
            KEPT, "slower", f"{KEEP} The workload agrees: Tree, which came closest, makes it slower{HOW}",
            "keep-defaults", [],
        ),
        (KEPT, "no-difference", f"{KEEP} The workload agrees: it runs as fast with Tree{HOW}", "keep-defaults", []),
        (
            KEPT, "inconclusive", f"{KEEP} The workload's trials cannot tell Tree from the defaults{HOW}",
            "keep-defaults", [],
        ),
        (KEPT, "faster", f"{KEEP} Yet the workload was faster with Tree{HOW}", "keep-defaults", ["workload-faster"]),
    ],
)  # fmt: skip
def test_sweep_and_workload_give_one_answer(
    document: SweepDocument, verdict: str, said: str, choice: str, codes: list[str]
) -> None:
    answer = e2e(E2eVerdict(verdict))
    tried = of(document).label
    assert tune_verdict(document, None, answer, tried, "") == said
    assert stands(document, answer) == choice
    assert [finding.code for finding in doubts(document, answer, tried)] == codes


@pytest.mark.parametrize("verdict", list(E2eVerdict))
def test_a_change_with_which_results_differ_is_withdrawn_whatever_its_speed(verdict: E2eVerdict) -> None:
    answer = e2e(verdict).with_(findings=(error("result-differs", "proxy", "", ""),))
    assert stands(CHANGED, answer) is Verdict.KEEP_DEFAULTS
    said = tune_verdict(CHANGED, None, answer, "the choice", "")
    assert said.startswith("Keep the defaults: the workload's results differ between its trials")


def test_without_a_workload_the_sweep_stands_and_the_reason_is_said() -> None:
    assert tune_verdict(CHANGED, None, None, "", "a simulated fabric runs no workload.") == (
        f"{CHANGE} No workload was run: a simulated fabric runs no workload."
    )
    assert stands(CHANGED, None) is Verdict.CHANGE
    assert doubts(CHANGED, None, "") == ()
