"""Names that others chose go through everything that writes or starts something, and come out as data or not at all."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import pathlib
import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from ncclprobe.cli import group
from ncclprobe.control import visible
from ncclprobe.errors import UsageError
from ncclprobe.findings import error
from ncclprobe.launchers.base import Job
from ncclprobe.launchers.mpirun import Flavour, MpirunLauncher
from ncclprobe.launchers.pbs import PbsLauncher
from ncclprobe.launchers.spawn import SpawnLauncher
from ncclprobe.launchers.srun import SrunLauncher
from ncclprobe.nodes.exclusion import exclusion_files
from ncclprobe.nodesets import expand, is_name
from ncclprobe.records.base import EnvVariable, Interval
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.nodes import NodesCost, NodesDocument, NodeStatus, NodeVerdict
from ncclprobe.report.csv import csv_text
from ncclprobe.report.html.page import page
from ncclprobe.report.html.part import Part, Shown
from ncclprobe.report.prometheus import prometheus_text
from ncclprobe.report.text.nodes import nodes_text
from ncclprobe.report.text.runs import Run, all_findings
from ncclprobe.scan.fleet import Reach, remote_command
from ncclprobe.tuner.emit import Form, emitted
from ncclprobe.tuner.environ import Settings

NASTY = [
    "two words", "it's", '"', "$HOME", "$(touch canary)", "`touch canary`", "; touch canary", "a\nb", "a\r\nexport X=1",
    "\x1b[2J\x1b]0;title\x07", "\x9b31m", "-n", "--", "*", "~", "{a,b}", "&", "|", ">canary", "<x", "#", "\\", "é 漢",
    "\u202etxt", "\u2028", "%s", "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "=1+1",
    "x" * 4096,
]  # fmt: skip
SHOW = "import json, sys; print(json.dumps(sys.argv[1:]))"
NONE = Interval(estimate=0.3, low=0.2, high=0.4)


def shell(text: str, folder: pathlib.Path, program: str = "sh") -> str:
    ended = subprocess.run([program, "-c", text], cwd=folder, capture_output=True, text=True, check=True)
    assert not (folder / "canary").exists()
    return ended.stdout


def nodes(*names: str) -> NodesDocument:
    verdicts = tuple(NodeVerdict(node=n, status=NodeStatus.SLOW, slowdown=NONE, evidence=f"{n} is slow") for n in names)
    cost = NodesCost(rounds=1, measurements_per_node=1, gpu_minutes_per_node=0.0)
    found = tuple(error("slow-node", name, f"{name} is slow", f"look at {name}") for name in names)
    return NodesDocument(nodes=verdicts, links=(), rails=(), cost=cost, source=names[0], exclude=names, findings=found)


# ---- what a job loads


@pytest.mark.parametrize("program", ["sh", "bash"])
@pytest.mark.parametrize("form", [Form.SHELL, Form.SLURM, Form.PBS])
def test_settings_are_read_back_by_a_shell(program: str, form: Form, tmp_path: pathlib.Path) -> None:
    refused = []
    for value in NASTY:
        variable = EnvVariable(name="NCCL_IB_HCA", value=value, reason=f"because {value}")
        try:
            text = emitted(Settings(sources=(value,), variables=(variable,), notes=(value,)), form)
        except UsageError as problem:
            assert "correct the run it comes from" in str(problem)
            refused.append(value)
            continue
        (tmp_path / "settings").write_text(text)
        assert shell('. ./settings; printf "%s" "$NCCL_IB_HCA"', tmp_path, program) == value
    assert refused == [value for value in NASTY if not value.isprintable()]


@pytest.mark.parametrize("value", NASTY)
def test_nccl_conf_keeps_one_line_a_variable(value: str) -> None:
    variable = EnvVariable(name="NCCL_IB_HCA", value=value, reason=value)
    try:
        lines = emitted(Settings(sources=(value,), variables=(variable,)), Form.NCCL_CONF).split("\n")
    except UsageError:
        assert not value.isprintable() or len(value) > 1023
        return
    assert [line for line in lines if line and not line.startswith("#")] == [f"NCCL_IB_HCA={value}"]


@pytest.mark.parametrize("value", NASTY)
def test_no_tuner_table_holds_such_a_word(value: str) -> None:
    row = TunerRow(collective="all_reduce", min_bytes=1, max_bytes=2, algo=value, proto="default")
    with pytest.raises(UsageError, match="cannot stand in a tuner table"):
        emitted(Settings(sources=(), variables=(), rows=(row,)), Form.TUNER)


# ---- names of hosts


@pytest.mark.parametrize("name", NASTY)
def test_what_is_no_nodes_name_is_refused_or_taken_apart(name: str) -> None:
    try:
        names = expand(name)
    except UsageError as problem:
        assert str(problem)
        return
    assert all(map(is_name, names))
    assert not [letter for letter in "$`'\"\\;&|<>(){}*?!#~\n\r\x1b" for one in names if letter in one]


def test_lists_of_nodes_hold_what_a_shell_splits_and_no_more(tmp_path: pathlib.Path) -> None:
    (tmp_path / "run.csv").write_text("nodes,value\n" + "".join(f"a{i} a{j},{100 if i and j else 50}\n"
                                      for i in range(6) for j in range(6) if i != j) * 3)  # fmt: skip
    arguments = ["nodes", "--from", str(tmp_path / "run.csv"), "--out", str(tmp_path / "run"), "--json"]
    CliRunner().invoke(group, arguments, standalone_mode=False)
    assert shell("printf '%s\n' $(cat run/exclude.slurm) $(cat run/exclude.pbs)", tmp_path) == "--exclude=a0\na0\n"
    (tmp_path / "bad.csv").write_text('nodes,value\n"$(touch canary)",5\n')
    refused = CliRunner().invoke(group, ["nodes", "--from", str(tmp_path / "bad.csv")], standalone_mode=False)
    assert "no node's name" in str(refused.exception)


# ---- what is started


@pytest.mark.parametrize(
    "launcher",
    [MpirunLauncher("mpiexec", Flavour.HYDRA), MpirunLauncher("mpirun", Flavour.OPEN_MPI), SrunLauncher("srun", None),
     PbsLauncher("mpiexec", Flavour.HYDRA, ("h1",)), SpawnLauncher()],
    ids=lambda launcher: launcher.name,
)  # fmt: skip
def test_launchers_hand_words_and_variables_on_as_they_are(launcher) -> None:
    job = Job(program=(sys.executable, *NASTY), nranks=1, env=tuple((f"X{n}", value) for n, value in enumerate(NASTY)))
    tokens = launcher.command(job)
    assert tokens[-len(NASTY) :] == NASTY
    own = launcher.environment(job)
    assert all(
        f"X{n}={value}" in tokens or value in tokens or own.get(f"X{n}") == value for n, value in enumerate(NASTY)
    )


@pytest.mark.parametrize("program", ["sh", "bash"])
def test_ssh_is_given_one_word_that_its_shell_takes_apart_again(program: str, tmp_path: pathlib.Path) -> None:
    *_, dashes, host, line = remote_command(Reach(launcher="ssh", program=(sys.executable, "-c", SHOW, *NASTY)), "h1")
    assert (dashes, host) == ("--", "h1")
    assert json.loads(shell(line, tmp_path, program))[: len(NASTY)] == NASTY


def test_no_option_of_ssh_is_a_host() -> None:
    with pytest.raises(UsageError, match="no host's name"):
        remote_command(Reach(launcher="ssh"), "-oProxyCommand=touch canary")


# ---- what people and programs read


class Elements(html.parser.HTMLParser):
    """Counts what could act."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.acting = 0, []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.acting += [name for name, _ in attrs if name.startswith("on") or name in ("src", "href", "action")]
        self.acting += [tag] if tag in ("img", "iframe", "object", "embed", "a", "form") else []


def elements(document: NodesDocument) -> Elements:
    found, run = Elements(), Run(source=document.source, document=document)
    found.feed(page([Shown(source=run.source, parts=(Part(document=document),))], all_findings([run]), ""))
    return found


def test_no_name_becomes_an_element_of_the_page() -> None:
    plain, nasty = elements(nodes("a", "b")), elements(nodes(*NASTY))
    assert (nasty.scripts, set(nasty.acting)) == (plain.scripts, set(plain.acting))


def test_prometheus_reads_the_names_back() -> None:
    families = text_string_to_metric_families(prometheus_text([nodes(*NASTY)]))
    named = {sample.labels["node"] for family in families for sample in family.samples if "node" in sample.labels}
    assert named == set(NASTY)


def test_csv_reads_the_names_back() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text([("run", nodes(*NASTY))]), newline="")))
    assert {row["name"] for row in rows} == set(NASTY)


def test_no_name_reaches_a_terminal_as_a_command() -> None:
    shown = visible(nodes_text(nodes(*NASTY)))
    assert not [letter for letter in shown if letter != "\n" and letter != "\t" and ord(letter) < 32]
    assert not set("\x7f\x9b\u202e\u2028") & set(shown)
    assert "\\x1b[2J" in shown


def test_files_with_such_names_are_read_and_named(tmp_path: pathlib.Path) -> None:
    for number, name in enumerate(one for one in NASTY if "/" not in one and len(one) < 200):
        file = tmp_path / f"{name}{number}"
        file.write_text("nothing")
        found = CliRunner().invoke(group, ["inspect", "--json", "--", str(file)], standalone_mode=False)
        assert found.return_value == 3
        assert json.loads(found.stdout)["findings"][0]["subject"] == str(file)
    assert not (tmp_path / "canary").exists()


def test_exclusions_of_plain_names_are_one_word() -> None:
    files = exclusion_files(nodes("dgx001", "dgx002"))
    assert all(len(shlex.split(text)) in (1, 2) for name, text in files.items() if name.startswith("exclude"))
