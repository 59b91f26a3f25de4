"""What ends a trial or a comparison: the limits of time and number."""

import json
import sys
import time

import click
import pytest
from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.e2e.plan import Slot, Stop, next_step, spent
from ncclprobe.e2e.run import limit_of, trial_of
from ncclprobe.e2e.workload import Limit, Outcome
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--timeout", 0.3, "--budget", 60), "ended after 0.3 s, the --timeout of a trial"),
        (("--timeout", 60, "--budget", 0.4), "ended after 0.4 s, all that was left of --budget"),
    ],
)
def test_the_limit_that_ended_a_trial_is_named(tmp_path, options, said):
    run = ("--warmup", 0, "--trials", 2, "--out", tmp_path / "run")
    found = json.loads(command(*run, *options, code="import time; time.sleep(60)").stdout)
    assert found["trials"][0]["message"] == said


@pytest.mark.mpi
def test_the_limit_that_ended_the_proxy_is_named(tmp_path):
    words = ["validate-e2e", "--candidate", "A=1", "--nranks", "1", "--budget", "0.01", "--warmup", "0", "--json"]
    ended = CliRunner().invoke(group, [*words, "--out", str(tmp_path / "run")], standalone_mode=False)
    said = json.loads(ended.stdout)["trials"][0]["message"]
    assert said.startswith("ended after 0.01 s, all that was left of --budget: 1 rank started by local")


@pytest.mark.parametrize(("warm_up", "limit"), [(True, Limit(3600.0)), (False, Limit(60.0, is_budget=True))])
def test_a_warm_up_is_no_matter_of_the_budget(warm_up, limit):
    assert limit_of(Slot(arm="baseline", warm_up=warm_up), [], OPTIONS) == limit


def test_trials_that_are_far_away_cost_no_planning():
    asked, trials, began = OPTIONS.with_(trials=10**9, warmups=10**9), [], time.process_time()
    for order in range(20):
        trials.append(trial(next_step(asked, METRIC, trials), order, 0.1))
    assert time.process_time() - began < 1


@pytest.mark.parametrize("option", ["--trials", "--warmup"])
def test_more_trials_than_tell_anything_are_refused(tmp_path, option):
    refused = command(option, 100_001, "--out", tmp_path / "run")
    assert isinstance(refused.exception, click.BadParameter)
    assert refused.exception.exit_code == 2
