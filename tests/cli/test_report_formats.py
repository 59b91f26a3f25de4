"""``report`` for issues, spreadsheets and Prometheus."""

from __future__ import annotations

import csv
import io
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ncclprobe.cli import main
from ncclprobe.cli.report import read_run
from ncclprobe.records.base import Document, Interval
from ncclprobe.records.nodes import LinkVerdict, NodesCost, NodesDocument, NodeStatus, NodeVerdict, RailVerdict
from ncclprobe.report.csv import csv_text
from ncclprobe.report.prometheus import prometheus_text
from ncclprobe.report.prometheus_names import METRICS, PREFIX
from ncclprobe.report.text.github import github_text
from ncclprobe.report.text.runs import Run, runs_text

ROOT = pathlib.Path(__file__).parents[2]
TUNE, SWEEP = ROOT / "data" / "demo_2cores_202611", ROOT / "data" / "h200x2_202611" / "sweep"
SLOW = Interval(estimate=0.2, low=0.15, high=0.25)
NODES = NodesDocument(
    nodes=tuple(
        NodeVerdict(node=node, status=status, slowdown=slowdown, evidence=f"{node} says so.")
        for node, status, slowdown in (
            ("n1", NodeStatus.OK, Interval(estimate=0.0, low=-0.01, high=0.01)),
            ("n2", NodeStatus.SLOW, SLOW),
            ("n3", NodeStatus.UNREACHABLE, None),
        )
    ),
    links=(LinkVerdict(nodes=("n1", "n2"), status=NodeStatus.SUSPECT, slowdown=SLOW, evidence="It may be slow."),),
    rails=(RailVerdict(rail="mlx5_0", nodes=("n1",), status=NodeStatus.OK, slowdown=SLOW, evidence=""),),
    cost=NodesCost(rounds=8, measurements_per_node=8, gpu_minutes_per_node=0.1),
    source="results.csv",
    exclude=("n2", "n3"),
)


def report(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["report", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


def documents(*paths: pathlib.Path) -> list[Document]:
    return [document for run in map(read_run, paths) for document in (*run.stages, run.document)]


# ---- github

PLAIN = """\
Change: it is faster.

  size    default    best
------  ---------  -------
     8     3.2 µs  Ring|LL
    4K      12 µs  Tree
* change it

stage    answer
-------  ------------
scan     one node, no
         HCA
sweep    change

To set:
  NCCL_ALGO=allreduce:tree

sweep
=====
"""
GITHUB = """\
Change: it is faster.

|   size |   default | best     |
|--------|-----------|----------|
|      8 |    3.2 µs | Ring\\|LL |
|     4K |     12 µs | Tree     |

```
* change it
```

| stage   | answer           |
|---------|------------------|
| scan    | one node, no HCA |
| sweep   | change           |

```
To set:
  NCCL_ALGO=allreduce:tree
```

## sweep"""


def test_tables_headings_and_layout_become_githubs() -> None:
    assert github_text(PLAIN) == GITHUB


@pytest.mark.parametrize("documents", [documents(TUNE), documents(SWEEP), [NODES]], ids=["tune", "sweep", "nodes"])
def test_an_issue_has_every_word_of_the_text(documents: list[Document]) -> None:
    plain = runs_text([Run(source="a", document=documents[-1], stages=tuple(documents[:-1]))])
    issue = github_text(plain)

    def words(text: str) -> set[str]:
        return {word for word in re.findall(r"[\w.%]+", text) if not re.fullmatch("[-|_]+", word)}

    assert words(plain) == words(issue)
    assert issue.count("```") % 2 == 0
    tables = [line.count("|") for line in issue.splitlines() if line.startswith("|")]
    assert tables and min(tables) >= 3


# ---- csv


def test_a_sweeps_cells_are_rows(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = report(capsys, SWEEP, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    cells = json.loads((SWEEP / "document.json").read_bytes())["cells"]
    assert (status, err, len(rows)) == (0, "", len(cells))
    for row, cell in zip(rows, cells, strict=True):
        assert (row["run"], row["algo"], int(row["size_bytes"])) == (str(SWEEP), cell["algo"], cell["size_bytes"])
        assert row["busbw_gbps"] == ("" if cell["busbw_gbps"] is None else str(cell["busbw_gbps"]))
        assert row["time_us"] == ("" if cell["time_us"] is None else str(cell["time_us"]["median"]))
        assert row["vs_default"] == ("" if cell["vs_default"] is None else str(cell["vs_default"]["ratio"]))


def test_each_kind_of_figure_has_a_table_of_its_own() -> None:
    text = csv_text((str(number), document) for number, document in enumerate([*documents(TUNE, SWEEP), NODES]))
    tables = [list(csv.reader(io.StringIO(part))) for part in text.split("\n\n")]
    kinds = [table[0][1] for table in tables]
    assert kinds == ["collective", "arm", "kind"], "cells, trials, nodes; the demo has no HCA and no variable"
    assert all(len(row) == len(table[0]) for table in tables for row in table if row)


def test_json_is_that_of_the_option_json(capsys: pytest.CaptureFixture[str]) -> None:
    as_format, as_option = (
        json.loads(report(capsys, SWEEP, *words)[1]) for words in (["--format", "json"], ["--json"])
    )
    assert as_format.pop("created") and as_option.pop("created")
    assert as_format == as_option


# ---- Prometheus


def families(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return the values by name and labels, as Prometheus' own parser for Python reads them."""
    return {
        sample.name: {tuple(sorted(one.labels.items())): one.value for one in family.samples if one.name == sample.name}
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_a_sweeps_figures_in_base_units() -> None:
    (document,) = documents(SWEEP)
    read = families(prometheus_text([document]))
    cells = json.loads((SWEEP / "document.json").read_bytes())["cells"]
    defaults = [cell for cell in cells if cell["algo"] == "default"]
    for cell in defaults:
        where = {"collective": cell["collective"], "dtype": cell["dtype"], "size_bytes": str(cell["size_bytes"])}
        labels = tuple(sorted({**where, "setting": "default"}.items()))
        assert read["ncclprobe_sweep_time_seconds"][labels] == cell["time_us"]["median"] / 1e6
        assert read["ncclprobe_sweep_bus_bandwidth_bytes_per_second"][labels] == cell["busbw_gbps"] * 1e9
    assert len(read["ncclprobe_sweep_time_seconds"]) == 2 * len(defaults)
    assert read["ncclprobe_sweep_change"] == {(("collective", "all_reduce"),): 1.0}


def test_prometheus_reads_labels_with_any_character() -> None:
    name = 'a "node"\\in\nrack–7'
    verdict = NodeVerdict(node=name, status=NodeStatus.UNREACHABLE, slowdown=None, evidence="")
    cost = NodesCost(rounds=1, measurements_per_node=1, gpu_minutes_per_node=0)
    read = families(prometheus_text([NodesDocument(nodes=(verdict,), cost=cost, source="x")]))
    assert read["ncclprobe_node_status"][(("node", name), ("status", "unreachable"))] == 1.0
    assert read["ncclprobe_node_status"][(("node", name), ("status", "ok"))] == 0.0
    assert "ncclprobe_node_slowdown_ratio" not in read, "an unknown value has no series"


def test_the_newest_run_of_a_command_counts() -> None:
    (document,) = documents(SWEEP)
    older = document.with_(created="2020-01-01T00:00:00Z", cells=document.cells[:1], launches=1)
    assert prometheus_text([document, older]) == prometheus_text([older, document]) == prometheus_text([document])


def test_every_metric_is_documented_once_and_no_other() -> None:
    page = (ROOT / "docs" / "prometheus.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", page, re.M)
    assert rows == [(f"{PREFIX}{name}", kind, help_) for name, (kind, help_) in METRICS.items()]


def test_the_dashboard_asks_for_metrics_that_are_written() -> None:
    dashboard = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    asked = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", []))
    assert set(re.findall(r"ncclprobe_(\w+)", asked)) <= set(METRICS)


def test_the_file_is_replaced_whole_and_readable_by_all(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ncclprobe.prom"
    file.write_text("old")
    status, _, err = report(capsys, SWEEP, TUNE, "--prometheus", file)
    assert (status, err) == (0, f"Wrote {file}.\n")
    assert file.read_text() == prometheus_text(documents(SWEEP, TUNE))
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file], "no temporary file is left"


def test_a_name_that_no_collector_reads_is_said(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = report(capsys, SWEEP, "--prometheus", tmp_path / "ncclprobe.txt")
    told = "node_exporter's collector reads only files whose name ends in .prom, so not ncclprobe.txt.\n"
    assert (status, err) == (0, f"Wrote {tmp_path}/ncclprobe.txt.\n{told}")


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = report(capsys, SWEEP, "--prometheus", tmp_path / "absent" / "x.prom")
    assert (status, err) == (
        1,
        f"Error: cannot write {tmp_path}/absent/x.prom: No such file or directory; choose another file\n",
    )


@pytest.mark.prometheus
def test_promtool_has_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None
    text = prometheus_text([*documents(TUNE, SWEEP), NODES])
    ended = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.prometheus
def test_a_real_prometheus_answers_every_query_of_the_dashboard() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "prometheus_check.py")]
    ended = subprocess.run(script, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "35 queries, 0 without data"
