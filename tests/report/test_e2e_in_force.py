"""What people read of what was in force in a real run on two H200s (data/h200_sglang_202611/bad)."""

import pathlib

import pytest

from ncclprobe.records.e2e import E2eDocument
from ncclprobe.report.text.e2e_in_force import in_force_text
from ncclprobe.store import read_document

BAD = pathlib.Path(__file__).parents[2] / "data" / "h200_sglang_202611" / "bad"

MANY = BAD.parents[1] / "h200_sglang_12trials_202611" / "ab"


@pytest.fixture(scope="module")
def bad():
    return read_document(BAD, [E2eDocument])


def shown(document, arm):
    """Return the collective, least size and setting of each line of an arm."""
    lines = [line.split() for line in in_force_text(document).rpartition("\n\n")[2].splitlines()[2:]]
    return [(line[1], line[2], line[4]) for line in lines if line[0] == arm and line[1] != "…"]


def test_all_reduces_come_first_and_the_rest_keeps_its_order(bad):
    assert shown(bad, "candidate") == [
        ("all_reduce", "4", "Ring/LL/1"),
        ("all_reduce", "1680K", "Ring/Simple/1"),
        ("all_gather", "16K", "Ring/LL/1"),
        ("all_gather", "1152K", "Ring/Simple/1"),
    ]
    assert {collective for collective, *_ in shown(bad, "baseline")} == {"all_reduce"}


def test_what_the_settings_are_about_comes_before_all_reduces(bad):
    found = shown(bad.with_(collectives=("all_gather",)), "candidate")
    assert [collective for collective, *_ in found] == ["all_gather", "all_gather", "all_reduce", "all_reduce"]


def test_the_sizes_with_most_bytes_are_shown_where_there_are_many():
    found = shown(read_document(MANY, [E2eDocument]), "candidate")
    assert (len(found), found[0]) == (12, ("all_reduce", "56K", "Ring/LL/7"))
    assert found[-2:] == [("all_reduce", "1792K", "Ring/LL/32"), ("all_reduce", "53760K", "Ring/Simple/32")]


def test_our_own_plugins_long_name_keeps_to_80_columns(bad):
    table = in_force_text(bad).partition("\n\n")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert "tuner-bb98860e.so" in table


def test_hcas_are_folded(bad):
    hcas = [{"name": f"mlx5_{number}", "port": 1, "link": None} for number in range(12)]
    trials = [
        trial.with_(effective={**trial.effective, "in_force": {**trial.effective["in_force"], "hcas": hcas}})
        for trial in bad.trials
        if "in_force" in trial.effective
    ]
    table = in_force_text(bad.with_(trials=tuple(trials))).partition("\n\n")[0]
    assert "mlx5_[0-11]" in table
    assert max(map(len, table.splitlines())) <= 81
