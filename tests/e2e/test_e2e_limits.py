"""What ends a trial or a comparison: the limits of time and number."""

import sys

from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.e2e.plan import Slot, Stop, next_step, spent
from ncclprobe.e2e.run import trial_of
from ncclprobe.e2e.workload import Outcome
from ncclprobe.records.e2e import ArmSettings, E2eOptions

METRIC = "tok_s"
OPTIONS = E2eOptions(
    workload="command",
    baseline=ArmSettings(),
    candidate=ArmSettings(env={"A": "1"}),
    trials=10,
    warmups=2,
    min_effect=0.02,
    budget_s=60,
    timeout_s=3600,
    seed=1,
)


def trial(slot, order, seconds, message=""):
    metrics = {} if message else {METRIC: 100.0 + order % 3}
    return trial_of(slot, order, Outcome(metrics=metrics, effective={}, message=message), "", seconds)


def command(*options, code="print('v=1')"):
    words = ["validate-e2e", "--workload", "command", "--metric", "v=(.*)", "--candidate", "A=1", "--json"]
    here = [*map(str, options), "--telemetry", "0", "--", sys.executable, "-c", code]
    return CliRunner().invoke(group, [*words, *here], standalone_mode=False)


def test_a_warm_up_that_failed_counts_no_more_than_one_that_did_not():
    trials = []
    while isinstance(step := next_step(OPTIONS, METRIC, trials), Slot) and len(trials) < 7:
        failed = len(trials) in (0, 3)
        trials.append(trial(step, len(trials), 1200.0 if step.warm_up else 1.0, "exit status 1" if failed else ""))
    assert [one.is_warm_up for one in trials] == [True] * 6 + [False]
    assert spent(trials) == 1.0
    assert step is not Stop.BUDGET
