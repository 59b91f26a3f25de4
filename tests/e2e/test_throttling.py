"""A slow arm whose machine slowed itself down is not called slower."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Sequence

import pytest

from ncclprobe.cli import main
from ncclprobe.e2e.compare import Judgement, verdict_of
from ncclprobe.e2e.doubts import doubts
from ncclprobe.e2e.plan import Standing, Stop, next_step
from ncclprobe.e2e.summary import summarised
from ncclprobe.e2e.throttling import excess, held, throttled_share, without
from ncclprobe.findings import Finding
from ncclprobe.records.base import Interval
from ncclprobe.records.e2e import ArmSettings, E2eDocument, E2eOptions, E2eVerdict, Trial, TrialStatus
from ncclprobe.records.telemetry import GpuTelemetry, HostTelemetry, Spread
from ncclprobe.report.text.validate_e2e import e2e_text

FAKE_NVML = pathlib.Path(__file__).parent / "fake_nvml"
OPTIONS = E2eOptions(
    workload="command", baseline=ArmSettings(), candidate=ArmSettings(env={"A": "1"}), trials=8, warmups=0,
    min_effect=0.02, budget_s=None, timeout_s=60.0, seed=1, telemetry_s=0.5,
)  # fmt: skip
WAVE = (0.0, 0.004, -0.003, 0.001, -0.004, 0.002, 0.003, -0.002)


def host(throttled: float | None, name: str = "dgx1") -> HostTelemetry:
    """Return a host with one GPU that was hot for some of the time, and at its power limit all the time."""
    spread = Spread(mean=690.0, min=600.0, max=700.0)
    gpu = GpuTelemetry(
        index=3, uuid=None, samples=10, busy=10, utilisation_percent=Spread(mean=97, min=90, max=100),
        memory_bytes=None, power_w=spread, sm_mhz=None, memory_mhz=None, temperature_c=None,
        reasons={"sw-power-cap": 1.0, "hw-thermal-slowdown": throttled or 0.0}, nvlink_tx_bytes=1500 * 10**9,
        nvlink_rx_bytes=None, pcie_tx_bytes=None, pcie_rx_bytes=None,
    )  # fmt: skip
    return HostTelemetry(host=name, samples=10, seconds=5.0, cost_s=0.05, throttled=throttled, gpus=(gpu,))


def trials(candidate: float, hot: float | None, *, cool: float | None = 0.0, pairs: int = 8) -> list[Trial]:
    """Return pairs of trials, the candidate's values ``candidate`` of the baseline's, in the plan's order."""
    found: list[Trial] = []
    counts = {"baseline": 0, "candidate": 0}
    values = {"baseline": 100.0, "candidate": 100.0 * candidate}
    for order in range(2 * pairs):
        slot = next_step(OPTIONS.with_(trials=100, min_effect=1e-9), "v", found)
        arm = getattr(slot, "arm", "baseline" if counts["baseline"] <= counts["candidate"] else "candidate")
        noise = WAVE[(counts[arm] + (3 if arm == "candidate" else 0)) % len(WAVE)]
        counts[arm] += 1
        share = hot if arm == "candidate" else cool
        found.append(
            Trial(arm=arm, order=order, status=TrialStatus.OK, metrics={"v": values[arm] * math.exp(noise)},
                  effective={}, started="", seconds=1.0, telemetry=(host(share), host(0.0, "dgx2")))
        )  # fmt: skip
    return found


def judged(found: Sequence[Trial]) -> tuple[E2eDocument, tuple[Finding, ...]]:
    document = summarised(OPTIONS, "v", found)
    return document, doubts(document, OPTIONS, Standing(step=Stop.TRIALS), 0)


@pytest.mark.parametrize(
    ("candidate", "hot", "cool", "verdict", "findings"),
    [
        pytest.param(0.9, 0.0, 0.0, "slower", [], id="slower, and cool"),
        pytest.param(0.9, 0.3, 0.0, "inconclusive", [("warning", "arm-throttled")], id="slower, but hot"),
        pytest.param(0.9, 0.3, 0.3, "slower", [], id="slower, and both as hot"),
        pytest.param(0.9, 0.005, 0.0, "slower", [], id="a single sample does not matter"),
        pytest.param(0.5, 0.1, 0.0, "slower", [("info", "arm-throttled")], id="slower by more than the heat can do"),
        pytest.param(1.1, 0.3, 0.0, "faster", [("info", "arm-throttled")], id="faster although hot"),
        pytest.param(1.1, 0.0, 0.3, "inconclusive", [("warning", "arm-throttled")], id="faster than a hot baseline"),
        pytest.param(1.0, 0.0, 0.0, "no-difference", [], id="no difference"),
        pytest.param(1.0, 0.3, 0.0, "inconclusive", [("warning", "arm-throttled")], id="no difference, but hot"),
        pytest.param(0.9, None, None, "slower", [], id="nothing is known"),
        pytest.param(0.9, 1.0, 0.0, "inconclusive", [("warning", "arm-throttled")], id="hot all the time"),
    ],
)
def test_what_a_slowdown_makes_of_an_answer(
    candidate: float, hot: float | None, cool: float | None, verdict: str, findings: list[tuple[str, str]]
) -> None:
    document, found = judged(trials(candidate, hot, cool=cool))
    assert document.verdict == verdict
    assert [(one.severity, one.code) for one in found] == findings
    assert document.ratio is not None
    assert document.ratio.estimate == pytest.approx(candidate, rel=0.01), "the values stay as they were measured"


def test_the_finding_says_what_where_and_how_much() -> None:
    _, (finding,) = judged(trials(0.9, 0.3))
    assert finding.subject == "candidate"
    assert finding.message == (
        "The candidate ran on a machine that was slowed down in 30.0% of the time it worked (hw-thermal-slowdown on "
        "dgx1 GPU 3, hw-thermal-slowdown on dgx2 GPU 3), the baseline in 0.0%. By its values alone the candidate is "
        "slower, but that may be the slowdown's doing."
    )


def test_an_arm_in_doubt_has_further_turns() -> None:
    cool, hot = trials(0.5, 0.0, pairs=6), trials(0.5, 0.9, pairs=6)
    assert next_step(OPTIONS, "v", cool) is Stop.CLEAR
    assert next_step(OPTIONS, "v", hot) not in list(Stop)
    assert next_step(OPTIONS, "v", trials(0.5, 0.9)) is Stop.TRIALS


def test_shares_are_of_the_worst_node() -> None:
    found = trials(1.0, 0.25)
    assert (throttled_share(found, "candidate"), throttled_share(found, "baseline")) == (0.25, 0.0)
    assert excess(found, "candidate") == 0.25
    assert throttled_share([], "candidate") is None


def test_the_interval_holds_what_may_be() -> None:
    ratio = Interval(estimate=0.9, low=0.88, high=0.92)
    assert without(ratio, 0.2) == Interval(estimate=0.9, low=0.88, high=0.92 / 0.8)
    assert without(ratio, -0.2) == Interval(estimate=0.9, low=0.88 * 0.8, high=0.92)
    assert without(ratio, 1.0).high == math.inf
    slower = Judgement(verdict=verdict_of(ratio, 0.02), ratio=ratio)
    assert held(slower, 0.05, 0.02) is slower
    assert held(slower, 0.09, 0.02) == slower.with_(verdict=E2eVerdict.INCONCLUSIVE)
    unknown = Judgement(verdict=E2eVerdict.INCONCLUSIVE, ratio=None)
    assert held(unknown, 0.5, 0.02) is unknown


def test_what_could_not_be_sampled_is_said_once() -> None:
    found = trials(0.9, 0.0)
    lost = [trial.with_(telemetry=()) for trial in found[:2]]
    torn = [trial.with_(telemetry=(host(0.0).with_(problems=("NVML failed: x",)),)) for trial in found[2:5]]
    _, findings = judged([*lost, *torn, *found[5:]])
    assert [(one.severity, one.code, one.subject) for one in findings] == [
        ("info", "telemetry-missing", "telemetry"),
        ("info", "telemetry-missing", "dgx1"),
    ]
    assert [one.message for one in findings] == [
        "Not everything could be sampled in 2 of 16 trials: the process that samples was lost or could not be started.",
        "Not everything could be sampled in 3 of 16 trials: NVML failed: x.",
    ]


def test_the_text_has_a_line_an_arm() -> None:
    text = e2e_text(summarised(OPTIONS, "v", trials(0.9, 0.3)))
    table = text[text.index("While it ran") :].splitlines()
    assert table[0] == "While it ran, means of the trials (320 samples, which took 1.00% of a CPU)"
    assert [line.split() for line in table[3:5]] == [
        ["baseline", "97", "%", "690", "W", "100", "%", "0.0", "%", "3000.0", "GB"],
        ["candidate", "97", "%", "690", "W", "100", "%", "30.0", "%", "3000.0", "GB"],
    ]


SCRIPT = """
if [ -n "$SLOW" ]; then touch "$FAKE_NVML_HOT"; sleep 0.3; rm "$FAKE_NVML_HOT"; echo v 8$((RANDOM % 10))
else sleep 0.3; echo v 10$((RANDOM % 10)); fi
"""


@pytest.mark.parametrize(("hot", "verdict"), [(True, "inconclusive"), (False, "slower")])
def test_a_whole_run_with_a_machine_that_gets_hot(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hot: bool, verdict: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FAKE_NVML), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("FAKE_NVML_HOT", str(tmp_path / "hot"))
    script = SCRIPT if hot else SCRIPT.replace('touch "$FAKE_NVML_HOT"', "true").replace('rm "$FAKE_NVML_HOT"', "true")
    words = ["validate-e2e", "--workload", "command", "--metric", "v ([0-9]+)", "--candidate", "SLOW=1", "--json"]
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*words, "--trials", "6", "--warmup", "0", "--telemetry", "0.05", "--out", str(tmp_path / "run"),
              "--", "bash", "-c", script])  # fmt: skip
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == verdict
    codes = [finding["code"] for finding in document["findings"]]
    assert codes == (["arm-throttled"] if hot else [])
    assert {len(trial["telemetry"][0]["gpus"]) for trial in document["trials"]} == {2}
