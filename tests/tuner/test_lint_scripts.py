"""Whole scripts: what an expert would say of them, and nothing where there is nothing to say.

The scripts in tests/data/lint are our own: ``clean`` are of the kinds that clusters run, ``reports`` are in the style
of published tuning reports, with the mistakes that are seen there.
"""

import pathlib

import pytest

from ncclprobe.tuner.catalog import catalog
from ncclprobe.tuner.lint import lint
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
