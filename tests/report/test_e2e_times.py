"""How much of SGLang's trials on two H200s was the benchmark (data/h200_sglang_202611/bad)."""

import pathlib

import pytest

from ncclprobe.records.e2e import E2eDocument
from ncclprobe.report.html.e2e import e2e_body
from ncclprobe.report.text.e2e_times import itself_s, times_rows, times_text
from ncclprobe.store import read_document

BAD = pathlib.Path(__file__).parents[2] / "data" / "h200_sglang_202611" / "bad"


@pytest.fixture(scope="module")
def bad():
    return read_document(BAD, [E2eDocument])


def test_the_benchmarks_own_time_stands_beside_the_trials(bad):
    assert times_rows(bad) == [["baseline", "51.1 s", "10.3 s", "20%"], ["candidate", "56.6 s", "14 s", "25%"]]
    assert times_text(bad).splitlines()[0].split("  ")[0] == "arm"
    assert "A trial's time and the benchmark's own" in e2e_body(bad, "x").content.replace("&#x27;", "'")


def test_a_workload_that_does_not_say_has_no_such_table(bad):
    unknown = bad.with_(workload="command")
    assert times_text(unknown) == ""
    assert itself_s(unknown, unknown.trials[0]) is None
