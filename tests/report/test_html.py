"""The page as text: what is said, what is escaped, what is hidden."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import pathlib
import re
from typing import Any

import msgspec
import pytest
from html_samples import EVIL, LINKED, e2e, evil_documents, nodes, sweep

from ncclprobe.cli import main
from ncclprobe.records.base import Document, Interval
from ncclprobe.records.e2e import Comparison, E2eVerdict
from ncclprobe.records.nodes import GroupValue, NodeStatus
from ncclprobe.records.watch import Check, CheckStatus, WatchDocument
from ncclprobe.report.html.compare import time_ratio
from ncclprobe.report.html.figures import SYMBOLS, look
from ncclprobe.report.html.machine import repeat
from ncclprobe.report.html.markup import element
from ncclprobe.report.html.other import _BODIES
from ncclprobe.report.html.page import page
from ncclprobe.report.html.pairs import pair_losses, pairs_figure
from ncclprobe.report.html.part import Origin, Part, Shown
from ncclprobe.report.html.script import SCRIPT
from ncclprobe.report.html.style import STYLE
from ncclprobe.report.text.runs import Run, all_findings
from ncclprobe.report.text.verdict import DOCUMENTS, verdict
from ncclprobe.secrecy import open_tokens, open_variables, without_secrets

LIBRARY = "window.Bokeh = {};"
ORIGIN = Origin(
    argv=("/venv/bin/ncclprobe", "sweep", "--algo", "Tree,Ring"), created="2026-11-22T04:36:21Z", host="node1",
    python="3.12.3", platform="Linux", seed=7, environment={"NCCL_DEBUG": "INFO", "SGLANG_API_KEY": "hush"},
)  # fmt: skip


def shown(document: Document, source: str = "run") -> Shown:
    return Shown(source=source, parts=(Part(document=document, origin=ORIGIN),))


def paged(*documents: Document) -> str:
    runs = [shown(document, f"run{number}") for number, document in enumerate(documents)]
    findings = all_findings(Run(source=run.source, document=run.document) for run in runs)
    return page(runs, findings, LIBRARY)


def figures(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert found
    return {figure["key"]: figure for figure in json.loads(found[1])}


def body(text: str) -> str:
    """Return the page without what is data or script."""
    return text.partition("</style>")[2].partition('<script type="application/json"')[0]


@pytest.mark.parametrize("document", [sweep(), nodes("n1", "n2", slow="n2"), e2e()], ids=lambda one: one.schema)
def test_the_verdict_comes_first_and_findings_and_the_command_last(document: Document) -> None:
    text = body(paged(document))
    places = [text.index(element("p", verdict(document), class_="verdict")), text.index("<figure"),
              text.index(">Findings<"), text.index("ncclprobe sweep --algo Tree,Ring --seed 7")]  # fmt: skip
    assert places == sorted(places)


def test_every_document_that_can_be_reported_has_a_part() -> None:
    assert set(_BODIES) == set(DOCUMENTS)


def test_a_watch_shows_its_checks() -> None:
    check = Check(
        number=1, started="2026-11-22T13:04:34Z", seconds=1.2, status=CheckStatus.DONE, exit_status=0,
        path="1-nodes", message="8 nodes; none stands out.",
    )  # fmt: skip
    text = body(paged(WatchDocument(findings=(), check="nodes", arguments=(), every_s=3600.0, checks=(check,))))
    assert re.findall(r"<td[^>]*>(.*?)</td>", text)[:3] == ["done", "1.2 s", "8 nodes; none stands out."]


def test_every_cell_is_drawn_with_its_interval_on_log_axes() -> None:
    drawn = figures(paged(sweep()))
    busbw, time, gain = drawn["run-0-0-0-busbw"], drawn["run-0-0-0-time"], drawn["run-0-0-0-gain"]
    assert [trace["name"] for trace in busbw["traces"]] == ["default", "Ring"]
    assert [busbw["layout"][axis]["type"] for axis in ("xaxis", "yaxis")] == ["log", "log"]
    assert busbw["layout"]["xaxis"]["ticktext"] == ["1K", "2K"]
    assert time["traces"][0]["y"] == [112.0, 112.0]
    assert time["traces"][0]["error_y"]["array"] == pytest.approx([1.12, 1.12])
    assert busbw["traces"][0]["error_y"]["array"] == pytest.approx([1.5 / 0.99 - 1.5] * 2)
    assert [(trace["name"], trace["x"], trace["y"]) for trace in gain["traces"]] == [
        ("chosen", [2048], [1.12]), ("default stays", [1024], [0.9]),
    ]  # fmt: skip


def test_lines_differ_without_colours() -> None:
    assert len({(look(number).symbol, look(number).dash) for number in range(32)}) == 32
    assert {look(number).symbol for number in range(32)} == set(SYMBOLS)


def test_trials_stand_in_the_order_of_time_and_warm_ups_are_hollow() -> None:
    baseline, candidate = figures(paged(e2e()))["run-0-0-trials"]["traces"]
    assert (baseline["x"], baseline["y"], candidate["x"]) == ([1, 2], [100.0, 101.0], [3])
    assert baseline["marker"]["symbol"] == ["circle-open", "circle"]


def test_arms_with_long_names_are_told_apart() -> None:
    arms = [f"NCCL_ALGO=Tree,NCCL_PROTO={proto}" for proto in ("LL", "LL128")]
    one = Comparison(
        arm="", verdict=E2eVerdict.FASTER, ratio=Interval(estimate=1.1, low=1.0, high=1.2), trials=2, env={}
    )
    ratio = figures(paged(e2e().with_(comparisons=tuple(one.with_(arm=arm) for arm in arms))))["run-0-0-ratio"]
    assert ratio["layout"]["xaxis"]["ticktext"] == ["…PROTO=LL", "…PROTO=LL128"]


def test_trials_are_counted_from_1_everywhere() -> None:
    text = paged(e2e())
    rows = re.findall(r'<th scope="row" class="right">(\d+)</th><td class="left">(?:baseline|candidate)', text)
    assert rows == ["1", "2", "3"]
    said = [one for trace in figures(text)["run-0-0-trials"]["traces"] for one in trace["customdata"]]
    assert [one.partition(":")[0] for one in said] == ["1", "2", "3"]


def test_warm_ups_are_spoken_of_where_there_are_some() -> None:
    document = e2e()
    assert "More is better; hollow is a warm-up." in paged(document)
    text = paged(document.with_(trials=document.trials[1:]))
    assert "More is better." in text
    assert "hollow" not in text


def test_effective_settings_and_telemetry_stand_beside_each_other() -> None:
    text = paged(e2e())
    assert (
        '<th scope="row" class="left">env.NCCL_ALGO</th><td class="left">baseline</td><td class="left">candidate'
        in text
    )
    assert '<th scope="row" class="left">telemetry.0.power_w</th><td class="left">301</td><td class="left">302' in text


def test_pairs_are_compared_with_their_round() -> None:
    groups = [
        GroupValue(nodes=("a", "b"), value=100.0, round=0), GroupValue(nodes=("c", "d"), value=80.0, round=0),
        GroupValue(nodes=("a", "c"), value=40.0, round=1), GroupValue(nodes=("b", "d"), value=40.0, round=1),
        GroupValue(nodes=("a", "d"), value=1.0, round=2, status="failed"),
    ]  # fmt: skip
    losses = pair_losses(nodes("a", "b"), groups)
    assert losses == pytest.approx({("a", "b"): -1 / 9, ("c", "d"): 1 / 9, ("a", "c"): 0.0, ("b", "d"): 0.0})
    (trace,) = pairs_figure("pairs", ["a", "b", "c", "d"], losses).traces
    cells = dict(zip(zip(trace["x"], trace["y"], strict=True), trace["marker"]["color"], strict=True))
    assert {column: loss for (column, row), loss in cells.items() if row == 2} == {0: 0.0, 3: 11.11}
    assert [cells.get((at, at)) for at in range(4)] == [None] * 4
    assert (trace["customdata"][-1], trace["text"][-1]) == ("d – c\n11.1 % below", "11")


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_slower_pairs_stand_out_more_in_either_theme(theme: int) -> None:
    paper, *scale = (re.findall(rf"--{name}: (#[0-9a-f]{{6}})", STYLE)[theme] for name in ("paper", "s0", "s1", "s2"))
    contrasts = [contrast(paper, shade) for shade in scale]
    assert contrasts == sorted(contrasts)
    assert contrasts[-1] > 10


def contrast(one: str, two: str) -> float:
    """Return WCAG 2.2's contrast ratio of two shades."""
    low, high = sorted(map(luminance, (one, two)))
    return (high + 0.05) / (low + 0.05)


def luminance(shade: str) -> float:
    parts = [int(shade[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_pair_is_one_whatever_its_order() -> None:
    groups = [
        GroupValue(nodes=("a", "b"), value=100.0, round=0), GroupValue(nodes=("c", "d"), value=80.0, round=0),
        GroupValue(nodes=("b", "a"), value=100.0, round=1), GroupValue(nodes=("d", "c"), value=80.0, round=1),
    ]  # fmt: skip
    assert pair_losses(nodes("a", "b"), groups) == pytest.approx({("a", "b"): -1 / 9, ("c", "d"): 1 / 9})


def test_without_measured_values_pairs_are_the_documents_links() -> None:
    assert pair_losses(nodes("a", "b"), ()) == {("a", "b"): 0.0}


def test_runs_are_compared() -> None:
    text = paged(sweep(time=112.0), sweep(time=56.0))
    ratios = figures(text)["compare-0-ratio"]["traces"]
    assert [(trace["name"], trace["x"], trace["y"]) for trace in ratios] == [("A / B", [1024, 2048], [2.0, 2.0])]
    assert '<td class="right">2.000 (1.972 to 2.028)</td>' in text


def test_runs_of_nodes_are_compared_by_nodes_links_and_rails() -> None:
    fine, bad = nodes("n1", "n2"), Interval(estimate=0.31, low=0.26, high=0.35)
    link = fine.links[0].with_(status=NodeStatus.SLOW, slowdown=bad)
    rail = fine.rails[0].with_(status=NodeStatus.UNREACHABLE, slowdown=None)
    text = paged(fine.with_(links=(link,)), fine.with_(links=()), fine.with_(rails=(rail,), nodes=()))
    table = text.partition(">Side by side<")[2].partition("</table>")[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table.split("<tr>")[2:]]
    assert rows == [
        ["link n1–n2", "slow, 31.0 % (26.0 to 35.0 %)", "-", "ok, 0.0 % (-1.0 to 1.0 %)"],
        ["rail rail n1", "ok, 0.0 % (-1.0 to 1.0 %)", "ok, 0.0 % (-1.0 to 1.0 %)", "unreachable"],
    ]
    assert "No node, link or rail stands out in any of the runs." in paged(fine, fine)


def test_the_ratio_of_two_runs_holds_both_spreads() -> None:
    first, other = sweep().cells[0], sweep(time=112.0).cells[0]
    ratio = time_ratio(first, other)
    assert ratio is not None
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx((1.0, 0.98595, 1.01425), abs=1e-4)
    assert time_ratio(first.with_(time_us=None), other) is None


# ---- data stay data


def test_nothing_in_a_document_becomes_an_element() -> None:
    text = paged(*evil_documents(), evil_documents()[0])
    outside = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    assert outside.count("<script") == 3
    assert "<img" not in outside
    assert element("b", EVIL)[3:-4] in outside


def test_labels_of_plots_are_text_that_ends_no_element() -> None:
    text = paged(*evil_documents())
    data = text.partition('id="figures">')[2].partition("</script>")[0]
    assert not set(data) & set("<>&")
    assert json.dumps(LINKED)[1:-1] in msgspec.json.encode(figures(text)).decode()
    assert not re.search(r"innerHTML|insertAdjacent|document.write|\beval\b|Function\(|CustomJS|HoverTool", SCRIPT)


def test_the_file_may_load_nothing_and_run_its_two_scripts_alone() -> None:
    text = paged(sweep())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    own = text.rpartition("<script>")[2].partition("</script>")[0]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in (own, LIBRARY)]
    assert policy[1].startswith(f"default-src 'none'; script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}';")
    addresses = re.findall(r'<[a-z]+ [^>]*(?:src|href)="([^"]*)"', text)
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    packed = re.search(r'id="library">([^<]*)<', text)
    assert packed
    assert gzip.decompress(base64.b64decode(packed[1])).decode() == LIBRARY


def test_a_page_is_the_same_each_time() -> None:
    document = sweep()
    assert paged(document) == paged(document)


# ---- secrets


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("HF_TOKEN=abc x", "HF_TOKEN=(hidden) x"),
        ("AWS_SECRET_ACCESS_KEY: abc", "AWS_SECRET_ACCESS_KEY: (hidden)"),
        ("run --api-key abc --tp 2", "run --api-key (hidden) --tp 2"),
        ('{"api_key": "a b", "tp": 2}', '{"api_key": (hidden), "tp": 2}'),
        ("Authorization: Bearer abc", "Authorization: Bearer (hidden)"),
        ("https://me:word@host/path", "https://(hidden)@host/path"),
        ("--max-tokens=16 token_bytes=4 NCCL_ALGO=Tree", "--max-tokens=16 token_bytes=4 NCCL_ALGO=Tree"),
    ],
)
def test_secrets_are_hidden(text: str, said: str) -> None:
    assert without_secrets(text) == said


def test_secrets_are_hidden_in_variables_and_commands() -> None:
    assert open_variables({"SGLANG_API_KEY": "hush", "NCCL_ALGO": "Tree"}) == {
        "SGLANG_API_KEY": "(hidden)", "NCCL_ALGO": "Tree",
    }  # fmt: skip
    assert [*open_tokens(["run", "--api-key", "hush", "--tp", "2"])] == ["run", "--api-key", "(hidden)", "--tp", "2"]


def test_no_secret_reaches_the_page() -> None:
    text = paged(sweep(), e2e(env={"HF_TOKEN": "hush"}))
    assert "hush" not in text
    assert text.count("(hidden)") == 3


# ---- the command that repeats it


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("ncclprobe/__main__.py", "sweep"), "ncclprobe sweep --seed 7"),
        (("ncclprobe", "sweep", "--seed", "3"), "ncclprobe sweep --seed 3"),
        (("ncclprobe", "validate-e2e", "--", "sh", "-c", "a b"), "ncclprobe validate-e2e --seed 7 -- sh -c 'a b'"),
        (("ncclprobe", "sweep", "--out", "run", "--algo", "Tree"), "ncclprobe sweep --algo Tree --seed 7"),
        (("ncclprobe", "sweep", "--out=run", "--seed=3"), "ncclprobe sweep --seed=3"),
        (
            ("ncclprobe", "validate-e2e", "--out", "run", "--", "sh", "--out", "x"),
            "ncclprobe validate-e2e --seed 7 -- sh --out x",
        ),
        (("ncclprobe", "x", "--password", "hush"), "ncclprobe x --password '(hidden)' --seed 7"),
    ],
)
def test_the_command_can_be_repeated(argv: tuple[str, ...], said: str) -> None:
    assert repeat(ORIGIN.with_(argv=argv)) == said


# ---- the command line


def test_report_writes_one_file_beside_its_text(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("bokeh")
    run = tmp_path / "run.json"
    run.write_bytes(msgspec.json.encode(sweep()))
    with pytest.raises(SystemExit) as ended:
        main(["report", "--html", str(tmp_path / "report.html"), str(run)])
    captured = capsys.readouterr()
    assert ended.value.code == 3, "the run has an error-level finding"
    assert "Change: 12.0 % faster" in captured.out
    assert captured.err == f"Wrote {tmp_path / 'report.html'}.\n"
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Bokeh" in gzip.decompress(base64.b64decode(re.search(r'id="library">([^<]*)<', text)[1])).decode()[:200]  # type: ignore[index]
    assert "is a document alone; its run directory has the command and the machine." in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "run.json"]
