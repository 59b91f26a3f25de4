"""The table of variables against what the script found in NCCL's sources, libraries and documentation."""

import csv
import pathlib
import re

import pytest

from ncclprobe.tuner.catalog import catalog
from ncclprobe.tuner.explain import DOCUMENTATION, OVERRIDES, explained
from ncclprobe.tuner.lint_values import _CHECKS
from ncclprobe.tuner.variables import OLDEST, known_to_sglang, nearest, release

ROOT = pathlib.Path(__file__).parents[2]
DATA = ROOT / "data/nccl_variables"
NCCL = catalog().nccl


def found():
    with (DATA / "found.csv").open(encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_the_table_has_every_name_that_the_script_found_and_no_other():
    assert set(NCCL) == set(found())


def test_it_has_every_documented_name_and_every_parameter():
    rows = found().values()
    documented = [row["name"] for row in rows if row["documented"] == "yes"]
    newest = max((row["last"] for row in rows), key=release)
    parameters = [row["name"] for row in rows if row["how"].startswith(("param", "defined")) and row["last"] == newest]
    assert (len(documented), len(parameters)) == (124, 205)
    assert all(NCCL[name].documented == "yes" for name in documented)
    assert all(NCCL[name].until == "" for name in parameters)


def test_its_facts_are_those_found():
    for name, row in found().items():
        variable = NCCL[name]
        assert variable.since == row["first"]
        assert variable.source == row["file"]
        assert (variable.documented == "yes") is (row["documented"] == "yes")
        if row["how"].startswith(("param", "defined")):
            assert variable.default == row["default"]


def test_each_row_is_complete():
    for variable in NCCL.values():
        assert variable.about.endswith(".")
        assert variable.read in ("process", "communicator")
        assert variable.replaced_by in ("", *NCCL)
        assert re.fullmatch(r"|-?\d+\.\.-?\d*|[\w,]+", variable.values)
        assert variable.type in (*_CHECKS, "algo", "proto", "hca", "ifname", "list", "path", "text")


@pytest.mark.parametrize(
    ("name", "since", "until", "read", "default"),
    [
        ("NCCL_ALGO", "2.5.6", "", "communicator", ""),
        ("NCCL_PROTO", "2.5.6", "", "communicator", ""),
        ("NCCL_NTHREADS", "2.3.5", "", "process", "-2"),
        ("NCCL_IB_TIMEOUT", "2.3.5", "", "process", "20"),
        ("NCCL_COLLNET_ENABLE", "2.6.4", "", "communicator", ""),
        ("NCCL_CTA_POLICY", "2.27.3", "", "process", ""),
        ("NCCL_P2P_NET_CHUNKSIZE", "2.14.3", "", "process", "131072"),
        ("NCCL_WORK_FIFO_DEPTH", "2.13.4", "2.21.5", "process", "65536"),
        ("NCCL_IB_RAIL_POLICY", "2.32.3", "", "process", ""),
    ],
)
def test_known_facts(name, since, until, read, default):
    variable = NCCL[name]
    assert (variable.since, variable.until, variable.read, variable.default) == (since, until, read, default)


def test_removed_ones_have_a_last_version():
    gone = [variable.name for variable in NCCL.values() if variable.until and release(variable.until) < release(OLDEST)]
    assert "NCCL_IB_CUDA_SUPPORT" in gone
    assert "NCCL_P2P_DISABLE" not in gone


def test_data_shows_the_tables_that_the_package_has():
    for table in ("nccl_variables.csv", "sglang_variables.csv"):
        assert (DATA / table).read_bytes() == (ROOT / "ncclprobe/tuner" / table).read_bytes()


def test_sglang_takes_its_older_prefix():
    assert known_to_sglang("SGLANG_ENABLE_JIT_DEEPGEMM", catalog())
    assert known_to_sglang("SGL_ENABLE_JIT_DEEPGEMM", catalog())
    assert not known_to_sglang("SGL_ENABLE_JIT_DEEPEGEMM", catalog())


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("NCCL_P2P_NVL_DISABLE", "NCCL_P2P_DISABLE"),
        ("NCCL_IB_HCAS", "NCCL_IB_HCA"),
        ("NCCL_IB_QPS", "NCCL_IB_QPS_PER_CONNECTION"),
        ("NCCL_ALGORITHM", "NCCL_ALGO"),
        ("NCCL_MIN_CHANNELS", "NCCL_MIN_NCHANNELS"),
    ],
)
def test_the_nearest_name(name, first):
    assert nearest(name, NCCL)[0] == first


def test_nothing_is_near_to_something_else():
    assert nearest("NCCL_QUANTUM", NCCL) == ()


def test_explanations_name_only_known_variables():
    named = {name for notes in OVERRIDES.values() for note in notes for name in re.findall(r"NCCL_[A-Z0-9_]+", note)}
    assert named | set(OVERRIDES) <= set(NCCL) | {"NCCL_CONF_FILE"}


def test_an_explanation():
    variable = explained("NCCL_P2P_LEVEL", catalog())
    assert variable.name == "NCCL_P2P_LEVEL"
    assert variable.values == "a distance: LOC, NVL, PIX, PXB, PHB, SYS"
    assert variable.since == "2.3.5"
    assert variable.documented == f"{DOCUMENTATION}#nccl-p2p-level"
    assert variable.overrides[0] == "NCCL_P2P_DISABLE=1 counts before it."


@pytest.mark.parametrize(
    ("name", "near"),
    [("IB_HCA", ("NCCL_IB_HCA",)), ("nccl_ib_hca", ("NCCL_IB_HCA",)), ("PATH", ()), ("HOME", ()), ("LIB", ())],
)
def test_a_name_is_explained_as_it_stands_alone(name, near):
    variable = explained(name, catalog())
    assert (variable.name, variable.known, variable.nearest) == (name, False, near)


def test_an_explanation_of_what_nobody_knows():
    variable = explained("NCCL_P2P_NVL_DISABLE", catalog())
    assert (variable.known, variable.about, variable.nearest[0]) == (False, None, "NCCL_P2P_DISABLE")
