"""The workload against a stand-in for SGLang (fake_sglang), run as real processes with the real tuner plugin."""

import json
import os
import pathlib
import subprocess
import sys
import time

import jsonschema
import pytest
from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.cli.schema import document_schema
from ncclprobe.errors import MissingDependencyError, UsageError

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
THROUGH = ("--disable-custom-all-reduce", "--enforce-disable-flashinfer-allreduce-fusion")
OWN = ("--trials", 2, "--warmup", 0, "--seed", 1, "--min-effect", 0.4)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    path = os.pathsep.join(map(str, [HERE / "fake_sglang", HERE.parent / "tuner", ROOT]))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("FAKE_SECONDS", "0.3")
    for name in [name for name in os.environ if name.startswith(("NCCL_", "SGLANG_"))]:
        monkeypatch.delenv(name)


def validate(out, *arguments):
    words = ["validate-e2e", "--workload", "sglang", "--json", "--out", out, *arguments]
    return CliRunner().invoke(group, list(map(str, words)), standalone_mode=False)


def document(out, *arguments):
    result = validate(out, *arguments)
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


def of_arm(found, arm):
    return [trial for trial in found["trials"] if trial["arm"] == arm]


def codes(found):
    """Return what was found, but for what two trials an arm say by chance: identical arms get a winner in up to 5 %."""
    chance = "effect-below-minimum"
    return {(finding["code"], finding["subject"]) for finding in found["findings"] if finding["code"] != chance}


def test_a_run_shows_what_was_in_force_and_says_faster(tmp_path):
    options = ("--tp", 2, "--candidate", "FAKE_SPEED=1.3", "--trials", 4, "--warmup", 1, "--seed", 1)
    found = document(tmp_path / "run", *options, "--", *THROUGH)
    jsonschema.validate(found, document_schema("validate-e2e"))
    assert (found["verdict"], found["metric"], found["layout"]["tp"]) == ("faster", "total_throughput", 2)
    assert [trial["status"] for trial in found["trials"]] == ["warm-up"] * 2 + ["ok"] * 8
    trial = of_arm(found, "candidate")[0]
    assert set(trial["metrics"]) >= {"total_throughput", "output_throughput", "successful_requests"}
    command = trial["effective"]["command"]
    model = str(tmp_path / "run" / "model" / "tiny-deepseek")
    assert command[:3] == [sys.executable, "-m", "sglang.bench_offline_throughput"]
    assert command[3:9] == ["--model-path", model, "--tp-size", "2", "--load-format", "dummy"]
    assert command[11:] == ["--dataset-path", f"{model}/prompts.json", *THROUGH]
    seen = trial["effective"]["in_force"]
    assert (seen["logs"], seen["recorded"], seen["version"], seen["nranks"]) == (2, 2, "2.28.9", 2)
    assert seen["plugins"] == [{"kind": "tuner", "name": "ncclprobe", "loaded": True}]
    assert [hca["name"] for hca in seen["hcas"]] == ["mlx5_0"]
    assert [pathlib.Path(path).name for path in seen["libraries"]] == ["libnccl.so.2"] * 2
    assert seen["source"] == "nccl-log"
    (span,) = seen["spans"]
    assert (span["collective"], span["algo"], span["proto"]) == ("all_reduce", "Tree", "LL")
    assert (span["min_bytes"], span["max_bytes"], span["sizes"]) == (4, 8192 * 4096, 7)
    assert seen["traffic"] == {"token_bytes": 4096, "up_to_bytes": 8 << 20, "expected": 4, "seen": 5 * 8}
    assert codes(found) == {("env-added", "sglang")}
    assert "NCCL_CUMEM_ENABLE=0, NCCL_NVLS_ENABLE=0" in found["findings"][0]["message"]


def test_traffic_that_goes_past_nccl_is_said_and_what_stops_that(tmp_path):
    found = document(tmp_path / "run", "--tp", 2, "--candidate", "X=1", *OWN, "--", THROUGH[1])
    (finding,) = [finding for finding in found["findings"] if finding["code"] == "nccl-bypassed"]
    assert finding["subject"] == "sglang"
    assert "NCCL saw 0 all-reduces of whole tokens (4K each) of up to 8M" in finding["message"]
    assert finding["hint"].startswith("Add --disable-custom-all-reduce to send them through NCCL.")
    assert "may cost more than tuning gains" in finding["hint"]


def test_as_many_prompts_are_made_as_are_asked_for(tmp_path):
    found = document(tmp_path / "run", "--candidate", "X=1", *OWN, "--", "--num-prompts", 2500)
    assert {trial["metrics"]["successful_requests"] for trial in found["trials"]} == {2500.0}
    assert codes(found) == {("env-added", "sglang")}


def test_requests_that_the_dataset_lacks_are_said(tmp_path):
    dataset = tmp_path / "prompts.json"
    dataset.write_text('[{"conversations": [{"value": "a"}, {"value": "b"}]}]')
    own = ("--num-prompts", 60, "--dataset-path", dataset)
    found = document(tmp_path / "run", "--candidate", "X=1", *OWN, "--", *own)
    (finding,) = [finding for finding in found["findings"] if finding["code"] == "fewer-requests"]
    assert (finding["severity"], finding["subject"]) == ("warning", "sglang")
    assert finding["message"] == "1 requests were served, and --num-prompts asks for 60."


def test_one_rank_needs_no_all_reduce(tmp_path):
    found = document(tmp_path / "run", "--candidate", "X=1", *OWN)
    assert codes(found) == {("env-added", "sglang")}
    assert found["trials"][0]["effective"]["in_force"]["traffic"] is None


def test_a_table_reaches_nccl_through_the_plugin(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("allreduce,0,65536,ring,ll,4,-1,-1,-1,-1\n")
    found = document(tmp_path / "run", "--tp", 2, "--candidate", f"NCCLPROBE_TUNER_TABLE={table}", *OWN, "--", *THROUGH)
    spans = of_arm(found, "candidate")[0]["effective"]["in_force"]["spans"]
    assert of_arm(found, "candidate")[0]["effective"]["in_force"]["tabled"] == 6 * 8
    assert codes(found) == {("env-added", "sglang")}
    shown = [(one["min_bytes"], one["max_bytes"], one["algo"], one["proto"]) for one in spans]
    assert shown == [(4, 65536, "Ring", "LL"), (8192 * 4096, 8192 * 4096, "Tree", "LL")]
    assert [one["proto"] for one in of_arm(found, "baseline")[0]["effective"]["in_force"]["spans"]] == ["LL"]


def test_a_table_for_other_ranks_is_said(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("allreduce,0,65536,ring,ll,4,2,16,-1,-1\n")
    arm = ("--tp", 2, "--candidate", f"NCCLPROBE_TUNER_TABLE={table}")
    found = document(tmp_path / "run", *arm, *OWN, "--", *THROUGH)
    (finding,) = [finding for finding in found["findings"] if finding["code"] == "table-not-exercised"]
    assert finding["subject"] == "candidate"
    assert "The table is for all_reduce of 0 to 64K between 16 ranks on 2 nodes; there were" in finding["message"]
    assert finding["message"].endswith("sizes from 4 to 32M between 2 ranks on 1 nodes.")


def test_a_setting_that_nccl_cannot_run_is_said(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("allreduce,0,65536,nvls,simple,-1,-1,-1,-1,-1\n")
    arm = ("--tp", 2, "--candidate", f"NCCLPROBE_TUNER_TABLE={table}")
    found = document(tmp_path / "run", *arm, *OWN, "--", *THROUGH)
    (finding,) = [finding for finding in found["findings"] if finding["code"] == "tuner-refused"]
    assert finding["message"].startswith("48 operations of a rank had a setting in the table that NCCL cannot run")


def test_people_read_what_was_in_force(tmp_path):
    out = tmp_path / "run"
    words = ["validate-e2e", "--workload", "sglang", "--tp", "2", "--candidate", "FAKE_SPEED=1.3", "--out", str(out)]
    words += [*map(str, OWN), "--", *THROUGH]
    text = CliRunner().invoke(group, words, standalone_mode=False).stdout
    lines = text.splitlines()
    assert "in force    NCCL    ranks    tuner      HCAs    GDR    all-reduces" in lines
    assert "candidate   2.28.9  2        ncclprobe  mlx5_0  -      40" in lines
    assert "baseline    all_reduce    4       32M   Tree/LL/16  56" in lines


def test_a_table_without_its_plugin_is_no_comparison(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("allreduce,0,65536,ring,ll,4,-1,-1,-1,-1\n")
    arm = ("--candidate", f"NCCLPROBE_TUNER_TABLE={table}", "--candidate", "NCCL_TUNER_PLUGIN=/nowhere.so")
    result = validate(tmp_path / "run", "--tp", 2, *arm, *OWN, "--", *THROUGH)
    assert result.return_value == 3
    failed = of_arm(json.loads(result.stdout), "candidate")[0]
    assert failed["status"] == "failed"
    assert failed["message"].startswith("NCCL did not load the tuner plugin")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("FAKE_REWRITES", "NCCL_PROTO is 'rewritten' in 2 processes, not 'LL': not in force"),
        ("FAKE_DROPS", "NCCL_PROTO is not set in 2 processes, not 'LL': not in force"),
    ],
)
def test_a_setting_that_did_not_arrive_is_no_comparison(tmp_path, monkeypatch, how, message):
    monkeypatch.setenv(how, "NCCL_PROTO")
    result = validate(
        tmp_path / "run", "--tp", 2, "--candidate", "NCCL_PROTO=LL", "--baseline", "Y=1", *OWN, "--", *THROUGH
    )
    found = json.loads(result.stdout)
    assert result.return_value == 3
    assert of_arm(found, "candidate")[0]["message"].splitlines()[0] == message
    assert ("arm-failed", "candidate") in codes(found)


def test_an_inherited_variable_that_got_lost_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_DROPS", "NCCL_IB_HCA")
    monkeypatch.setenv("NCCL_IB_HCA", "=mlx5_0")
    found = document(tmp_path / "run", "--tp", 2, "--candidate", "X=1", *OWN, "--", *THROUGH)
    (finding,) = [finding for finding in found["findings"] if finding["code"] == "env-rewritten"]
    assert finding["message"] == "Variables did not reach NCCL as they were set: NCCL_IB_HCA==mlx5_0 is not set."


def test_another_nccl_than_the_sweeps_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_NCCL", "2.27.5")
    run = ROOT / "data" / "h200x2_202611" / "sweep"
    found = document(tmp_path / "run", "--tp", 2, "--candidate", run, *OWN, "--", *THROUGH)
    (finding,) = [finding for finding in found["findings"] if finding["code"] == "nccl-version-differs"]
    measured = "the candidate's settings were measured with NCCL 2.28.9."
    assert finding["message"] == f"SGLang ran with NCCL 2.27.5, but {measured}"
    assert "It loads /" in finding["hint"]


def test_a_sweep_with_other_variables_is_said_with_the_command_that_repeats_it(tmp_path):
    run = ROOT / "data" / "h200x2_202611" / "sweep"
    found = document(tmp_path / "run", "--tp", 2, "--candidate", run, *OWN, "--", *THROUGH)
    (finding,) = [finding for finding in found["findings"] if finding["code"] == "sweep-environment-differs"]
    assert finding["subject"] == "candidate"
    assert finding["message"].endswith("ran with: NCCL_CUMEM_ENABLE not set in the sweep, '0' here.")
    command = "NCCL_CUMEM_ENABLE=0 ncclprobe sweep --backend nccl --nranks 2 --seed 2 --algo Tree,Ring --sizes 8:1G:8"
    assert f"`{command} --budget 60`" in finding["hint"]


@pytest.mark.parametrize("bench", ["one-batch", "serving"])
def test_the_other_benchmarks_run_too(tmp_path, bench):
    own = ("--", "--num-prompts", "50") if bench == "serving" else ("--batch-size", "8")
    found = document(
        tmp_path / "run", "--bench", bench, "--tp", 2, "--candidate", "FAKE_SPEED=1.3", *OWN, "--", *THROUGH, *own
    )
    metric = {"one-batch": "median_decode_throughput", "serving": "total_throughput"}[bench]
    assert found["metric"] == metric
    assert [trial["status"] for trial in found["trials"]] == ["ok"] * 4
    assert found["ratio"]["estimate"] == pytest.approx(1.3, abs=0.03)
    assert found["trials"][0]["effective"]["in_force"]["traffic"]["seen"] == 40


def test_several_runs_against_one_server_are_one_trial(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_COLD", "0.5")
    options = ("--bench", "serving", "--repeats", 3, "--candidate", "FAKE_SPEED=1.3")
    found = document(tmp_path / "run", *options, *OWN, "--", "--", "--num-prompts", 50)
    jsonschema.validate(found, document_schema("validate-e2e"))
    assert [trial["status"] for trial in found["trials"]] == ["ok"] * 4
    for trial in found["trials"]:
        values = [run["total_throughput"] for run in trial["repeats"]]
        assert len(values) == 3
        assert trial["metrics"]["total_throughput"] == sorted(values)[1]
        factor = 1.3 if trial["arm"] == "candidate" else 1.0
        assert values == pytest.approx([1000 * factor] * 3, rel=0.006), "the cold run does not count"
    names = sorted(path.name for path in (tmp_path / "run" / "trials").glob("0000-*/*.jsonl"))
    assert names == ["result-1.jsonl", "result-2.jsonl", "result-3.jsonl", "telemetry.jsonl", "warm-up.jsonl"]


def test_one_run_against_a_server_needs_no_warm_up(tmp_path):
    found = document(tmp_path / "run", "--bench", "serving", "--candidate", "X=1", *OWN)
    assert [trial["repeats"] for trial in found["trials"]] == [[]] * 4
    assert not list((tmp_path / "run" / "trials").glob("*/warm-up.jsonl"))


def test_a_time_is_compared_by_its_name(tmp_path):
    options = ("--metric", "median_ttft_ms", "--lower-is-better", "--bench", "serving")
    found = document(tmp_path / "run", *options, "--candidate", "FAKE_SPEED=1.3", *OWN)
    assert found["metric"] == "median_ttft_ms"
    assert found["ratio"]["estimate"] == pytest.approx(1.3, abs=0.03)


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({"FAKE_LEAVES_OUT": "total_throughput"}, (), "result.jsonl has no number 'total_throughput'; it has input_t"),
        ({"FAKE_FAILS": "1"}, (), "exit status 1"),
        ({}, ("--unheard-of",), "exit status 2"),
    ],
)
def test_a_failed_trial_says_why(tmp_path, monkeypatch, environment, arguments, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = validate(tmp_path / "run", "--candidate", "X=1", *OWN, "--", *arguments)
    assert result.return_value == 3
    assert json.loads(result.stdout)["trials"][0]["message"].startswith(message)


def test_a_server_that_ends_early_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_FAILS", "1")
    result = validate(tmp_path / "run", "--bench", "serving", "--candidate", "X=1", *OWN)
    message = json.loads(result.stdout)["trials"][0]["message"]
    assert message.splitlines()[0] == "the server ended before it answered, with status 1"
    assert message.splitlines()[-1] == "RuntimeError: CUDA out of memory"


def test_layouts_are_arms_of_one_comparison(tmp_path):
    found = document(tmp_path / "run", "--tp", 2, *OWN, "--variants", "tp=4", "tp=8,pp=1", "--", *THROUGH)
    ratios = {one["arm"]: round(one["ratio"]["estimate"], 1) for one in found["comparisons"]}
    assert ratios == {"tp=4": 1.4, "tp=8": 2.0}
    commands = {trial["arm"]: trial["effective"]["command"] for trial in found["trials"]}
    assert {arm: command[command.index("--tp-size") + 1] for arm, command in commands.items()} == {
        "baseline": "2",
        "tp=4": "4",
        "tp=8": "8",
    }
    assert found["ratio"] == found["comparisons"][1]["ratio"]


def test_settings_and_layouts_make_a_grid(tmp_path):
    grid = ("--tp", 2, "--candidate", "FAKE_SPEED=1.3", "--variants", "tp=4")
    found = document(tmp_path / "run", *grid, *OWN, "--", *THROUGH)
    assert [(one["arm"], one["env"], one["layout"]["tp"]) for one in found["comparisons"]] == [
        ("candidate", {"FAKE_SPEED": "1.3"}, 2),
        ("tp=4", {}, 4),
        ("candidate+tp=4", {"FAKE_SPEED": "1.3"}, 4),
    ]
    assert found["ratio"] == found["comparisons"][0]["ratio"]


def test_a_layout_that_cannot_be_is_said_before_and_left_out(tmp_path):
    found = document(tmp_path / "run", "--candidate", "X=1", "--variants", "tp=3", *OWN)
    assert ("sglang-refuses", "tp=3") in codes(found)
    assert ("arm-failed", "tp=3") in codes(found)
    assert found["ratio"] is not None  # of the candidate, which is compared all the same
    assert len(of_arm(found, "candidate")) == 2


def test_a_prefix_stands_before_the_command_as_tokens(tmp_path):
    canary = tmp_path / "canary"
    prefix = f"env 'MARK=a b; touch {canary}'"
    options = ("--prefix", prefix, "--python", sys.executable, "--candidate", "X=1")
    found = document(tmp_path / "run", *options, *OWN)
    command = found["trials"][0]["effective"]["command"]
    assert command[:3] == ["env", f"MARK=a b; touch {canary}", sys.executable]
    assert not canary.exists()


@pytest.mark.mpi
def test_several_nodes_are_started_by_a_launcher_and_end_with_the_first(tmp_path):
    options = ("--tp", 4, "--nnodes", 2, "--launcher", "mpirun", "--candidate", "NCCL_ALGO=allreduce:tree")
    found = document(tmp_path / "run", *options, *OWN)
    assert [trial["status"] for trial in found["trials"]] == ["ok"] * 4
    seen = of_arm(found, "candidate")[0]["effective"]["in_force"]
    assert (seen["logs"], seen["recorded"], seen["nnodes"], seen["gdr"]) == (4, 4, 2, True)
    assert seen["traffic"]["seen"] == 40
    assert codes(found) == {("env-added", "sglang")}
    assert "NCCL_ALGO" not in found["findings"][0]["message"]
    samples = sorted(path.name for path in (tmp_path / "run" / "trials").glob("*/telemetry*"))
    assert samples == ["telemetry.0.jsonl"] * 4 + ["telemetry.1.jsonl"] * 4, "each node samples itself"
    assert {host["samples"] >= 4 for trial in found["trials"] for host in trial["telemetry"]} == {True}


def test_a_killed_run_leaves_nothing_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_SECONDS", "0.6")
    out = tmp_path / "run"
    base = [sys.executable, "-m", "ncclprobe", "validate-e2e"]
    new = [*base, "--workload", "sglang", "--tp", "2", "--candidate", "X=1", *map(str, OWN), "--out", str(out)]
    process = subprocess.Popen(new, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(out.glob("trials/0001-*/nccl.*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    done = subprocess.run([*base, "--resume", str(out), "--json"], capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert [trial["order"] for trial in found["trials"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--candidate", "A=1", "--", "--tp", "2"), "--tp is ncclprobe's to set; use --tp"),
        (("--candidate", "A=1", "--", "--model-path=/x"), "--model-path is ncclprobe's to set; use --model"),
        (("--candidate", "A=1", "--", "--result-filename", "x"), "ncclprobe reads the result itself"),
        (("--candidate", "A=1", "--bench", "serving", "--", "--port", "1"), "--port is ncclprobe's to set"),
        (("--candidate", "A=1", "--", "--x", "--", "--y"), "--bench offline has no client"),
        (("--candidate", "A=1", "--nnodes", 2), "several nodes need a launcher"),
        (("--candidate", "A=1", "--repeats", 2), "asks a started server several times, and --bench offline has none"),
        (("--candidate", "A=1", "--prefix", "a 'b"), "is no command"),
        (("--bench", "one-batch", "--variants", "tp=1,pp=2"), "no pipeline stages, which tp=1,pp=2 asks for"),
        (("--tp", 2, "--variants", "tp=2"), "is there already"),
        (("--variants", "tp=2 tp=2,pp=1"), "is there already"),
        (("--variants", "tp=two"), "none of tp=N"),
        ((), "there is nothing to compare"),
        (("--candidate", "A=1", "--layers", 3), "does not take --layers"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, arguments, message):
    result = validate(tmp_path / "run", *arguments)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_without_sglang_it_says_what_brings_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    result = validate(tmp_path / "run", "--candidate", "A=1")
    assert isinstance(result.exception, MissingDependencyError)
    assert "no module named sglang; `pip install 'ncclprobe[sglang]'`" in str(result.exception)
