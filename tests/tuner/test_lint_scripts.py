"""Whole scripts: what an expert would say of them, and nothing where there is nothing to say.

The scripts in tests/data/lint are our own: ``clean`` are of the kinds that clusters run, ``reports`` are in the style
of published tuning reports, with the mistakes that are seen there.
"""

import pathlib

import pytest

from ncclprobe.tuner.catalog import catalog
from ncclprobe.tuner.lint import lint
from ncclprobe.tuner.script import Dialect
from ncclprobe.tuner.script_text import read_script

DATA = pathlib.Path(__file__).parents[1] / "data/lint"
CLEAN = sorted((DATA / "clean").iterdir())
REPORTS = {
    "tree_ll128.pbs": [
        (13, "warning", "ib-hca-prefix"),
        (16, "error", "unknown-variable"),
        (21, "warning", "algo-without-collective"),
        (22, "warning", "ll128-forced"),
        (23, "warning", "settings-contradict"),
        (25, "error", "value-invalid"),
        (28, "error", "unknown-variable"),
        (33, "warning", "launcher-drops"),
    ],
    "mpirun_hostfile.sh": [
        (3, "warning", "value-invalid"),
        (4, "info", "ib-hca-prefix"),
        (5, "error", "value-invalid"),
        (6, "warning", "ll128-forced"),
        (8, "warning", "settings-contradict"),
        (10, "error", "settings-contradict"),
        (10, "warning", "algo-without-collective"),
        (11, "warning", "value-out-of-range"),
        (12, "warning", "variable-not-exported"),
        (13, "warning", "setting-overridden"),
        (16, "warning", "launcher-drops"),
    ],
    "containers.yaml": [
        (9, "warning", "settings-contradict"),
        (11, "warning", "variable-no-more"),
        (13, "error", "value-invalid"),
    ],
    "nccl.conf": [
        (1, "error", "conf-syntax"),
        (2, "error", "conf-syntax"),
        (3, "error", "conf-syntax"),
        (4, "error", "conf-syntax"),
        (6, "warning", "setting-overridden"),
    ],
    "Dockerfile.h200": [
        (2, "error", "unknown-variable"),
        (3, "error", "value-invalid"),
        (3, "error", "value-invalid"),
        (4, "error", "unknown-variable"),
        (5, "warning", "ll128-forced"),
        (6, "warning", "ib-hca-prefix"),
    ],
    "launch_env.py": [
        (4, "warning", "algo-without-collective"),
        (5, "error", "value-invalid"),
        (6, "error", "unknown-variable"),
        (7, "warning", "settings-contradict"),
    ],
    "two_nodes_openmpi.sbatch": [
        (5, "info", "ib-hca-prefix"),
        (6, "warning", "setting-overridden"),
        (8, "warning", "variable-no-more"),
        (9, "warning", "ll128-forced"),
        (10, "warning", "variable-not-exported"),
        (11, "warning", "launcher-drops"),
    ],
    "ssh_fanout.sh": [
        (4, "warning", "value-out-of-range"),
        (5, "error", "unknown-variable"),
        (8, "warning", "launcher-drops"),
    ],
    "apptainer_env.sh": [
        (3, "error", "value-invalid"),
        (3, "error", "value-invalid"),
        (4, "error", "unknown-variable"),
    ],
    "docker_flags.sh": [
        (3, "warning", "value-out-of-range"),
        (4, "warning", "settings-contradict"),
        (5, "error", "unknown-variable"),
    ],
    # all_reduce_perf alone runs there, which has Tree; and which MPI mpirun is, it does not say
    "worker_env.yaml": [
        (12, "warning", "ll128-forced"),
        (17, "warning", "value-out-of-range"),
    ],
    "site.nccl.conf": [
        (2, "info", "ib-hca-prefix"),
        (3, "error", "unknown-variable"),
        (4, "error", "conf-syntax"),
        (5, "warning", "ll128-forced"),
        (6, "warning", "setting-overridden"),
    ],
}


def linted(path):
    return lint(read_script(path.read_text(encoding="utf-8"), path.name), catalog())


def test_there_are_at_least_20_clean_scripts():
    assert len(CLEAN) >= 20


@pytest.mark.parametrize("path", CLEAN, ids=lambda path: path.name)
def test_a_clean_script_gets_no_finding(path):
    assert linted(path) == ()


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_gets_exactly_what_an_expert_says(name):
    found = [
        (int(one.subject.rpartition(":")[2]), one.severity.value, one.code) for one in linted(DATA / "reports" / name)
    ]
    assert found == REPORTS[name]


def test_every_report_has_its_expectation():
    assert {path.name for path in (DATA / "reports").iterdir()} == set(REPORTS)


def test_the_two_misspelt_names_get_the_real_ones():
    hints = [one.hint for one in linted(DATA / "reports/tree_ll128.pbs") if one.code == "unknown-variable"]
    assert hints == ["write NCCL_P2P_DISABLE, if that is meant", "write SGLANG_ENABLE_JIT_DEEPGEMM, if that is meant"]


PYTHON = """\
import os
environ = os.environ
os.environ["A"], x = "1", 2
os.environ["NCCL_DEBUG"] = "INFO"
os.environ.setdefault("NCCL_DEBUG", "WARN")
os.putenv("NCCL_PROTO", str(x))
if x:
    os.environ["NCCL_IB_SL"] = "3"
else:
    os.environ.update(NCCL_IB_SL="4")
ray = {"env_vars": {"NCCL_IB_TC": "5", "PATH": "6"}, "NCCL_DEBUG_SUBSYS": f"{x}"}
old = "\\d" + os.getenv("NCCL_IB_TC")
"""


def test_a_program_in_python_is_read_and_not_run():
    script = read_script(PYTHON, "start.py")
    assert script.dialect is Dialect.PYTHON
    assert [(one.name, one.value, one.line) for one in script.settings] == [
        ("NCCL_DEBUG", "INFO", 4),
        ("NCCL_DEBUG", "WARN", 5),
        ("NCCL_PROTO", None, 6),
        ("NCCL_IB_SL", "3", 8),
        ("NCCL_IB_SL", "4", 10),
        ("NCCL_DEBUG_SUBSYS", None, 11),
        ("NCCL_IB_TC", "5", 11),
    ]
    assert script.used == {"NCCL_IB_TC"}
    assert lint(script, catalog()) == ()


@pytest.mark.parametrize("text", ["print 'NCCL_DEBUG'", "x = (" * 5000, "\0", "x" + ".y" * 20000, "f" + "(0)" * 3000])
def test_what_is_no_python_or_too_deep_for_it_sets_nothing(text):
    assert read_script(text, "x.py").settings == ()


def test_apptainer_takes_several_variables_in_one_word_and_cleans_by_e():
    text = "apptainer exec -e --env NCCL_IB_HCA==mlx5_0,mlx5_3,NCCL_DEBUG=WARN x.sif true"
    settings = read_script(text, "x.sh").settings
    assert [(one.name, one.value) for one in settings] == [("NCCL_IB_HCA", "=mlx5_0,mlx5_3"), ("NCCL_DEBUG", "WARN")]
