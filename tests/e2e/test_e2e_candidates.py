import json
import sys

import msgspec
import pytest
from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.cli.e2e_arms import TABLE_VARIABLE, arm_settings, with_plugin
from ncclprobe.e2e.choice import concerned
from ncclprobe.errors import ParseError, RunDirectoryError, UsageError
from ncclprobe.records.base import EnvVariable, Interval
from ncclprobe.records.e2e import Arm, ArmSettings, E2eDocument, E2eVerdict, Trial, TrialStatus
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import Choice, Cost, Ratio, SweepDocument, TableRow, Verdict
from ncclprobe.report.text.validate_e2e import e2e_text

RING = TableRow(collective="all_reduce", min_bytes=0, max_bytes=4096, algo="Ring", proto="default", nchannels=None)


def sweep(path, env, *, table=(RING,), verdict=Verdict.CHANGE):
    document = SweepDocument(
        backend="mpi",
        library="MPICH",
        nranks=2,
        nnodes=1,
        launches=3,
        seed=1,
        cells=(),
        choice=Choice(verdict=verdict, env=env, table=table, gain=Ratio(ratio=1.1, low=1.05, high=1.15)),
        cost=Cost(measured_s=1.0, exhaustive_s=2.0),
    )
    path.write_bytes(msgspec.json.encode(document))
    return str(path)


@pytest.mark.parametrize(
    ("env", "rows", "named"),
    [
        ({"NCCL_ALGO": "allgather:ring;AllReduce:tree,ring"}, (), ("all_gather", "all_reduce")),
        ({"NCCL_ALGO": "ring", "NCCL_PROTO": "^LL128"}, (), ()),
        ({"NCCL_PROTO": "broadcast:LL;nonsense:LL"}, ("reduce_scatter",), ("reduce_scatter", "broadcast")),
    ],
)
def test_the_collectives_that_settings_are_about_are_known(env, rows, named):
    row = {"min_bytes": 0, "max_bytes": 1, "algo": "Ring", "proto": "LL"}
    arm = ArmSettings(env=env, table=tuple(TunerRow(collective=name, **row) for name in rows))
    assert concerned([ArmSettings(), arm, arm]) == named


def scan(path):
    variable = EnvVariable(name="NCCL_IB_HCA", value="=mlx5_0", reason="One active port.")
    path.write_bytes(msgspec.json.encode(ScanDocument(env=(variable,))))
    return str(path)


def test_variables_and_runs_are_set_together_and_later_ones_win(tmp_path):
    texts = (scan(tmp_path / "scan.json"), sweep(tmp_path / "sweep.json", {"A": "1", "B": "1"}), "B=2", "EMPTY=")
    settings = arm_settings(texts, tmp_path / "table.csv")
    assert settings.env == {"NCCL_IB_HCA": "=mlx5_0", "A": "1", "B": "2", "EMPTY": ""}
    assert settings.table == ()


def test_a_choice_by_size_becomes_a_table_that_the_environment_names(tmp_path):
    settings = arm_settings((scan(tmp_path / "s.json"), sweep(tmp_path / "w.json", {})), tmp_path / "table.csv")
    assert settings.env == {"NCCL_IB_HCA": "=mlx5_0", TABLE_VARIABLE: str(tmp_path / "table.csv")}
    assert [(row.algo, row.max_bytes, row.nranks) for row in settings.table] == [("Ring", 4096, 2)]


def test_keep_defaults_sets_nothing(tmp_path):
    run = sweep(tmp_path / "sweep.json", {}, table=(), verdict=Verdict.KEEP_DEFAULTS)
    assert arm_settings((run,), tmp_path / "t").env == {}


@pytest.mark.parametrize(
    ("content", "error"),
    [(None, UsageError), ("not json", RunDirectoryError), ('{"schema": "x/1"}', RunDirectoryError)],
)
def test_what_is_no_run_is_refused(tmp_path, content, error):
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error):
        arm_settings((str(path),), tmp_path / "t")


def test_a_table_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        arm_settings((f"{TABLE_VARIABLE}={tmp_path / 'absent'}",), tmp_path / "t")
    (tmp_path / "bad.csv").write_text("allreduce,1\n")
    with pytest.raises(ParseError):
        arm_settings((f"{TABLE_VARIABLE}={tmp_path / 'bad.csv'}",), tmp_path / "t")


@pytest.mark.mpi
def test_the_table_of_a_sweep_reaches_the_ranks(tmp_path):
    shape = ["--layers", "1", "--hidden", "64", "--batch", "8", "--steps", "2", "--nranks", "2"]
    arguments = ["validate-e2e", *shape, "--warmup", "0", "--trials", "2", "--out", str(tmp_path / "run"), "--json"]
    run = sweep(tmp_path / "sweep.json", {})
    result = CliRunner().invoke(group, [*arguments, "--candidate", run], standalone_mode=False)
    document = json.loads(result.stdout)
    assert document["candidate"] == {TABLE_VARIABLE: str(tmp_path / "run" / "candidate-table.csv")}
    assert "allreduce,0,4096,ring,-1,-1,1,2,-1,-1" in (tmp_path / "run" / "candidate-table.csv").read_text()
    used = {trial["arm"]: trial["effective"]["allreduce"][0]["variables"] for trial in document["trials"]}
    assert used["candidate"]["MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM"] == "ring"


def trial(arm, order, value):
    return Trial(
        arm=arm, order=order, status=TrialStatus.OK, metrics={"tok_s": value}, effective={}, started="", seconds=2.0
    )


def test_people_read_the_answer_first():
    document = E2eDocument(
        workload="proxy",
        metric="tok_s",
        baseline={},
        candidate={"NCCL_ALGO": "allreduce:tree"},
        trials=tuple(trial(arm, order, 100.0 + order) for order, arm in enumerate([*Arm, *reversed(Arm)])),
        verdict=E2eVerdict.FASTER,
        ratio=Interval(estimate=1.12, low=1.05, high=1.19),
        trials_per_arm=2,
    )
    lines = e2e_text(document, "runs/x").splitlines()
    assert lines[0] == "faster  The candidate is faster."
    assert lines[1] == "candidate / baseline throughput: 1.120 (95 %: 1.050 to 1.190), 2 pairs"
    assert "candidate  2         101.5     101       102        0         4 s" in lines
    assert lines[-1] == "Run directory: runs/x"
    assert max(map(len, lines)) <= 80


def test_nothing_measured_is_readable():
    document = E2eDocument(
        workload="proxy",
        metric="tok_s",
        baseline={},
        candidate={},
        trials=(),
        verdict=E2eVerdict.INCONCLUSIVE,
        ratio=None,
        trials_per_arm=0,
    )
    assert "baseline   0         -         -         -          0         -" in e2e_text(document)


READS_ITS_TABLE = (
    "import os; path = os.environ.get('NCCLPROBE_TUNER_TABLE');"
    "rows = [line for line in open(path) if line[0] != '#'] if path else [];"
    "print('speed:', 2 if rows and os.path.exists(os.environ['NCCL_TUNER_PLUGIN']) else 1)"
)


def test_a_command_gets_the_plugin_and_its_table(tmp_path):
    run = sweep(tmp_path / "sweep.json", {})
    command = ["--workload", "command", "--metric", "speed: ([0-9.]+)", "--", sys.executable, "-c", READS_ITS_TABLE]
    options = ["--candidate", run, "--trials", "2", "--warmup", "0", "--out", str(tmp_path / "out"), "--json"]
    ended = CliRunner().invoke(group, ["validate-e2e", *options, *command])
    assert ended.exit_code == 0, ended.output
    trials = msgspec.json.decode(ended.stdout.encode(), type=E2eDocument).trials
    assert {(trial.arm, *trial.metrics.values()) for trial in trials} == {("baseline", 1.0), ("candidate", 2.0)}


def test_a_table_of_another_librarys_algorithms_is_not_handed_to_a_command(tmp_path):
    run = sweep(tmp_path / "sweep.json", {}, table=(RING.with_(algo="recursive_doubling"),))
    settings = arm_settings((run,), tmp_path / "table.csv")
    with pytest.raises(UsageError, match="recursive_doubling is none of NCCL's algorithms"):
        with_plugin(settings)


def test_a_plugin_of_ones_own_stays(tmp_path):
    settings = arm_settings((sweep(tmp_path / "sweep.json", {}), "NCCL_TUNER_PLUGIN=/mine.so"), tmp_path / "t.csv")
    assert with_plugin(settings) == settings


def test_a_run_that_recommends_nothing_is_no_candidate(tmp_path):
    kept = sweep(tmp_path / "kept.json", {}, table=(), verdict=Verdict.KEEP_DEFAULTS)
    started = ["validate-e2e", "--workload", "command", "--metric", "(.)", "--candidate", kept, "--", "true"]
    result = CliRunner().invoke(group, started, standalone_mode=False)
    assert str(result.exception) == (
        f"{kept} recommends nothing to set, so both arms would be the same; name a run with a choice, or --candidate"
        " NAME=VALUE"
    )


def test_the_proxy_takes_no_table_of_nccls(tmp_path):
    row = RING.with_(proto="LL128", nchannels=24)
    found = sweep(tmp_path / "nccl.json", {}, table=(row,))
    result = CliRunner().invoke(group, ["validate-e2e", "--candidate", found], standalone_mode=False)
    assert str(result.exception) == (
        "the candidate's table is for NCCL (Ring, LL128), and the workload `proxy` runs on MPI; use --workload"
        " sglang or command"
    )
