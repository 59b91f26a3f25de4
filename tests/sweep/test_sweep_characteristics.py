"""The script that shows how often a sweep is right: its scenarios, its judge and its line."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

import pytest

PATH = pathlib.Path(__file__).parents[2] / "scripts" / "sweep_operating_characteristics.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("sweep_operating_characteristics", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_scenarios_are_what_their_names_say(script):
    for name in script.SCENARIOS:
        fabric = script.fabric_of(name, "cv3")
        best = {p.size_bytes: row[script.DEFAULT_CELL] / min(row.values()) for p, row in fabric.times.items()}
        if name == "equal":
            assert set(best.values()) == {1.0}
        if name == "slower":
            assert 1 < max(best.values()) < 1.005
        if name == "one3":
            assert {size for size, gain in best.items() if gain > 1.001} == set(script.SIZES[4:8])
            assert max(best.values()) == pytest.approx(1.03)


@pytest.mark.parametrize(("scenario", "noise"), [("few10", "cv3"), ("faulty", "drift")])
def test_a_run_is_judged_by_the_truth(script, scenario, noise):
    run = script.one_run(scenario, noise, 0)
    assert run["change"]
    assert all(run["found"].values())
    assert run["regret"] < 0.003
    assert not run["broken"]
    assert 0 < run["cost"] < 1
    row = script.summarised(scenario, noise, [run, run], 1.0)
    assert row["found"] == 1.0
    assert row["seeds"] == 2
    assert script.line(row).startswith(scenario)


def test_nothing_is_changed_where_nothing_is_faster(script):
    run = script.one_run("slower", "cv3", 0)
    assert (run["change"], run["found"]) == (False, {})
    assert run["regret"] < 0.001 + 0.004
