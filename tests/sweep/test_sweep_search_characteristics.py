"""The script that shows how often a search finds the best environment: its fabrics, its judge and its line."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

import pytest

PATH = pathlib.Path(__file__).parents[2] / "scripts" / "sweep_search_characteristics.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("sweep_search_characteristics", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_fabrics_are_what_their_names_say(script):
    envs = ((), *script.environments(script.AXES))
    gains = {
        name: [script.best_gain(script.fabric_of(name, "quiet", 3), env) for env in envs] for name in script.SCENARIOS
    }
    assert len(envs) == 256
    assert all(gains[name][0] == pytest.approx(0) for name in gains)
    assert set(gains["nothing"]) == {0.0}
    assert sum(gain > 0.09 for gain in gains["needle"]) == 16, "a pair of values, with any of the other two variables"
    assert max(gains["interacting"]) > max(gains["additive"])


def test_a_run_is_judged_by_the_truth(script):
    run = script.one_run("needle", "quiet", 3, grid=False)
    assert (run["env"], run["choice"], run["worse"]) == (True, True, False)
    assert run["regret"] < 0.005
    assert run["tried"] < 90
    row = script.summarised("needle", "quiet", [run, run], False, 1.0)
    assert (row["how"], row["seeds"], row["choice"]) == ("optuna", 2, 1.0)
    assert script.line(row).startswith("needle")
