"""A sweep's prediction beside the measured ratio: made-up figures, a real SGLang's trials, and as users see it."""

import json
import os
import pathlib
import tarfile

import msgspec
import pytest
from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.cli.e2e_arms import expectation_of
from ncclprobe.cli.e2e_run import surroundings
from ncclprobe.e2e.foretold import foretold, represented
from ncclprobe.findings import warning
from ncclprobe.records.base import Interval
from ncclprobe.records.e2e import ArmSettings, Comparison, E2eDocument, E2eOptions, E2eVerdict, Trial, TrialStatus
from ncclprobe.records.foretold import Agreement, Basis, Expectation, Sent
from ncclprobe.records.prediction import LeftOut, PredictedSize, Prediction, Weight, Workload
from ncclprobe.records.profile import Basis as Counted
from ncclprobe.records.profile import Message
from ncclprobe.report.html.e2e import e2e_body
from ncclprobe.report.text.beside import beside_text

ROOT = pathlib.Path(__file__).parents[2]
RUNS = ROOT / "data" / "h200_sglang_202611"
FABRIC = ROOT / "data" / "fabric_nvlink_model" / "fabric.toml"


def interval(estimate, low, high):
    return Interval(estimate=estimate, low=low, high=high)


def message(size, count, collective="all_reduce", basis=Counted.MEASURED):
    return Message(collective=collective, size_bytes=size, count=count, seen=count, basis=basis)


def weight(size, operations, low=None, high=None):
    return Weight(
        size_bytes=size, operations=operations, equivalent=float(operations), sizes=1, low_bytes=low or size,
        high_bytes=high or size,
    )  # fmt: skip


WORKLOAD = Workload(
    source="p", collective="all_reduce", weights=(weight(1000, 100, 900, 1100), weight(8000, 10)), steps=20
)
SAVED = interval(0.5e6, 0.4e6, 0.6e6)
PREDICTION = Prediction(
    workload=WORKLOAD,
    sizes=(
        PredictedSize(size_bytes=1000, operations=100, time_us=1e6, saved_us=SAVED),
        PredictedSize(size_bytes=8000, operations=10, time_us=1e6, saved_us=interval(0.0, 0.0, 0.0)),
    ),
    time_us=2e6,
    saved_us=SAVED,
    saved_share=interval(0.25, 0.2, 0.3),
    saved_per_step_us=interval(25e3, 20e3, 30e3),
)
EXPECTED = Expectation(run="sweep", backend="nccl", nranks=2, nnodes=1, prediction=PREDICTION)
SENT = Sent(messages=(message(1000, 200), message(8000, 10), message(500, 4, "all_gather")), steps=40, seconds=10.0)


def case(ratio, *, sent=SENT, expected=EXPECTED, metric="total_throughput", findings=(), finished=True, effective=None):
    trials = tuple(
        Trial(
            arm=arm, order=order, status=TrialStatus.OK, metrics={metric: 1.0}, effective=effective or {}, started="",
            seconds=60.0, sent=sent,
        )
        for order, arm in enumerate(["baseline", "candidate"])
    )  # fmt: skip
    compared = Comparison(arm="candidate", verdict=E2eVerdict.INCONCLUSIVE, ratio=ratio, trials=1)
    document = E2eDocument(
        workload="sglang", metric=metric, baseline={}, candidate={}, trials=trials, verdict=compared.verdict,
        ratio=ratio, trials_per_arm=1, comparisons=(compared,), findings=findings, finished=finished,
    )  # fmt: skip
    options = E2eOptions(
        workload="sglang", baseline=ArmSettings(), candidate=ArmSettings(), trials=4, warmups=0, min_effect=0.02,
        budget_s=None, timeout_s=60.0, seed=1, expected=expected,
    )  # fmt: skip
    found, said = foretold(document, options)
    return found.prediction, [one.code for one in said]


def reasons(found):
    return [one.code for one in found.reasons]


MEASURED = interval(1.10, 1.02, 1.20)


def test_savings_are_scaled_by_the_operations_of_a_trial_and_taken_off_its_own_time():
    found, codes = case(MEASURED)
    assert (found.operations, found.default_s, found.trial_s, found.steps) == (210, 3.0, 10.0, 40)
    assert msgspec.structs.astuple(found.saved_s) == pytest.approx((1.0, 0.8, 1.2))
    assert (found.basis, found.part) == (Basis.BOUND, 0.3)
    assert found.ratio is not None
    assert found.ratio.estimate == pytest.approx(10 / 9)
    assert (found.ratio.low, found.ratio.high) == (pytest.approx(10 / 9.2), pytest.approx(10 / 8.8))
    assert found.saved_per_step_us is not None
    assert found.saved_per_step_us.estimate == pytest.approx(25e3)
    assert found.measured_per_step_us is not None
    assert found.measured_per_step_us.estimate == pytest.approx(0.25e6 * (1 - 1 / 1.10))
    assert (found.agreement, reasons(found), codes) == (Agreement.WITHIN, ["share-is-a-bound"], [])


@pytest.mark.parametrize(
    ("measured", "agreement", "codes"),
    [
        (interval(1.05, 1.02, 1.10), Agreement.OVERLAPPING, ["prediction-missed"]),
        (interval(1.02, 1.00, 1.05), Agreement.ABOVE, ["prediction-missed"]),
        (interval(1.30, 1.20, 1.40), Agreement.BELOW, ["prediction-missed"]),
        (None, Agreement.UNKNOWN, ["prediction-unchecked"]),
    ],
)
def test_where_the_prediction_lies_is_said(measured, agreement, codes):
    found, said = case(measured)
    assert (found.agreement, said) == (agreement, codes)


def test_operations_of_several_runs_against_one_server_are_shared_among_them():
    found, _ = case(MEASURED, sent=SENT.with_(runs=2))
    assert (found.operations, found.default_s, found.steps) == (105, 1.5, 20)


def test_an_nsys_share_goes_before_the_bound_and_the_trials_own_before_both():
    left = (LeftOut(what="all_gather", operations=4, share=0.1),)
    profiled = EXPECTED.with_(prediction=PREDICTION.with_(workload=WORKLOAD.with_(comm_share=0.5, left_out=left)))
    found, _ = case(MEASURED, expected=profiled)
    assert (found.basis, found.part) == (Basis.PROFILE_SHARE, 0.45)
    assert found.ratio is not None
    assert found.ratio.estimate == pytest.approx(1 / (1 - 0.45 / 3))
    assert reasons(found) == ["profile-partly", "share-holds-waiting"]
    found, _ = case(MEASURED, expected=profiled, sent=SENT.with_(comm_share=0.4))
    assert (found.basis, found.part) == (Basis.TRIAL_SHARE, pytest.approx(0.4 * 210 / 214))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sent": None}, ["share-unknown"]),
        ({"sent": SENT.with_(seconds=None)}, ["share-unknown"]),
        ({"metric": "median_ttft_ms"}, ["metric-of-a-part"]),
        ({"finished": False}, ["unfinished", "share-is-a-bound"]),
        ({"expected": EXPECTED.with_(backend="sim")}, ["simulated", "share-is-a-bound"]),
        ({"expected": EXPECTED.with_(beside=("A", "B"))}, ["other-settings", "share-is-a-bound"]),
        ({"effective": {"in_force": {"nranks": 4, "nnodes": 1}}}, ["other-ranks", "share-is-a-bound"]),
        ({"effective": {"in_force": {"nranks": 2, "nnodes": None}}}, ["share-is-a-bound"]),
        ({"findings": (warning("tuner-refused", "candidate", "", ""),)}, ["not-in-force", "share-is-a-bound"]),
        (
            {"sent": SENT.with_(messages=(*SENT.messages, message(70, 90)))},
            ["other-sizes", "share-is-a-bound"],
        ),
    ],
)
def test_what_is_unlike_is_named(changes, why):
    assert reasons(case(MEASURED, **changes)[0]) == why


def test_an_interval_that_holds_no_gain_too_confirms_nothing():
    found, codes = case(interval(1.05, 0.9, 1.2))
    assert (found.agreement, codes, reasons(found)) == (Agreement.WITHIN, [], ["share-is-a-bound", "interval-wide"])


def test_no_message_counts_twice_and_none_is_stretched_beyond_its_range():
    wide = WORKLOAD.with_(weights=(weight(1000, 100, 900, 4000), weight(8000, 10, 2000, 8000)))
    sent = [message(1500, 1), message(2500, 2), message(3000, 4), message(100, 8), message(5000, 16, "broadcast")]
    found = represented(PREDICTION.with_(workload=wide), sent)
    assert found == {1000: 3, 8000: 4, None: 8}


def test_without_a_profile_nothing_is_foretold():
    assert case(MEASURED, expected=None) == (None, [])


# ---- a real SGLang's trials


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return a folder with a real SGLang's first trials: NCCL's logs, the plugin's records, SGLang's output."""
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(RUNS / "bad" / "trials.tgz") as archive:
        wanted = [one for one in archive.getmembers() if one.name.startswith(("trials/0000", "trials/0001"))]
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 has none
        archive.extractall(folder, members=wanted)
    return folder / "trials"


def command(*words):
    ended = CliRunner().invoke(group, list(map(str, words)), standalone_mode=False)
    assert ended.exception is None, ended.exception
    return ended.output


def test_a_real_trials_prediction_stands_beside_what_it_measured(recorded, tmp_path):
    command("profile", recorded / "0000-baseline", recorded / "0000-baseline.txt", "--out", tmp_path / "profile")
    axes = ("--algo", "Ring", "--proto", "LL128,Simple", "--channels", "24", "--seed", 1, "--budget", 10)
    here = ("--backend", "sim", "--fabric", FABRIC, "--out", tmp_path / "sweep")
    command("sweep", *here, "--profile", tmp_path / "profile", *axes)
    document = msgspec.json.decode((RUNS / "bad" / "document.json").read_bytes(), type=E2eDocument)
    manifest = json.loads((RUNS / "bad" / "manifest.json").read_text())
    options = msgspec.convert(manifest["options"], E2eOptions)
    read = surroundings(tmp_path).read_profile
    trials = [
        one.with_(sent=Sent(messages=told.messages, steps=told.steps, seconds=one.metrics["total_latency"]))
        for one in document.trials[:2]
        if (told := read((recorded / f"{one.order:04d}-{one.arm}", recorded / f"{one.order:04d}-{one.arm}.txt")))
    ]
    assert options.candidate is not None
    expected = expectation_of([str(tmp_path / "sweep")], (options.baseline, options.candidate))
    assert expected is not None
    assert expected.beside == ("NCCL_MAX_NCHANNELS", "NCCL_MIN_NCHANNELS")
    found = foretold(document.with_(trials=tuple(trials)), options.with_(expected=expected))[0]
    one = found.prediction
    assert one is not None
    assert (one.operations, one.steps, one.trial_s, one.inferred) == (28296, 3080, trials[0].sent.seconds, True)
    assert one.default_s == pytest.approx(expected.prediction.time_us / 1e6)  # the very run that was profiled
    assert (one.basis, one.agreement) == (Basis.BOUND, Agreement.ABOVE)
    assert reasons(one) == ["simulated", "other-settings", "profile-partly", "share-is-a-bound"]
    text = beside_text(one)
    assert "28296 of these operations (inferred from graph replays)" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100
    page = str(e2e_body(found, "e").content)
    assert "What the sweep predicted, beside what was measured" in page
    assert "0.744 (0.652 to 0.850)" in page


# ---- as a user calls it, with the stand-in for SGLang


def test_validate_e2e_counts_its_trials_operations_for_the_prediction(tmp_path, monkeypatch):
    path = os.pathsep.join(map(str, [ROOT / "tests" / "e2e" / "fake_sglang", ROOT / "tests" / "tuner", ROOT]))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("FAKE_SECONDS", "0.1")
    sizes = [message(size * 4096, 8) for size in (1, 32, 8192)]
    profile = {"schema": "ncclprobe.profile/1", "messages": msgspec.to_builtins(sizes), "steps": 4}
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    here = ("--backend", "sim", "--fabric", FABRIC, "--out", tmp_path / "sweep", "--seed", 1)
    command("sweep", *here, "--profile", tmp_path / "profile.json", "--algo", "Ring", "--proto", "LL128,Simple")
    through = ("--disable-custom-all-reduce", "--enforce-disable-flashinfer-allreduce-fusion")
    asked = (
        "--tp",
        2,
        "--baseline",
        "OTHER=1",
        "--candidate",
        tmp_path / "sweep",
        "--trials",
        2,
        "--warmup",
        0,
        "--telemetry",
        0,
    )
    run = tmp_path / "run"
    text = command("validate-e2e", "--workload", "sglang", "--out", run, *asked, "--", *through)
    document = msgspec.json.decode((run / "document.json").read_bytes(), type=E2eDocument)
    one = document.prediction
    assert one is not None
    # the fabric has no 4K
    assert (one.run, one.operations, one.trial_s, one.inferred) == (str(tmp_path / "sweep"), 16, 1.0, False)
    assert one.basis is Basis.BOUND
    assert {"simulated", "not-in-force", "other-sizes"} <= set(reasons(one))
    assert "saved a run" in text
    assert " ".join(text.split()).count("predicts that") == 1
