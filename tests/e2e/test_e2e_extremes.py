"""Numbers that no workload should print, and what becomes of the runs that hold them."""

import json
import sys

import jsonschema
import pytest
from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.cli.schema import document_schema
from ncclprobe.e2e.command import metric_pattern, metric_values
from ncclprobe.e2e.doubts import trials_needed
from ncclprobe.records.base import Interval
from ncclprobe.records.e2e import Comparison

METRIC = r"(?s)v=(\S+).*c=(?P<checksum>\S+)"
PLAN = ("--trials", "6", "--warmup", "0", "--seed", "1", "--telemetry", "0")


def ncclprobe(*words):
    return CliRunner().invoke(group, [*map(str, words)], standalone_mode=False)


def compared(out, code, *options, metric=METRIC):
    words = ["validate-e2e", "--workload", "command", "--metric", metric, "--candidate", "A=1", *PLAN, "--out", out]
    return ncclprobe(*words, *options, "--", sys.executable, "-c", f"import os; a = 'A' in os.environ; {code}")


def read(result):
    assert result.exception is None, result.exception
    document = json.loads(result.stdout)
    jsonschema.validate(document, document_schema("validate-e2e"))
    return document


@pytest.mark.parametrize("wild", ["nan", "-inf", "1e999", "-1e101"])
def test_a_checksum_that_no_json_holds_leaves_the_run_readable_and_is_told(tmp_path, wild):
    out = tmp_path / "run"
    document = read(compared(out, f"print('v=1 c=' + ('{wild}' if a else '5'))", "--json"))
    (finding,) = [one for one in document["findings"] if one["code"] == "result-differs"]
    wrong = [trial for trial in document["trials"] if trial["wild_checksum"]]
    said = f"ranges from 5 to 5 and is no finite number in {len(wrong)} of {len(document['trials'])} trials"
    assert said in finding["message"]
    assert {trial["arm"] for trial in wrong} == {"candidate"}
    assert all("checksum" not in trial["metrics"] for trial in wrong)
    assert document["verdict"] == "inconclusive"
    resumed = ncclprobe("validate-e2e", "--resume", out, "--json")
    assert resumed.return_value == 3
    assert read(resumed)["trials"] == document["trials"]
    assert "result-differs" in ncclprobe("report", out).stdout
    (out / "document.json").unlink()
    assert "result-differs" in ncclprobe("report", out).stdout


def test_one_wild_checksum_among_good_ones_is_enough(tmp_path):
    code = f"n = len(os.listdir({str(tmp_path / 'run' / 'trials')!r})); print('v=%g' % (9 if a else 1), "
    code += "'c=nan' if a and n > 8 else 'c=5')"
    document = read(compared(tmp_path / "run", code, "--json"))
    assert 0 < sum(trial["wild_checksum"] for trial in document["trials"]) < document["trials_per_arm"]
    assert document["verdict"] == "inconclusive"


@pytest.mark.parametrize("text", ["1e101", "1e-101"])
def test_a_metric_beyond_what_is_measured_fails_the_trial(text):
    with pytest.raises(ValueError, match="beyond what is measured, 1e-100 to 1e\\+100"):
        metric_values(metric_pattern(r"v=(\S+)"), f"v={text}")


@pytest.mark.parametrize(
    "code",
    [
        "print('v=' + ('1e99' if a else '1e-99'))",
        "print('v=' + ('1e-99' if a else '1e99'))",
        "import random; print('v=' + random.choice(['1', '1e30', '1e-30']))",
        "import random; print('v=' + random.choice(['1e-100', '1e100']))",
    ],
)
@pytest.mark.parametrize("trials", ["2", "6"])
def test_extreme_metrics_end_in_a_document_that_is_read_again(tmp_path, code, trials):
    out = tmp_path / "run"
    options = ("--trials", trials, "--min-effect", "1e-300", "--json")
    document = read(compared(out, code, *options, metric=r"v=(\S+)"))
    assert 1e-51 < document["ratio"]["low"] <= document["ratio"]["estimate"] <= document["ratio"]["high"] < 1e51
    for way in (("report", out), ("report", out, "--html", tmp_path / "r.html"), ("validate-e2e", "--resume", out)):
        assert ncclprobe(*way).exception is None
    (out / "document.json").unlink()
    assert ncclprobe("report", out).exception is None


@pytest.mark.parametrize(
    ("low", "high", "min_effect", "enough"), [(0.5, 2.0, 0.02, True), (1e-50, 1e50, 5e-324, False)]
)
def test_no_number_of_trials_is_named_where_none_is_enough(low, high, min_effect, enough):
    one = Comparison(
        arm="candidate", verdict="inconclusive", ratio=Interval(estimate=1.0, low=low, high=high), trials=9
    )
    assert (trials_needed(one, min_effect) is not None) == enough
