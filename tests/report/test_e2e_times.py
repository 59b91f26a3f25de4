"""How much of SGLang's trials on two H200s was the benchmark (data/h200_sglang_202611/bad)."""

import pathlib

import pytest

from ncclprobe.records.e2e import E2eDocument
from ncclprobe.report.html.e2e import e2e_body
from ncclprobe.report.text.e2e_times import itself_s, spread_text, times_rows, times_text
from ncclprobe.store import read_document

BAD = pathlib.Path(__file__).parents[2] / "data" / "h200_sglang_202611" / "bad"


@pytest.fixture(scope="module")
def bad():
    return read_document(BAD, [E2eDocument])


def test_the_benchmarks_own_time_stands_beside_the_trials(bad):
    assert times_rows(bad) == [["baseline", "51.1 s", "10.3 s", "20%"], ["candidate", "56.6 s", "14 s", "25%"]]
    assert times_text(bad).splitlines()[0].split("  ")[0] == "arm"
    assert "A trial's time and the benchmark's own" in e2e_body(bad, "x").content.replace("&#x27;", "'")


def test_the_spread_within_a_start_stands_beside_that_between_starts(bad):
    def repeated(trial, factor):
        runs = tuple({**trial.metrics, "total_latency": 1.0, bad.metric: factor * 1000 + x} for x in (-10, 0, 10))
        return trial.with_(repeats=runs, metrics={**trial.metrics, bad.metric: factor * 1000})

    document = bad.with_(trials=tuple(repeated(trial, 1 + 0.1 * at) for at, trial in enumerate(bad.trials[:2] * 2)))
    assert times_rows(document)[0][2] == "3 s", "all repeats together"
    assert spread_text(document) == "Spread of total_throughput: 0.9% within a start, 12.4% between starts."
    assert spread_text(bad) == ""


def test_a_workload_that_does_not_say_has_no_such_table(bad):
    unknown = bad.with_(workload="command")
    assert times_text(unknown) == ""
    assert itself_s(unknown, unknown.trials[0]) is None
