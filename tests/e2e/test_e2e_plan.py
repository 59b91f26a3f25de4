import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.e2e.compare import judged
from ncclprobe.e2e.doubts import doubts, trials_needed
from ncclprobe.e2e.plan import GIVE_UP_AFTER, Slot, Stop, next_step, schedule, standing
from ncclprobe.e2e.summary import summarised
from ncclprobe.records.e2e import Arm, ArmSettings, E2eOptions, E2eVerdict, Layout, Trial, TrialStatus
from ncclprobe.report.text.next_step import next_step as said_next
from ncclprobe.report.text.verdict import verdict

METRIC = "tok_s"


def options(**changes):
    base = E2eOptions(
        workload="proxy",
        baseline=ArmSettings(),
        candidate=ArmSettings(env={"A": "1"}),
        trials=10,
        warmups=1,
        min_effect=0.02,
        budget_s=None,
        timeout_s=60.0,
        seed=5,
    )
    return base.with_(**changes)


def trial(slot, value, order, *, failed=False, seconds=1.0):
    status = TrialStatus.FAILED if failed else TrialStatus.WARM_UP if slot.warm_up else TrialStatus.OK
    return Trial(
        arm=slot.arm,
        order=order,
        status=status,
        metrics={} if failed else {METRIC: value},
        effective={},
        started="",
        seconds=seconds,
        message="exit status 1" if failed else "",
    )


def carried_out(asked, value_of, *, fails=lambda order: False, seconds=1.0):
    trials = []
    while not isinstance(step := next_step(asked, METRIC, trials), Stop):
        order = len(trials)
        trials.append(trial(step, value_of(step.arm, order), order, failed=fails(order), seconds=seconds))
    return trials, step


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), trials=st.integers(1, 30), warmups=st.integers(0, 3))
def test_the_order_is_balanced(seed, trials, warmups):
    order = schedule(seed, trials, warmups)
    timed = [slot.arm for slot in order if not slot.warm_up]
    assert timed.count(Arm.BASELINE) == timed.count(Arm.CANDIDATE) == trials
    assert all(timed[i] != timed[i + 1] for i in range(0, len(timed), 2))
    assert sum(slot.warm_up for slot in order) == 2 * warmups == sum(slot.warm_up for slot in order[: 2 * warmups])


@pytest.mark.parametrize("seed", range(5))
def test_linear_drift_cancels_in_each_block(seed):
    timed = [slot.arm for slot in schedule(seed, 8, 0)]
    for block in (timed[i : i + 4] for i in range(0, 16, 4)):
        places = {arm: sum(place for place, at in enumerate(block) if at == arm) for arm in Arm}
        assert places[Arm.BASELINE] == places[Arm.CANDIDATE]


def test_the_order_is_random_and_follows_from_the_seed():
    orders = {schedule(seed, 10, 0) for seed in range(30)}
    assert len(orders) > 10
    assert schedule(3, 10, 0) == schedule(3, 10, 0)
    assert {order[0].arm for order in orders} == set(Arm)


def test_a_clear_answer_stops_early():
    trials, stop = carried_out(options(), lambda arm, order: 100 + order % 3 + 50 * (arm == Arm.CANDIDATE))
    assert stop is Stop.CLEAR
    assert summarised(options(), METRIC, trials).verdict is E2eVerdict.FASTER
    assert len(trials) == 2 + 2 * 4


def noisy(arm, order):
    return random.Random(order).uniform(50, 150)


def test_an_unclear_answer_ends_with_the_number_of_trials():
    trials, stop = carried_out(options(), noisy)
    document = summarised(options(), METRIC, trials)
    assert (stop, document.verdict, document.trials_per_arm) == (Stop.TRIALS, E2eVerdict.INCONCLUSIVE, 10)
    assert [finding.code for finding in doubts(document, options(), standing(options(), METRIC, trials), 0)] == [
        "inconclusive"
    ]
    assert trials_needed(document.comparisons[0], 0.02) > 10


def test_the_budget_ends_it_with_whole_pairs():
    asked = options(budget_s=11.5, warmups=0)
    trials, stop = carried_out(asked, noisy)
    assert stop is Stop.BUDGET
    assert len(trials) == 10
    document = summarised(asked, METRIC, trials)
    assert document.trials_per_arm == 5
    assert "the budget ended" in doubts(document, asked, standing(asked, METRIC, trials), 0)[0].message


def test_a_failed_trial_is_replaced_by_one_of_the_same_arm():
    trials, _ = carried_out(options(), noisy, fails=lambda order: order in (0, 5, 9))
    for number in (0, 5, 9):
        assert trials[number].status is TrialStatus.FAILED
        assert trials[number + 1].arm == trials[number].arm
    kept = [Slot(arm=each.arm, warm_up=each.status is TrialStatus.WARM_UP) for each in trials if not each.message]
    assert kept == list(schedule(5, 10, 1))


def test_an_arm_that_always_fails_is_given_up():
    asked = options(warmups=0)
    trials, stop = carried_out(asked, noisy, fails=lambda order: order >= 2)
    document = summarised(asked, METRIC, trials)
    assert (stop, len(trials), document.verdict) == (Stop.FAILURES, 2 + GIVE_UP_AFTER, E2eVerdict.INCONCLUSIVE)
    (finding,) = doubts(document, asked, standing(asked, METRIC, trials), 0)
    assert (finding.code, finding.severity, finding.subject) == ("arm-failed", "error", trials[-1].arm)
    assert (
        verdict(document.with_(findings=(finding,)))
        == f"{document.workload}: No answer: baseline failed too often to be compared."
    )


def test_a_comparison_that_failures_ended_goes_on_afresh():
    asked = options(warmups=0)
    trials, stop = carried_out(asked, noisy, fails=lambda order: order >= 2)
    assert stop is Stop.FAILURES
    stand = standing(asked, METRIC, trials, afresh=True)
    assert (stand.step, stand.given_up) == (Slot(arm=trials[-1].arm, warm_up=False), ())
    for fails, ends in ((0, False), (GIVE_UP_AFTER - 1, False), (GIVE_UP_AFTER, True)):
        more = [trial(stand.step, 100.0, len(trials) + number, failed=True) for number in range(fails)]
        more = more or [trial(stand.step, 100.0, len(trials))]
        again = standing(asked, METRIC, [*trials, more[0].with_(afresh=True), *more[1:]])
        assert (again.step is Stop.FAILURES, bool(again.given_up)) == (ends, ends)


def test_identical_arms_and_small_effects_are_said():
    asked = options(candidate=ArmSettings(), warmups=0)
    trials, _ = carried_out(asked, lambda arm, order: 100 + 0.7 * (arm == Arm.CANDIDATE))
    document = summarised(asked, METRIC, trials)
    assert document.verdict is E2eVerdict.FASTER
    codes = [finding.code for finding in doubts(document, asked, standing(asked, METRIC, trials), 17)]
    assert codes == ["identical-arms", "effect-below-minimum", "torn-line"]


def summed(trials, sum_of):
    return [each.with_(metrics={**each.metrics, "checksum": sum_of(each)}) for each in trials]


@pytest.mark.parametrize(
    ("sum_of", "verdict"),
    [
        (lambda each: 1.0, E2eVerdict.FASTER),
        (lambda each: 1.0 + 1e-5 * each.order, E2eVerdict.FASTER),
        (lambda each: 1.0 + 0.01 * (each.arm == Arm.CANDIDATE), E2eVerdict.INCONCLUSIVE),
        (lambda each: 1.0 + 0.01 * (each.order == 3), E2eVerdict.INCONCLUSIVE),
        (lambda each: float("nan") if each.arm == Arm.CANDIDATE else 1.0, E2eVerdict.INCONCLUSIVE),
        (lambda each: float("nan"), E2eVerdict.INCONCLUSIVE),
    ],
)
def test_an_arm_whose_results_differ_is_never_faster(sum_of, verdict):
    asked, draw = options(warmups=0), random.Random(2)
    trials, _ = carried_out(asked, lambda arm, order: draw.gauss(150 if arm == Arm.CANDIDATE else 100, 1))
    document = summarised(asked, METRIC, summed(trials, sum_of))
    assert document.verdict is verdict
    assert document.ratio is not None
    assert document.ratio.low > 1
    codes = [finding.code for finding in doubts(document, asked, standing(asked, METRIC, trials), 0)]
    assert codes == ([] if verdict is E2eVerdict.FASTER else ["result-differs"])


def test_another_arms_wrong_results_take_no_verdict_from_this_one():
    asked = options(variants=VARIANTS, warmups=0)
    factor = {"baseline": 1.0, "candidate": 1.5, "tp=8": 1.5, "tp=4,pp=2": 1.5}
    draw = random.Random(4)
    trials, _ = carried_out(asked, lambda arm, order: factor[arm] * draw.gauss(100, 1))
    document = summarised(asked, METRIC, summed(trials, lambda each: 2.0 if each.arm == "tp=8" else 1.0))
    assert {one.arm: one.verdict.value for one in document.comparisons} == {
        "candidate": "faster",
        "tp=8": "inconclusive",
        "tp=4,pp=2": "faster",
    }
    (finding,) = doubts(document, asked, standing(asked, METRIC, trials), 0)
    assert "there is no verdict on tp=8" in finding.message


VARIANTS = {"tp=8": ArmSettings(layout=Layout(tp=8)), "tp=4,pp=2": ArmSettings(layout=Layout(tp=4, pp=2))}


def test_every_arm_has_its_turn_in_each_round_and_drift_cancels_between_any_two():
    names = ["baseline", "candidate", *VARIANTS]
    order = [slot.arm for slot in schedule(2, 6, 0, names)]
    for block in (order[place : place + 8] for place in range(0, 24, 8)):
        assert block[4:] == list(reversed(block[:4]))
        assert {sum(at for at, arm in enumerate(block) if arm == name) for name in names} == {7}


def test_a_settled_variant_leaves_and_the_others_go_on():
    asked = options(candidate=None, variants=VARIANTS, warmups=0)
    draw = random.Random(3)
    factor = {"baseline": 1.0, "tp=8": 1.5, "tp=4,pp=2": 1.0}
    trials, stop = carried_out(asked, lambda arm, order: factor[arm] * draw.gauss(100, 5))
    document = summarised(asked, METRIC, trials)
    faster, open_one = document.comparisons
    assert stop is Stop.TRIALS
    assert (faster.arm, faster.verdict, faster.trials) == ("tp=8", E2eVerdict.FASTER, 4)
    assert (open_one.arm, open_one.verdict, open_one.trials) == ("tp=4,pp=2", E2eVerdict.INCONCLUSIVE, 10)
    assert (document.verdict, document.ratio, document.trials_per_arm) == (faster.verdict, faster.ratio, 4)
    findings = doubts(document, asked, standing(asked, METRIC, trials), 0)
    assert [(finding.code, finding.subject) for finding in findings] == [("inconclusive", "tp=4,pp=2")]


def test_a_variant_that_fails_is_left_out_and_the_others_go_on():
    asked = options(variants=VARIANTS, warmups=1)
    trials = []
    while isinstance(step := next_step(asked, METRIC, trials), Slot):
        value = 100 + len(trials) % 3 + 30 * (step.arm == "candidate") - 30 * (step.arm == "tp=8")
        trials.append(trial(step, value, len(trials), failed=step.arm == "tp=4,pp=2"))
    stand = standing(asked, METRIC, trials)
    assert (stand.step, stand.given_up) == (Stop.FAILURES, ("tp=4,pp=2",))
    document = summarised(asked, METRIC, trials)
    assert [(one.arm, one.verdict, one.trials) for one in document.comparisons] == [
        ("candidate", E2eVerdict.FASTER, 4),
        ("tp=8", E2eVerdict.SLOWER, 4),
        ("tp=4,pp=2", E2eVerdict.INCONCLUSIVE, 0),
    ]
    (finding,) = doubts(document, asked, stand, 0)
    assert (finding.code, finding.subject) == ("arm-failed", "tp=4,pp=2")
    assert "it was left out" in finding.message


def test_nothing_is_compared_without_the_baseline():
    asked = options(variants=VARIANTS, warmups=0)
    trials = []
    while isinstance(step := next_step(asked, METRIC, trials), Slot):
        trials.append(trial(step, 100.0, len(trials), failed=step.arm == "baseline"))
    assert standing(asked, METRIC, trials).given_up == ("baseline",)
    assert sum(one.arm == "baseline" for one in trials) == GIVE_UP_AFTER
    assert len(trials) <= GIVE_UP_AFTER + 3


def test_intervals_of_several_arms_hold_together():
    ratios = [0.01, 0.03, 0.02, 0.05, 0.04, 0.02]
    alone = judged(ratios, 10, 0.02, final=True).ratio
    among = judged(ratios, 10, 0.02, final=True, comparisons=3).ratio
    assert among.low < alone.low
    assert alone.high < among.high


def test_more_trials_are_not_advised_for_arms_that_are_the_same():
    asked = options(candidate=ArmSettings(), trials=4, warmups=0)
    trials, _ = carried_out(asked, lambda arm, order: 100 + order % 3)
    document = summarised(asked, METRIC, trials)
    document = document.with_(findings=tuple(doubts(document, asked, standing(asked, METRIC, trials), 0)))
    assert document.verdict is E2eVerdict.INCONCLUSIVE
    assert [finding.code for finding in document.findings] == ["identical-arms"]
    assert said_next(document) == "Next: name other settings with --candidate: both arms ran with the same."
