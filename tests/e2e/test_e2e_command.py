import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jsonschema
import pytest
from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.cli.schema import document_schema
from ncclprobe.e2e.command import metric_name, metric_pattern, metric_values
from ncclprobe.errors import MissingDependencyError, RunDirectoryError, UsageError
from ncclprobe.records.e2e import Trial
from ncclprobe.store import read_journal

PROGRAM = """
import os, pathlib, sys, random
runs = pathlib.Path(__file__).with_suffix(".runs")
with runs.open("a") as file:
    file.write(".")
noise = random.Random(runs.stat().st_size).uniform(0.99, 1.01)  # the same in every session: an interval may err
speed = 100.0 * float(os.environ.get("SPEED", "1")) * noise
print("warming up: 7 tok/s")
print(f"speed: {speed:.3f} tok/s", file=sys.stderr)
"""
METRIC = r"speed: ([\d.]+) tok/s"


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "workload.py"
    path.write_text(PROGRAM)
    return [sys.executable, str(path)]


def validate(*arguments):
    return CliRunner().invoke(group, ["validate-e2e", *map(str, arguments)], standalone_mode=False)


def command(out, *options, tokens, metric=METRIC):
    return validate("--workload", "command", "--metric", metric, "--out", out, "--seed", 1, *options, "--", *tokens)


@pytest.mark.parametrize(
    ("pattern", "output", "value"),
    [
        (r"v=([\d.]+)", "v=1\nv=2.5\nnoise", 2.5),
        (r"^total: (\S+)", "x total: 1\ntotal: 3e2\n", 300.0),
        (r"(?P<tok_s>\d+) tok/s (?:at (\d+))?", "12 tok/s at 5", 12.0),
        (r"v=(\S+) tok/s", "v=12,345.6 tok/s", 12345.6),
        (r"^v,(\d+),(\d+)$", "v,381,125", 381.0),
        (r",([\d.]+)$", "v,3,12.5", 12.5),
    ],
)
def test_the_value_is_the_first_group_of_the_last_match(pattern, output, value):
    assert list(metric_values(metric_pattern(pattern), output).values()) == [value]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("nothing", "no match"),
        ("v=fast", "'fast' is no number"),
        ("v=nan", "not a positive, finite number"),
        ("v=inf", "not a positive, finite number"),
        ("v=0", "not a positive, finite number"),
        ("v=-3", "not a positive, finite number"),
        ("v=1,234", "'1,234' is no number"),
    ],
)
def test_what_is_no_metric_says_why(output, message):
    with pytest.raises(ValueError, match=message):
        metric_values(metric_pattern(r"v=(\S+)"), output)


@pytest.mark.parametrize(
    ("pattern", "output", "whole"),
    [
        (r"v=([\d.]+)", "v=12,345.6 tok/s", "12,345.6"),
        (r"v=([\d.]+)", "v=381,2", "381,2"),
        (r"v=([\d.]+)", "v=1.23e+04", "1.23e+04"),
        (r"v=(\d+)", "v=12.5", "12.5"),
        (r"v=.*([\d.]+)", "v=1234.56 tok/s", "1234.56"),
        (r"v=(\d).*", "v=12", "12"),
    ],
)
def test_a_part_of_a_number_is_no_metric(pattern, output, whole):
    with pytest.raises(ValueError, match=f"only a part of '{re.escape(whole)}'; let the expression"):
        metric_values(metric_pattern(pattern), output)


@pytest.mark.parametrize(
    ("pattern", "output", "value"),
    [
        (r"^[\d.]+,([\d.]+)", "12.5,34.1,77", 34.1),
        (r"^\d+,(\d+)", "12,34,77", 34.0),
        (r"^\d+,(\d+),", "12,345,678", 345.0),
        (r'"rate":(\d+)', '{"n":1,"rate":12,"s":333}', 12.0),
        (r"^(\d+)", "12,34,77", 12.0),
        (r"^(\d+),", "12,34", 12.0),
    ],
)
def test_fields_that_commas_separate_are_numbers_of_their_own(pattern, output, value):
    (found,) = metric_values(metric_pattern(pattern), output).values()
    assert found == value


def test_a_group_that_did_not_take_part_is_no_number():
    with pytest.raises(ValueError, match="no number"):
        metric_values(metric_pattern(r"v=(\d+)?"), "v=")


@pytest.mark.parametrize(("text", "name"), [(r"a(\d+)", r"a(\d+)"), (r"(?P<tok_s>\d+)", "tok_s")])
def test_the_metric_is_named_after_its_group_or_expression(text, name):
    assert metric_name(metric_pattern(text)) == name


def test_a_faster_candidate_is_found_and_everything_is_kept(tmp_path, program):
    out = tmp_path / "run"
    result = command(out, "--candidate", "SPEED=1.2", "--json", tokens=program)
    assert result.return_value == 0
    document = json.loads(result.stdout)
    jsonschema.validate(document, document_schema("validate-e2e"))
    assert document["verdict"] == "faster"
    assert document["ratio"]["low"] < 1.2 < document["ratio"]["high"]
    assert document["trials_per_arm"] == 4
    assert {trial["effective"]["env"]["SPEED"] for trial in document["trials"]} == {None, "1.2"}
    assert [trial["order"] for trial in document["trials"]] == list(range(10))
    assert [trial["status"] for trial in document["trials"]].count("warm-up") == 2
    logs = sorted((out / "trials").glob("*.txt"))
    assert len(logs) == 10
    assert "warming up: 7 tok/s" in logs[0].read_text()
    assert json.loads((out / "document.json").read_text()) == document


def test_times_are_turned_round(tmp_path, program):
    result = command(tmp_path / "run", "--candidate", "SPEED=1.2", "--lower-is-better", "--json", tokens=program)
    document = json.loads(result.stdout)
    assert document["verdict"] == "slower"
    assert document["ratio"]["low"] < 1 / 1.2 < document["ratio"]["high"]


def test_identical_arms_show_no_difference(tmp_path, program):
    options = ("--candidate", "OTHER=1", "--min-effect", "0.03")
    document = json.loads(command(tmp_path / "run", *options, "--json", tokens=program).stdout)
    assert document["verdict"] == "no-difference"
    assert document["ratio"]["low"] < 1 < document["ratio"]["high"]


@pytest.mark.parametrize(
    ("given", "message"),
    [("no-such-program", "not installed or not on PATH"), ("./workload.py", "no file that may be executed")],
)
def test_a_program_that_cannot_be_started_leaves_the_directory_to_the_corrected_command(
    tmp_path, program, monkeypatch, given, message
):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "run"
    options = ("--candidate", "SPEED=1.2", "--trials", 1, "--warmup", 0)
    refused = command(out, *options, tokens=[given])
    assert isinstance(refused.exception, MissingDependencyError)
    assert str(refused.exception) == f"{given!r} is {message}; nothing was run and nothing kept"
    assert not out.exists()
    assert command(out, *options, "--json", tokens=program).exception is None


def test_the_program_is_looked_for_where_each_arm_looks(tmp_path, program):
    options = ("--candidate", f"PATH={tmp_path}", "--trials", 1)
    refused = command(tmp_path / "run", *options, tokens=["env", *program])
    assert isinstance(refused.exception, MissingDependencyError)
    assert not (tmp_path / "run").exists()


def test_no_token_reaches_a_shell(tmp_path):
    canary = tmp_path / "canary"
    hostile = f"$(touch {canary}); touch {canary} `touch {canary}` 1 tok/s"
    tokens = [sys.executable, "-c", "import sys; print(sys.argv[1])", hostile]
    options = ("--candidate", f"X=$(touch {canary})", "--trials", 2, "--json")
    result = command(tmp_path / "run", *options, tokens=tokens, metric=r"(\d+) tok/s")
    assert json.loads(result.stdout)["verdict"] == "no-difference"
    assert not canary.exists()


@pytest.mark.parametrize("arm", ["--candidate", "--baseline"])
def test_two_values_of_a_variable_are_no_arm(tmp_path, arm):
    options = (arm, "X=1", arm, "X=2", "--candidate", "Y=1")
    result = command(tmp_path / "run", *options, tokens=["echo", "v=1"], metric=r"v=(\d+)")
    assert "X is given two values, and an arm has one" in str(result.exception or result.output)
    assert not (tmp_path / "run").exists()


def test_a_candidate_that_fails_is_the_environments_fault(tmp_path):
    tokens = [
        sys.executable,
        "-c",
        "import os; print('v=1'); print('no such algorithm', flush=True); os._exit('X' in os.environ)",
    ]
    result = command(tmp_path / "run", "--candidate", "X=1", "--warmup", 0, "--json", tokens=tokens, metric=r"v=(\d+)")
    assert result.return_value == 3
    document = json.loads(result.stdout)
    assert document["verdict"] == "inconclusive"
    failed = [trial for trial in document["trials"] if trial["status"] == "failed"]
    assert [trial["message"] for trial in failed] == ["exit status 1\nv=1\nno such algorithm"] * 3
    assert all(trial["metrics"] == {} for trial in failed)


def test_a_trial_that_hangs_is_ended_with_its_children(tmp_path):
    script = "sleep 60 & echo $! > child; wait"
    options = ("--candidate", "X=1", "--timeout", 0.3, "--warmup", 0, "--json")
    here = pathlib.Path.cwd()
    os.chdir(tmp_path)
    try:
        result = command(tmp_path / "run", *options, tokens=["sh", "-c", script], metric=r"v=(\d+)")
    finally:
        os.chdir(here)
    document = json.loads(result.stdout)
    assert document["trials"][0]["message"].startswith("ended after 0.3 s, the --timeout of a trial")
    assert result.return_value == 3
    wait_for(lambda: not alive(int((tmp_path / "child").read_text())))


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_budget_that_is_too_short_is_kept_and_said(tmp_path):
    noise = tmp_path / "values"
    noise.write_text("3 1 5 2 5 1 4 5 1 2 5 3 " * 10)
    code = (
        "import pathlib, sys, time; time.sleep(0.2); file = pathlib.Path(sys.argv[1]); "
        "value, rest = file.read_text().split(' ', 1); file.write_text(rest); print('v', value)"
    )
    tokens = [sys.executable, "-c", code, noise]
    began = time.monotonic()
    result = command(tmp_path / "run", "--candidate", "X=1", "--budget", 2, "--json", tokens=tokens, metric=r"v (.*)")
    assert time.monotonic() - began < 5
    document = json.loads(result.stdout)
    assert document["verdict"] == "inconclusive"
    assert 2 <= document["trials_per_arm"] <= 4
    assert "inconclusive" in [finding["code"] for finding in document["findings"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--candidate", "A=1", "--workload", "command", "--metric", "(x)"], "needs a command"),
        (["--candidate", "A=1", "--workload", "command", "--metric", "x", "--", "true"], "has no group"),
        (["--candidate", "A=1", "--workload", "command", "--metric", "(", "--", "true"], "no regular expression"),
        (["--workload", "command", "--metric", "(x)", "--", "true"], "nothing to compare"),
        (["--candidate", "nowhere", "--workload", "command", "--metric", "(x)", "--", "true"], "neither NAME=VALUE"),
        (["--candidate", "A=1", "--baseline", "x", "--workload", "command", "--metric", "(x)", "--", "true"], "NAME=V"),
        (["--candidate", "A=1", "--workload", "command", "--layers", "3", "--metric", "(x)", "--", "t"], "--layers"),
        (["--candidate", "A=1", "--", "true"], "does not take COMMAND"),
        (["--resume", "x", "--trials", "5"], "leave out --trials"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, message):
    result = validate(*arguments)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_another_commands_run_is_not_resumed(tmp_path):
    (tmp_path / "manifest.json").write_text('{"command": "sweep", "argv": [], "seed": 1}')
    assert isinstance(validate("--resume", tmp_path).exception, RunDirectoryError)


def journal(path):
    return list(read_journal(path, {"trial": Trial}))


BY_TURNS = """
import sys, time
time.sleep(0.15)
with open(sys.argv[1], "rb") as journal:
    ended = sum(line.startswith(b'{"kind":"trial"') for line in journal)
print("v", 50 + 50 * (ended % 2))
"""
"""Gives 50 and 100 by turns, whatever was killed in between: over a block's two orders no arm is faster."""


@pytest.mark.parametrize("kills", [3])
def test_kills_lose_the_trial_in_flight_only(tmp_path, kills):
    out = tmp_path / "run"
    tokens = [sys.executable, "-c", BY_TURNS, str(out / "journal.jsonl")]
    base = [sys.executable, "-m", "ncclprobe", "validate-e2e"]
    new = [*base, "--workload", "command", "--metric", "v (.*)", "--candidate", "X=1", "--trials", "6", "--seed", "4"]
    start = [*new, "--out", str(out), "--", *tokens]
    seen = []
    for kill in range(kills):
        process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_trials(out, len(seen) + 2)
        time.sleep(0.05 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = journal(out)
        assert kept[: len(seen)] == seen
        seen = kept
        start = [*base, "--resume", str(out)]
    with (out / "journal.jsonl").open("ab") as file:
        file.write(b'{"kind":"trial","arm":"base')
    done = subprocess.run([*start, "--json"], capture_output=True, check=True)
    document = json.loads(done.stdout)
    assert journal(out)[: len(seen)] == seen
    assert [trial["order"] for trial in document["trials"]] == list(range(14))
    assert document["trials_per_arm"] == 6
    assert "torn-line" in [finding["code"] for finding in document["findings"]]
    again = subprocess.run([*start, "--json"], capture_output=True, check=True)
    assert json.loads(again.stdout)["ratio"] == document["ratio"]


def wait_for_trials(out, enough):
    wait_for(lambda: (out / "journal.jsonl").exists() and len(journal(out)) >= enough)


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_failures_ended_goes_on_once_they_are_mended(tmp_path):
    broken, out = tmp_path / "broken", tmp_path / "run"
    broken.touch()
    code = "import os, sys; x = 'X' in os.environ; print('v', 9 + x); sys.exit(x and os.path.exists(sys.argv[1]))"
    tokens = [sys.executable, "-c", code, str(broken)]
    options = ["--workload", "command", "--metric", "v (.*)", "--candidate", "X=1", "--trials", "4", "--out", out]
    ended = validate(*options, "--json", "--", *tokens)
    assert (ended.return_value, "arm-failed" in ended.stdout) == (3, True)
    broken.unlink()
    mended = validate("--resume", out, "--json")
    document = json.loads(mended.stdout)
    assert (mended.return_value, document["trials_per_arm"]) == (0, 4)
    assert [finding["code"] for finding in document["findings"]] == ["trial-failed"]
    assert [trial["order"] for trial in document["trials"]] == list(range(len(document["trials"])))
    assert [trial["status"] for trial in document["trials"]].count("failed") == 3
    assert [trial["afresh"] for trial in document["trials"]].count(True) == 1


def test_what_a_killed_run_left_behind_is_ended_before_the_next_trial(tmp_path):
    marker = tmp_path / "pid"
    code = f"import os, time, pathlib; pathlib.Path({str(marker)!r}).write_text(str(os.getpid())); time.sleep(60)"
    out = tmp_path / "run"
    options = ["--workload", "command", "--metric", "v (.*)", "--candidate", "X=1", "--timeout", "0.5"]
    start = [sys.executable, "-m", "ncclprobe", "validate-e2e", *options, "--out", str(out)]
    start[start.index("0.5")] = "30"
    process = subprocess.Popen([*start, "--", sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    wait_for(lambda: marker.exists() and marker.read_text())
    process.kill()
    process.wait()
    left = int(marker.read_text())
    assert alive(left)
    marker.write_text("")
    resumed = subprocess.Popen(
        [sys.executable, "-m", "ncclprobe", "validate-e2e", "--resume", str(out)], stderr=subprocess.DEVNULL
    )
    wait_for(lambda: marker.read_text())
    wait_for(lambda: not alive(left))
    resumed.send_signal(signal.SIGINT)
    assert resumed.wait(20) == 130
    assert not alive(int(marker.read_text()))


@pytest.mark.parametrize(
    ("checksum", "verdict", "status", "codes"),
    [("'7.25'", "faster", 0, set()), ("'8.25' if fast else '7.25'", "inconclusive", 3, {"result-differs"})],
)
def test_a_command_that_computes_otherwise_with_the_candidate_is_not_called_faster(
    tmp_path, checksum, verdict, status, codes
):
    code = f"import os; fast = 'FAST' in os.environ; print('v:', 1.5 if fast else 1, 'sum:', {checksum})"
    words = ["validate-e2e", "--workload", "command", "--metric", r"v: (\S+) sum: (?P<checksum>\S+)", "--json"]
    plan = ["--candidate", "FAST=1", "--trials", "4", "--warmup", "0", "--telemetry", "0"]
    here = ["--out", str(tmp_path / "r"), "--", sys.executable, "-c", code]
    ended = CliRunner().invoke(group, [*words, *plan, *here], standalone_mode=False)
    found = json.loads(ended.stdout)
    assert (found["verdict"], ended.return_value) == (verdict, status)
    assert {finding["code"] for finding in found["findings"]} == codes
    assert {trial["metrics"]["checksum"] for trial in found["trials"]} == ({7.25, 8.25} if codes else {7.25})
    told = CliRunner().invoke(group, ["report", str(tmp_path / "r")], standalone_mode=False).stdout
    assert ("No answer: the arms did not compute the same." in told) is bool(codes)


def test_a_checksum_that_is_no_number_fails_the_trial():
    with pytest.raises(ValueError, match="the checksum 'abc' is no number"):
        metric_values(metric_pattern(r"v=(\S+) (?P<checksum>\S+)"), "v=1 abc")
