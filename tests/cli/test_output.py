"""What every command shares: quiet and verbose, colour, and what to do next."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

from ncclprobe.cli import main, progress
from ncclprobe.cli.colour import is_coloured, painted, with_colour
from ncclprobe.findings import error
from ncclprobe.records.base import Document, EnvVariable, Interval
from ncclprobe.records.e2e import E2eDocument, E2eVerdict
from ncclprobe.records.inspect import InspectDocument, TunerRow
from ncclprobe.records.nodes import NodesCost, NodesDocument, NodeStatus, NodeVerdict
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import Choice, Cost, Ratio, SweepDocument, TableRow, Verdict
from ncclprobe.records.tune import TuneDocument
from ncclprobe.records.watch import WatchDocument
from ncclprobe.report.text.findings import findings_text
from ncclprobe.report.text.next_step import next_step
from ncclprobe.report.text.scan import scan_text
from ncclprobe.report.text.verdict import verdict

ROOT = pathlib.Path(__file__).parents[2]
FABRIC = ROOT / "tests" / "data" / "terminal" / "fabric.toml"
SWEEP = ["sweep", "--fabric", str(FABRIC), "--sizes", "8:1G:64", "--seed", "1"]
BAD = error("port-down", "n1", "The port is DOWN.", "Look at the cable.")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main([*map(str, arguments)])
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


# ---- what cannot be written


@pytest.mark.parametrize(
    ("arguments", "full", "status"),
    [
        (["--help"], "stdout", 1),
        (["report", str(ROOT / "data" / "demo_2cores_202611"), "--json"], "stdout", 1),
        (["sweep", "--resume", "/no/such/run"], "stderr", 2),
        (["sweep", "--no-such-option"], "stderr", 2),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_ends_in_one_message_and_the_right_status(
    arguments: list[str], full: str, status: int, unbuffered: str
) -> None:
    other = "stderr" if full == "stdout" else "stdout"
    with open("/dev/full", "w") as disk:  # noqa: PTH123 (a device)
        streams = {full: disk, other: subprocess.PIPE}
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        ended = subprocess.run([sys.executable, "-m", "ncclprobe", *arguments], env=environment, text=True, **streams)
    assert ended.returncode == status
    said = "Error: No space left on device; what was measured is kept\n"
    assert getattr(ended, other) == (said if full == "stdout" else "")


# ---- numbers


@pytest.mark.parametrize("text", ["nan", "inf"])
def test_an_option_takes_finite_numbers_alone(capsys: pytest.CaptureFixture[str], text: str) -> None:
    status, _, err = run(capsys, *SWEEP, "--budget", text)
    assert (status, err.splitlines()[-1]) == (2, f"Error: Invalid value for '--budget': '{text}' is no finite number.")


# ---- --quiet and --verbose


def test_quiet_prints_the_answer_alone(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, *SWEEP, "--out", tmp_path / "run", "--quiet")
    assert (status, err) == (0, "")
    assert out == (
        "Change: 23.4 % faster (95 % interval 23.4 to 23.4 %) over all measured sizes, by 2 ranges of sizes "
        "(simulated fabric quiet pair, 16 ranks).\n"
    )


def test_verbose_says_each_launch(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, *SWEEP, "--out", tmp_path / "run", "-v")
    lines = err.splitlines()
    assert (status, lines[0]) == (0, "simulated fabric quiet pair, 16 ranks: 4 cells at 5 sizes")
    assert lines[1:] and all(re.fullmatch(r"(explore|confirm) \d+: \d cells?, \d sizes?", line) for line in lines[1:])


def test_without_a_terminal_a_line_is_said_now_and_then(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    _, _, err = run(capsys, *SWEEP, "--budget", "90", "--out", tmp_path / "run")
    lines = err.splitlines()[1:]
    assert lines and all(re.fullmatch(r"\w+ \d+: \d cells?, \d sizes?, budget (89|90) s", line) for line in lines)


def test_settings_to_load_are_printed_whole_even_if_quiet(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, *SWEEP, "--out", tmp_path / "run", "-q")
    loud = run(capsys, "env", "emit", tmp_path / "run", "--format", "tuner")
    assert run(capsys, "env", "emit", tmp_path / "run", "--format", "tuner", "-q") == loud
    assert "Next:" not in loud[1]


def test_quiet_and_verbose_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "scan", "-q", "-v", "--out", "-")[::2] == (
        2,
        "Error: --quiet and --verbose exclude each other\n",
    )


# ---- colour


@pytest.mark.parametrize(
    ("environment", "is_terminal", "expected"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(environment: dict[str, str], is_terminal: bool, expected: bool) -> None:
    assert is_coloured(environment, is_terminal=is_terminal) is expected


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("error port-down (n1): it is", "error"),
        ("warning low-memlock (n1): it is", "warning"),
        ("slow: 1 of 2 nodes: n2", "slow"),
        ("n2  slow      15.0 %", "slow"),
        ("Change: 3 % faster", "Change"),
        ("Next: measure", "Next"),
        ("a slow node, an error and a Change", ""),
        ("errors are warned of", ""),
    ],
)
def test_one_word_of_a_line_is_coloured(line: str, word: str) -> None:
    painted = with_colour(line)
    assert re.findall(r"\x1b\[\d+m\x1b\[1m(\w+)\x1b\[0m", painted) == ([word] if word else [])
    assert re.sub(r"\x1b\[\d+m", "", painted) == line


# ---- what to do next


def sweep(verdict: Verdict, **changes: object) -> SweepDocument:
    row = TableRow(collective="all_reduce", min_bytes=8, max_bytes=8, algo="Tree", proto="LL", nchannels=None)
    table = (row,) if verdict is Verdict.CHANGE else ()
    gain = Ratio(ratio=1.1, low=1.05, high=1.2)
    document = SweepDocument(
        backend="nccl", library="NCCL 2.28.9", nranks=8, nnodes=1, launches=3, seed=1, cells=(),
        choice=Choice(verdict=verdict, env={}, table=table, gain=gain), cost=Cost(measured_s=1, exhaustive_s=2),
    )  # fmt: skip
    return document.with_(**changes)


def nodes(status: NodeStatus, exclude: tuple[str, ...] = ()) -> NodesDocument:
    slowdown = Interval(estimate=0.2, low=0.1, high=0.3)
    return NodesDocument(
        nodes=(NodeVerdict(node="n1", status=status, slowdown=slowdown, evidence=""),),
        cost=NodesCost(rounds=1, measurements_per_node=1, gpu_minutes_per_node=0), source="x", exclude=exclude,
    )  # fmt: skip


PAST = NodesCost(rounds=0, measurements_per_node=4, gpu_minutes_per_node=0)
"""Of results that were measured before, as --from reads them."""


def e2e(verdict: E2eVerdict) -> E2eDocument:
    return E2eDocument(
        workload="proxy", metric="tok_s", baseline={}, candidate={}, trials=(), verdict=verdict, ratio=None,
        trials_per_arm=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (ScanDocument(hosts=()), "Next: measure whether any setting beats the defaults.\n  ncclprobe sweep"),
        (ScanDocument(hosts=(), findings=(BAD,)), "Next: see to the errors above"),
        (
            sweep(Verdict.CHANGE),
            "  ncclprobe env check 'a run'\n  ncclprobe validate-e2e --workload sglang --tp 8 --candidate 'a run'\n"
            "  ncclprobe env emit 'a run' --format tuner",
        ),
        (
            sweep(Verdict.CHANGE, nnodes=2),
            "  ncclprobe env check 'a run' --launcher srun\n  ncclprobe validate-e2e --workload sglang --tp 8 "
            "--nnodes 2 --launcher srun --candidate 'a run'",
        ),
        (sweep(Verdict.CHANGE, backend="mpi"), "then load it in jobs.\n  ncclprobe env emit 'a run' --format tuner"),
        (sweep(Verdict.KEEP_DEFAULTS, backend="sim"), "real ranks have the last word.\n  ncclprobe sweep"),
        (sweep(Verdict.KEEP_DEFAULTS, nnodes=2), "  ncclprobe scan\n  ncclprobe nodes --hosts NODESET"),
        (sweep(Verdict.CHANGE, backend="sim"), "real ranks have the last word.\n  ncclprobe env emit 'a run' --format"),
        (sweep(Verdict.KEEP_DEFAULTS), "Next: set nothing."),
        (sweep(Verdict.CHANGE, findings=(BAD,)), "Next: see to the errors above before you change a setting"),
        (sweep(Verdict.CHANGE, findings=(BAD,)), "setting; this looks further.\n  ncclprobe scan"),
        (sweep(Verdict.CHANGE, findings=(BAD,), backend="sim"), "errors above before you change a setting."),
        (nodes(NodeStatus.SLOW, ("n1", "n2")), "Next: leave n[1-2] out of jobs, have it seen to, then measure again."),
        (nodes(NodeStatus.SUSPECT), "Next: measure the suspects again, with a larger --budget"),
        (nodes(NodeStatus.SUSPECT).with_(cost=PAST), "Next: add more results of these nodes with different partners"),
        (nodes(NodeStatus.OK), "Next: repair nothing"),
        (e2e(E2eVerdict.FASTER), "Next: set in jobs what the faster arm has"),
        (e2e(E2eVerdict.SLOWER), "Next: keep the baseline."),
        (e2e(E2eVerdict.FASTER).with_(findings=(BAD,)), "Next: keep the baseline, and see to the errors above."),
        (InspectDocument(documents=(), findings=(BAD,)), "Next: see to the errors above"),
        (WatchDocument(check="sweep", arguments=(), every_s=60, checks=()), "Next: keep the history"),
        (
            WatchDocument(check="sweep", arguments=(), every_s=60, checks=(), findings=(BAD,)),
            "Next: see to the errors above; then go on with the same --out.",
        ),
    ],
)
def test_the_last_sentence_says_what_to_do_next(document: Document, said: str) -> None:
    text = next_step(document, "a run")
    assert said in text
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith("  ncclprobe "))


# ---- what is said of little


def test_a_scan_that_reached_nobody_recommends_nothing() -> None:
    document = ScanDocument(findings=(BAD,))
    assert verdict(document) == "No node was scanned."
    assert scan_text(document).startswith("No node was scanned.\n\nerror port-down (n1)")


def test_quoted_output_is_indented_below_its_finding() -> None:
    said = error("arm-failed", "candidate", "the candidate failed: exit status 1\nfirst\nsecond", "Look.\nAgain.")
    assert findings_text([said]).splitlines()[1:] == ["  first", "  second", "  Look.", "  Again."]


def test_a_report_that_is_quiet_says_the_runs_answers(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, *SWEEP, "--out", tmp_path / "a", "--quiet")
    _, alone, _ = run(capsys, "report", tmp_path / "a", "--quiet")
    (tmp_path / "b.json").write_bytes((tmp_path / "a" / "document.json").read_bytes())
    _, both, _ = run(capsys, "report", tmp_path / "a", tmp_path / "b.json", "--quiet")
    assert alone.startswith("Change: 23.4 % faster")
    assert both == f"{tmp_path}/a: {alone}{tmp_path}/b.json: {alone}"


def test_a_closed_stdout_has_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert painted("Change: all") == "Change: all"


def test_a_change_on_gpus_is_next_tried_by_sglang() -> None:
    row = TunerRow(collective="all_reduce", min_bytes=1, max_bytes=2, algo="Ring", proto="LL", nnodes=1, nranks=8)
    document = TuneDocument(
        verdict="Change.", choice=Verdict.CHANGE, backend="nccl", stages=(), env=(), table=(row,), seed=1
    )
    assert next_step(document, "run").splitlines()[2:] == [
        "  ncclprobe env check run",
        "  ncclprobe validate-e2e --workload sglang --tp 8 --candidate run",
        "  ls run/env",
    ]
    alone = document.with_(table=(), env=(EnvVariable(name="NCCL_ALGO", value="Ring", reason="measured"),))
    assert next_step(alone, "run").splitlines()[-1] == "  ls run/env"


# ---- usage


def test_a_misspelt_command_is_told_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "swep")[2].splitlines()[-1] == "Error: No such command 'swep'; is 'sweep' meant?"
    assert run(capsys, "zzz")[2].splitlines()[-1] == "Error: No such command 'zzz'."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nodes --from a.csv --fabric b.toml", "--from, --fabric exclude each other: "),
        ("nodes --fabric b.toml --hosts a,b --size 8M", "--fabric, --hosts, --size exclude each other: "),
        ("nodes --rails mlx5_0", "--rails is about the network between real hosts; "),
        ("nodes --fabric b.toml", "cannot read b.toml: No such file or directory\n"),
        (f"sweep --fabric {FABRIC} --launcher mpirun", "a simulated fabric starts no ranks; "),
        (f"sweep --fabric {FABRIC} --hosts a,b", "a simulated fabric starts no ranks; "),
        ("watch --prometheus /no/such/x.prom", "--prometheus /no/such/x.prom: there is no such folder; "),
        (
            "validate-e2e --workload command --candidate X=1 -- true",
            "the workload 'command' needs a --metric, such as ",
        ),
    ],
)
def test_options_that_contradict_each_other_are_named(
    capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    status, _, err = run(capsys, *words.split())
    assert (status, err.startswith(f"Error: {said}")) == (2, True), err
