import json
import pathlib

import jsonschema
import pytest
from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.cli.schema import document_schema

DATA = pathlib.Path(__file__).parents[1] / "data/lint"
FLEET = pathlib.Path(__file__).parents[2] / "data/fleet_dgx_12hca"


def run(*arguments, text=None, env=None):
    return CliRunner().invoke(group, ["env", *map(str, arguments)], input=text, env=env, standalone_mode=False)


def document(*arguments, **more):
    ended = run(*arguments, "--json", **more)
    return json.loads(ended.output), ended.return_value


def test_clean_scripts_end_with_status_0():
    ended = run("lint", *sorted((DATA / "clean").iterdir()))
    assert ended.return_value == 0
    assert ended.output.endswith("sources: nothing to remark.\n")


def test_a_misspelt_name_ends_with_status_3():
    ended = run("lint", DATA / "reports/tree_ll128.pbs")
    assert ended.return_value == 3
    assert "error unknown-variable" in ended.output
    assert ended.output.endswith("14 settings in 1 source: 3 errors, 5 warnings.\n")


def test_the_document_fits_its_schema():
    found, status = document("lint", DATA / "reports/nccl.conf", "--nccl-version", "2.27.3")
    jsonschema.validate(found, document_schema("env-lint"))
    assert status == 3
    assert found["nccl_version"] == "2.27.3"
    assert found["findings"][0]["subject"].endswith("nccl.conf:1")
    assert [setting["name"] for setting in found["settings"]][:2] == ["NCCL_SOCKET_IFNAME", "NCCL_IB_TC"]


def test_standard_input_and_strict():
    assert run("lint", "-", text="export NCCL_ALGO=Tree\n").return_value == 0
    assert run("lint", "--strict", "-", text="export NCCL_ALGO=Tree\n").return_value == 3
    assert run("lint", "--strict", "-", text="export NCCL_IB_HCA=mlx5_1\n").return_value == 0


def test_a_conf_file_within_a_script_counts_as_settings():
    found, _ = document("lint", "-", text="cat > nccl.conf <<EOF\nNCCL_DEBUG=WARN\nEOF\n")
    assert [(one["name"], one["line"], one["how"]) for one in found["settings"]] == [("NCCL_DEBUG", 2, "entry")]


def test_the_live_environment():
    found, status = document("lint", "--environ", env={"NCCL_IB_DISABLE": "true"})
    wrong = [(one["subject"], one["code"]) for one in found["findings"]]
    assert (status, wrong) == (3, [("environment", "value-invalid")])


def test_quiet_says_how_much_alone():
    ended = run("lint", "--quiet", "-", text="export NCCL_ALGO=Tree\n")
    assert ended.output == "1 setting in 1 source: 1 warning.\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=mlx5_0,mlx5_1", []),
        ("mlx5_0,mlx5_1", ["ib-hca-prefix"]),
        ("=mlx5_0,mlx5_77", ["ib-hca-absent"]),
        ("=mlx5_1,mlx5_2", ["ib-hca-mixed"]),
    ],
)
def test_a_scan_knows_the_hcas(tmp_path, value, expected):
    scan = tmp_path / "scan.json"
    scan.write_text(CliRunner().invoke(group, ["scan", "--from", str(FLEET), "--json"]).output)
    found, _ = document("lint", "--scan", scan, "-", text=f"\nexport NCCL_IB_HCA={value}\n")
    assert [one["code"] for one in found["findings"]] == expected
    assert {one["subject"] for one in found["findings"]} <= {"-:2"}


def test_a_scan_with_hcas_speaks_against_switching_them_off(tmp_path):
    scan = tmp_path / "scan.json"
    scan.write_text(CliRunner().invoke(group, ["scan", "--from", str(FLEET), "--json"]).output)
    found, _ = document("lint", "--scan", scan, "-", text="export NCCL_IB_DISABLE=1\n")
    assert [(one["code"], one["severity"]) for one in found["findings"]] == [("settings-contradict", "warning")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lint",), "name a file to check, - for standard input, or --environ"),
        (("lint", "/nowhere.sh"), "cannot read /nowhere.sh: No such file or directory; name a file"),
        (("lint", "--nccl-version", "new", "-"), "--nccl-version new is no version; write one such as 2.27.3"),
    ],
)
def test_refusals(arguments, message):
    refusal = run(*arguments).exception
    assert (str(refusal), refusal.exit_status) == (message, 2)


def test_explain():
    found, status = document("explain", "NCCL_IB_HCA", "NCCL_P2P_NVL_DISABLE")
    jsonschema.validate(found, document_schema("env-explain"))
    assert status == 2
    assert [(one["name"], one["known"]) for one in found["variables"]] == [
        ("NCCL_IB_HCA", True),
        ("NCCL_P2P_NVL_DISABLE", False),
    ]
    ended = run("explain", "NCCL_P2P_NVL_DISABLE", "SGL_ENABLE_JIT_DEEPGEMM", "NCCL_HOME")
    assert "the nearest names are\nNCCL_P2P_DISABLE" in ended.output
