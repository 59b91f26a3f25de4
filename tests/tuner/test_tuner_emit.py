import json
import subprocess

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.cli import group
from ncclprobe.cli.schema import document_schema
from ncclprobe.errors import RunDirectoryError, UsageError
from ncclprobe.records.base import EnvVariable
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import CellResult, Choice, Cost, Ratio, Status, SweepDocument, TableRow, Verdict
from ncclprobe.records.tune import TuneDocument
from ncclprobe.tuner.emit import Form, emitted
from ncclprobe.tuner.environ import Settings, merged, scan_settings, sweep_settings, tune_settings
from ncclprobe.tuner.table import parse_table, sweep_rows

HCA = EnvVariable(name="NCCL_IB_HCA", value="=mlx5_0,mlx5_1", reason="Two active InfiniBand ports.")
ROW = TableRow(collective="all_reduce", min_bytes=0, max_bytes=65536, algo="Tree", proto="LL", nchannels=None)


def scan_document(*variables):
    return ScanDocument(env=variables)


def sweep_document(*, env=None, table=(ROW,), verdict=Verdict.CHANGE, nranks=16):
    return SweepDocument(
        backend="sim",
        library="simulated",
        nranks=nranks,
        nnodes=2,
        launches=3,
        seed=1,
        cells=(),
        choice=Choice(verdict=verdict, env=env or {}, table=table, gain=Ratio(ratio=1.08, low=1.05, high=1.11)),
        cost=Cost(measured_s=1.0, exhaustive_s=4.0),
    )


def of(*pairs):
    variables = tuple(EnvVariable(name=name, value=value, reason="Because.") for name, value in pairs)
    return Settings(sources=("run",), variables=variables)


def test_shell_quotes_and_says_why():
    text = emitted(scan_settings(scan_document(HCA), "runs/scan"), Form.SHELL)
    assert text == ("# Settings from runs/scan\n# Two active InfiniBand ports.\nexport NCCL_IB_HCA='=mlx5_0,mlx5_1'\n")


def test_nccl_conf_has_no_quotes_and_a_doubled_equals_sign():
    text = emitted(scan_settings(scan_document(HCA.with_(value="=mlx5_0")), "scan"), Form.NCCL_CONF)
    assert text.splitlines()[-1] == "NCCL_IB_HCA==mlx5_0"


def test_nccl_conf_leaves_out_what_nccl_does_not_read():
    text = emitted(of(("MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM", "ring"), ("NCCL_ALGO", "allreduce:tree")), Form.NCCL_CONF)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == ["NCCL_ALGO=allreduce:tree"]
    assert "set MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM in the job's environment" in text


def test_nccl_conf_refuses_what_nccl_would_cut():
    with pytest.raises(UsageError, match="over 1023 bytes"):
        emitted(of(("NCCL_IB_HCA", "m" * 1024)), Form.NCCL_CONF)


def test_slurm_makes_srun_pass_the_environment_on():
    lines = emitted(of(("NCCL_ALGO", "allreduce:tree")), Form.SLURM).splitlines()
    assert lines[-1] == "export SLURM_EXPORT_ENV=ALL"
    assert "export NCCL_ALGO=allreduce:tree" in lines


def test_pbs_names_what_mpiexec_must_pass_on():
    text = emitted(of(("NCCL_ALGO", "allreduce:tree"), ("NCCL_PROTO", "LL")), Form.PBS)
    assert "mpirun -x NCCL_ALGO -x NCCL_PROTO\n" in text
    assert "mpiexec -genvlist NCCL_ALGO,NCCL_PROTO\n" in text
    assert text.splitlines()[-1] == "export NCCL_PROTO=LL"


def test_the_tuner_form_is_a_table_for_the_measured_shape():
    text = emitted(sweep_settings(sweep_document(), "s"), Form.TUNER)
    assert text.splitlines()[-1] == "allreduce,0,65536,tree,ll,-1,2,16,-1,-1"


@pytest.mark.parametrize("form", list(Form))
def test_keep_defaults_says_so_and_sets_nothing(form):
    document = sweep_document(verdict=Verdict.KEEP_DEFAULTS, table=())
    text = emitted(sweep_settings(document, "s"), form)
    assert "keep the defaults" in text
    assert all(line.startswith("#") for line in text.splitlines())


@pytest.mark.parametrize("name", ["A B", "1A", "A;B", "", "A$(x)", "A\n"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(UsageError, match="no name"):
        emitted(of((name, "1")), Form.SHELL)


@pytest.mark.parametrize("form", [Form.SHELL, Form.NCCL_CONF, Form.SLURM, Form.PBS])
@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "a\x1b[31m", "a\u2028b"])
def test_a_value_with_a_line_break_is_refused(form, value):
    with pytest.raises(UsageError, match="control character"):
        emitted(of(("NCCL_ALGO", value)), form)


HOSTILE = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" "), max_size=60) | (
    st.sampled_from(["$(touch CANARY)", "`touch CANARY`", "'; touch CANARY; '", '"; touch CANARY #', "a'b", "\\", "!!"])
)


@pytest.mark.parametrize("form", [Form.SHELL, Form.SLURM, Form.PBS])
@settings(max_examples=25, deadline=None)
@given(value=HOSTILE, reason=st.text(max_size=60) | st.just("x\ntouch CANARY\r\ntouch CANARY"))
def test_a_hostile_value_arrives_as_it_is_and_runs_nothing(tmp_path_factory, form, value, reason):
    folder = tmp_path_factory.mktemp("canary")
    setting = Settings(
        sources=("a\ntouch CANARY",), variables=(EnvVariable(name="NCCL_X", value=value, reason=reason),)
    )
    script = emitted(setting, form) + 'printf %s "$NCCL_X"\n'
    run = subprocess.run(["/bin/sh"], input=script.encode(), capture_output=True, cwd=folder, check=True)
    assert run.stdout.decode() == value
    assert list(folder.iterdir()) == []


def test_runs_that_agree_are_merged_and_duplicates_dropped():
    both = merged([scan_settings(scan_document(HCA), "a"), scan_settings(scan_document(HCA), "b")])
    assert both.variables == (HCA,)
    assert both.sources == ("a", "b")


def test_contradicting_variables_name_both_runs():
    other = HCA.with_(value="=mlx5_7")
    with pytest.raises(UsageError, match=r"runs/a sets NCCL_IB_HCA .* runs/b to '=mlx5_7'"):
        merged([scan_settings(scan_document(HCA), "runs/a"), scan_settings(scan_document(other), "runs/b")])


@pytest.mark.parametrize(
    ("other", "conflict"),
    [
        (sweep_document(), False),
        (sweep_document(nranks=32, table=(TableRow(**{**msgspec.structs.asdict(ROW), "algo": "Ring"}),)), False),
        (sweep_document(table=(ROW.with_(algo="Ring", min_bytes=65536, max_bytes=65536),)), True),
        (sweep_document(table=(ROW.with_(algo="Ring", min_bytes=65537, max_bytes=65537),)), False),
        (sweep_document(table=(ROW.with_(algo="Ring", collective="all_gather"),)), False),
    ],
)
def test_tables_contradict_where_one_operation_matches_both(other, conflict):
    parts = [sweep_settings(sweep_document(), "a"), sweep_settings(other, "b")]
    if conflict:
        with pytest.raises(UsageError, match="a and b choose differently for all_reduce"):
            merged(parts)
    else:
        assert merged(parts).rows[0].algo == "Tree"


def write(path, document):
    path.write_bytes(msgspec.json.encode(document))
    return str(path)


def run(*arguments):
    return CliRunner().invoke(group, ["env", "emit", *arguments], standalone_mode=False)


def test_the_command_merges_documents_and_run_directories(tmp_path):
    scan = write(tmp_path / "scan.json", scan_document(HCA))
    (tmp_path / "sweep").mkdir()
    write(tmp_path / "sweep" / "document.json", sweep_document(env={"NCCL_ALGO": "allreduce:tree"}))
    result = run(scan, str(tmp_path / "sweep"))
    assert result.return_value == 0
    exports = [line for line in result.stdout.splitlines() if line.startswith("export")]
    assert exports == ["export NCCL_IB_HCA='=mlx5_0,mlx5_1'", "export NCCL_ALGO=allreduce:tree"]


def tune_document(*variables, table=(), choice=Verdict.CHANGE):
    return TuneDocument(
        verdict="In a sentence.", choice=choice, backend="mpi", stages=(), env=variables, table=table, seed=1
    )


def test_a_whole_run_gives_what_all_its_stages_recommend(tmp_path):
    rows = sweep_settings(sweep_document(), "s").rows
    write(tmp_path / "document.json", tune_document(HCA, table=rows))
    result = run(str(tmp_path), "--format", "tuner", "--out", str(tmp_path / "table.csv"), "--json")
    document = json.loads(result.stdout)
    jsonschema.validate(document, document_schema("env"))
    assert [variable["name"] for variable in document["env"]] == ["NCCL_IB_HCA"]
    assert (tmp_path / "table.csv").read_text() == document["text"]
    assert parse_table(document["text"], "t") == rows


@pytest.mark.parametrize(
    ("variables", "table", "table_only"),
    [
        ((HCA,), True, True),
        ((HCA, EnvVariable(name="NCCL_ALGO", value="allreduce:tree", reason="")), True, False),
        ((EnvVariable(name="MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM", value="ring", reason=""),), True, False),
        ((HCA,), False, False),
    ],
)
def test_a_whole_runs_table_is_needed_where_no_variable_says_the_choice(variables, table, table_only):
    rows = sweep_settings(sweep_document(), "s").rows if table else ()
    assert tune_settings(tune_document(*variables, table=rows), "t").table_only is table_only


def test_a_whole_run_that_keeps_the_defaults_says_so(tmp_path):
    result = run(write(tmp_path / "tune.json", tune_document(choice=Verdict.KEEP_DEFAULTS)))
    assert "In a sentence." in result.stdout
    assert "export" not in result.stdout


def cell(size, status, proto="LL", nchannels=None):
    return CellResult(
        collective="all_reduce", dtype="float32", size_bytes=size, algo="Tree", proto=proto, nchannels=nchannels,
        samples=0, time_us=None, algbw_gbps=None, busbw_gbps=None, wrong=0, status=status, vs_default=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        ((), True),
        ((cell(65536, Status.OK), cell(131072, Status.REFUSED)), True),
        ((cell(65536, Status.OK), cell(1024, Status.REFUSED)), False),
        ((cell(65536, Status.REFUSED, "LL128"), cell(65536, Status.REFUSED, nchannels=4)), True),
    ],
)
def test_no_row_holds_what_was_refused_within_it(cells, kept):
    rows = sweep_rows(sweep_document().with_(cells=cells))
    assert [row.algo for row in rows] == ["Tree"] * kept


def test_nvidias_table_says_what_its_reader_does_elsewhere(tmp_path):
    result = run(write(tmp_path / "sweep.json", sweep_document()), "--format", "nvidia-csv", "--json")
    document = json.loads(result.stdout)
    assert [finding["code"] for finding in document["findings"]] == ["one-channel-elsewhere"]
    assert document["text"].splitlines()[-1] == "allreduce,0,65536,tree,ll,0,2,16,-1,-1"


def test_rows_on_an_unknown_number_of_nodes_are_told(tmp_path):
    result = run(write(tmp_path / "s.json", sweep_document().with_(nnodes=None)), "--format", "tuner", "--json")
    assert [finding["code"] for finding in json.loads(result.stdout)["findings"]] == ["table-unconditioned"]


def test_a_per_size_choice_says_that_it_needs_a_table(tmp_path):
    result = run(write(tmp_path / "sweep.json", sweep_document()), "--json")
    assert [finding["code"] for finding in json.loads(result.stdout)["findings"]] == ["needs-tuner-table"]


def test_another_commands_document_is_refused(tmp_path):
    (tmp_path / "x.json").write_text('{"schema": "ncclprobe.nodes/1"}')
    assert isinstance(run(str(tmp_path / "x.json")).exception, RunDirectoryError)


def test_a_damaged_document_is_refused_without_a_traceback(tmp_path):
    (tmp_path / "x.json").write_text('{"schema": "ncclprobe.scan/1", "env": 3}')
    assert isinstance(run(str(tmp_path / "x.json")).exception, RunDirectoryError)
