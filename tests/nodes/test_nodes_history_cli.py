import ast
import json
import math
import pathlib
import sys

import click
import numpy as np
import pytest
from click.testing import CliRunner

from ncclprobe.cli import nodes_readings
from ncclprobe.cli.nodes import command
from ncclprobe.cli.nodes_history import past_run
from ncclprobe.errors import UsageError
from ncclprobe.nodes.readings import readings
from ncclprobe.records.nodes import GroupValue
from ncclprobe.store import Manifest, RunDirectory

SWEEP = pathlib.Path(__file__).parents[2] / "data/h200x2_202611/sweep"
NODES = tuple(f"dgx{i:03d}" for i in range(1, 9))


def written(folder, days, slow_from, *, slow=0.8):
    """Write a run a day in which dgx003 is slow from some day on."""
    rng = np.random.default_rng(1)
    for day in range(1, days + 1):
        manifest = Manifest(command="nodes", argv=("ncclprobe",), seed=1, created=f"2026-11-{day:02d}T02:00:00Z")
        with RunDirectory.create(folder / f"day{day}", manifest) as directory:
            for round_ in range(6):
                order = [NODES[i] for i in rng.permutation(len(NODES))]
                for a, b in zip(order[::2], order[1::2], strict=True):
                    speed = slow if day >= slow_from and "dgx003" in (a, b) else 1.0
                    value = 40 * speed * math.exp(0.01 * rng.standard_normal())
                    directory.append(GroupValue(nodes=(a, b), value=value, unit="GB/s", round=round_), "group-value")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Return the cache directory of a test, not made yet."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "ncclprobe"


def invoke(*tokens):
    return CliRunner().invoke(command, [*tokens, "--json"], standalone_mode=False)


def answer(*tokens):
    done = invoke(*tokens)
    return done.return_value, json.loads(done.stdout)


def test_the_day_on_which_a_node_became_slow_is_found(tmp_path):
    written(tmp_path, days=6, slow_from=4)
    status, document = answer("--history", str(tmp_path))
    assert status == 3
    assert [node["node"] for node in document["nodes"] if node["status"] == "slow"] == ["dgx003"]
    (change,) = [finding for finding in document["findings"] if finding["code"] == "node-changed"]
    assert (change["subject"], change["severity"]) == ("dgx003", "warning")
    assert "since 2026-11-04T02:00:00Z" in change["message"]
    assert document["source"] == f"6 runs in {tmp_path}"


def test_a_fleet_that_did_not_change_is_healthy(tmp_path):
    written(tmp_path, days=5, slow_from=9)
    status, document = answer("--history", str(tmp_path))
    assert status == 0
    assert {node["status"] for node in document["nodes"]} == {"ok"}
    assert [finding["code"] for finding in document["findings"]] == []


def test_runs_that_cannot_be_read_are_told_and_the_others_judged(tmp_path):
    written(tmp_path, days=6, slow_from=4)
    (tmp_path / "day2" / "manifest.json").write_text("{")
    (tmp_path / "day5" / "journal.jsonl").write_text('{"kind": "group-value"}\n' * 2)
    status, document = answer("--history", str(tmp_path))
    assert status == 3
    assert [node["node"] for node in document["nodes"] if node["status"] == "slow"] == ["dgx003"]
    left_out = {finding["subject"] for finding in document["findings"] if finding["code"] == "unreadable-run"}
    assert left_out == {str(tmp_path / "day2"), str(tmp_path / "day5")}
    assert document["source"] == f"4 runs in {tmp_path}"


def test_a_folder_whose_runs_cannot_be_read_says_why(tmp_path):
    (tmp_path / "day1").mkdir()
    (tmp_path / "day1" / "manifest.json").write_text("{")
    problem = invoke("--history", str(tmp_path)).exception
    assert isinstance(problem, UsageError)
    assert "that can be read" in str(problem)
    assert f"{tmp_path / 'day1'} is no run directory" in str(problem)


def test_a_sweep_on_several_hosts_is_a_value_of_their_group_at_each_size(tmp_path):
    manifest = Manifest(command="sweep", argv=("ncclprobe",), seed=1, options={"hosts": ["dgx001", "dgx002"]})
    with RunDirectory.create(tmp_path, manifest):
        (tmp_path / "document.json").write_bytes((SWEEP / "document.json").read_bytes())
    run = past_run(tmp_path)
    defaults = [
        cell for cell in json.loads((SWEEP / "document.json").read_bytes())["cells"] if cell["algo"] == "default"
    ]
    assert [value.value for value in run.values] == [cell["busbw_gbps"] for cell in defaults]
    assert {value.nodes for value in run.values} == {("dgx001", "dgx002")}
    assert run.values[0].unit == f"default all_reduce float32 of {defaults[0]['size_bytes']} bytes, GB/s"


@pytest.mark.parametrize(("command_", "hosts"), [("sweep", ["dgx001"]), ("sweep", None), ("scan", ["a", "b"])])
def test_other_runs_say_nothing_of_nodes(tmp_path, command_, hosts):
    manifest = Manifest(command=command_, argv=("ncclprobe",), seed=1, options={"hosts": hosts} if hosts else {})
    with RunDirectory.create(tmp_path, manifest):
        (tmp_path / "document.json").write_bytes((SWEEP / "document.json").read_bytes())
    assert past_run(tmp_path).values == ()


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"holds no run of nodes"):
        raise invoke("--history", str(tmp_path)).exception


@pytest.mark.parametrize("others", [["--from", "x.csv"], ["--rounds", "3"], ["--lower-is-better"]])
def test_history_contradicts_other_ways(tmp_path, others):
    with pytest.raises(UsageError):
        raise invoke("--history", str(tmp_path), *others).exception


# ---- readings that are kept


def fits(monkeypatch):
    """Return a list to which the number of a run's values is added whenever its readings are looked for."""
    looked = []
    monkeypatch.setattr(nodes_readings, "readings", lambda values: looked.append(len(values)) or readings(values))
    return looked


def look(folder):
    """Return what a history says, without the time at which it was asked."""
    return {name: value for name, value in answer("--history", str(folder))[1].items() if name != "created"}


def test_a_second_look_finds_the_same_and_works_out_new_runs_alone(tmp_path, cache, monkeypatch):
    written(tmp_path / "runs", days=6, slow_from=4)
    looked = fits(monkeypatch)
    first = look(tmp_path / "runs")
    assert look(tmp_path / "runs") == first
    assert looked == [24] * 6
    (kept,) = cache.iterdir()
    assert len(kept.read_text().splitlines()) == 7
    (tmp_path / "runs/day1/journal.jsonl").write_text((tmp_path / "runs/day2/journal.jsonl").read_text())
    (tmp_path / "runs/day3/manifest.json").unlink()
    look(tmp_path / "runs")
    assert looked == [24] * 6, "a run with another's values has its readings; one that is gone needs none"
    assert len(kept.read_text().splitlines()) == 5
    last = tmp_path / "runs/day6/journal.jsonl"
    last.write_text("".join(last.read_text().splitlines(keepends=True)[:-1]))
    look(tmp_path / "runs")
    assert looked == [*[24] * 6, 23]


def test_readings_of_another_model_or_damaged_ones_are_found_anew(tmp_path, cache, monkeypatch):
    written(tmp_path / "runs", days=3, slow_from=9)
    looked, first = fits(monkeypatch), look(tmp_path / "runs")
    (kept,) = cache.iterdir()
    model, *lines = kept.read_text().splitlines()
    for text in (
        "\n".join(["0" * 64, *lines]),
        "\n".join([model, *(line[:-9] for line in lines)]),
        "\n".join([model, *(f"{line[:64]} {{}}" for line in lines)]),
        "",
        "\udcff",
    ):
        kept.write_bytes(text.encode("utf-8", "surrogateescape"))
        assert look(tmp_path / "runs") == first
    assert looked == [24] * 18
    assert kept.read_text().splitlines() == [model, *lines]


def test_readings_that_others_could_have_written_are_not_used(tmp_path, cache, monkeypatch):
    written(tmp_path / "runs", days=3, slow_from=9)
    looked, first = fits(monkeypatch), look(tmp_path / "runs")
    cache.chmod(0o777)
    assert look(tmp_path / "runs") == first
    cache.chmod(0o700)
    next(cache.iterdir()).chmod(0o666)
    assert look(tmp_path / "runs") == first
    assert looked == [24] * 9


def test_without_a_cache_the_answer_is_the_same(tmp_path, monkeypatch):
    written(tmp_path / "runs", days=3, slow_from=9)
    first = look(tmp_path / "runs")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    assert look(tmp_path / "runs") == first


def test_a_look_that_is_interrupted_keeps_what_it_has_found(tmp_path, cache, monkeypatch):
    written(tmp_path / "runs", days=3, slow_from=9)
    looked = []

    def interrupted(values):
        looked.append(len(values))
        if len(looked) == 3:
            raise KeyboardInterrupt
        return readings(values)

    monkeypatch.setattr(nodes_readings, "readings", interrupted)
    assert isinstance(invoke("--history", str(tmp_path / "runs")).exception, click.exceptions.Abort | KeyboardInterrupt)
    assert len(next(cache.iterdir()).read_text().splitlines()) == 3
    look(tmp_path / "runs")
    assert looked == [24] * 4


def test_readings_are_kept_under_all_modules_that_they_follow_from():
    known, left = set(), ["ncclprobe.nodes.readings"]
    while left:
        name = left.pop()
        known.add(name)
        tree = ast.parse(pathlib.Path(sys.modules[name].__file__).read_text())
        named = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        left += [
            module
            for module in named - known
            if module.startswith("ncclprobe.") and not module.startswith("ncclprobe.records")
        ]
    assert known == set(nodes_readings.MODEL)
