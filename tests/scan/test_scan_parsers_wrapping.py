"""The same records whatever launchers, log collectors, terminals, mailers and people put around an output."""

from __future__ import annotations

import html
import json
import pathlib
import quopri
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.records.scan import Host
from ncclprobe.scan.parsers import read_captured

DATA = pathlib.Path(__file__).parent.parent / "data" / "scan"
SAMPLES = sorted(DATA.glob("*.txt"))
NAMES = [path.name for path in SAMPLES]

Wrapping = Callable[[str], str]


def records(text: str) -> list[Host]:
    """What is read, without hosts' names, which a wrapping may tell."""
    return [host.with_(host=None) for host in read_captured(text, "x")]


def each_line(change: Callable[[str, int], str]) -> Wrapping:
    return lambda text: "".join(change(line, n) + "\n" for n, line in enumerate(text.splitlines()))


def before(prefix: str) -> Wrapping:
    """``%02d`` in a prefix is a running number of seconds."""
    return each_line(lambda line, n: (prefix % (n % 60) if "%02d" in prefix else prefix) + line)


PREFIXES: dict[str, Wrapping] = {
    "mpirun": before("[1,0]<stdout>:"),
    "mpirun-blank": before("[1,3]<stdout>: "),
    "mpirun-indented": before("   [1,0]<stdout>:"),
    "mpirun-escaped": before("[1,0]&lt;stdout&gt;:"),
    "mpirun-time": before("Tue Nov 25 10:00:%02d 2025[1,0]<stdout>:"),
    "prrte": before("[prterun-gpu-3-4711@1,0]<stdout>: "),
    "srun": before("0: "),
    "srun-padded": before(" 7: "),
    "mpich": before("[0] "),
    "torchrun": before("[default0]:"),
    "ray": before("(Worker pid=4711, ip=10.0.0.7) "),
    "pdsh": before("dgx-007: "),
    "compose": before("worker-0  | "),
    "kubectl": before("[pod/nccl-0/main] "),
    "kubernetes": before("2025-11-22T02:25:%02d.123456789Z stdout F "),
    "syslog": before("Nov 22 02:25:%02d gpu-7 slurmstepd[4711]: "),
    "iso": before("2025-11-22T02:25:%02d.123456Z "),
    "bracketed-time": before("[2025-11-22 02:25:%02d] "),
    "clock": before("02:25:%02d "),
    "file": before("slurm-4711.out:"),
    "quote": before("> "),
    "quotes": before("> > "),
    "comment": before("# "),
    "c-comment": before(" * "),
    "indented": before("    "),
    "numbered": each_line(lambda line, n: f"{n + 1:6d}\t{line}"),
    "grep-n": each_line(lambda line, n: f"{n + 1}:{line}"),
}
CHANGES: dict[str, Wrapping] = {
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "ansi": each_line(lambda line, _: f"\x1b[32m{line}\x1b[0m"),
    "ansi-words": lambda text: re.sub(r"\b(mlx5_\d+|GPU\d+|state|Rate)\b", "\x1b[1;31m\\1\x1b[0m", text),
    "ansi-without-esc": each_line(lambda line, _: f"[4m{line}[0m"),
    "tabs-to-blanks": lambda text: text.replace("\t", " "),
    "expanded-tabs": lambda text: text.expandtabs(8),
    "stripped": each_line(lambda line, _: line.strip()),
    "no-break-blanks": lambda text: text.replace(" ", "\u00a0"),
    "byte-order-mark": lambda text: "\ufeff" + text,
    "double-spaced": lambda text: text.replace("\n", "\n\n"),
    "html": html.escape,
    "pre": lambda text: f"<pre>{html.escape(text)}</pre>",
    "br": lambda text: text.replace("\n", "<br>\n"),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()).decode(),
    "soft-ends": each_line(lambda line, _: f"{line}=20" if line.strip() else line),
    "fence": lambda text: f"The output:\n\n```\n{text}```\n\nThank you!\n",
    "prompt": lambda text: f"root@dgx-007:~# ibv_devinfo\n{text}root@dgx-007:~# ",
    "prompt-brackets": lambda text: f"[me@gpu7 ~]$ cat out.txt\n{text}[me@gpu7 ~]$ exit\n",
    "prompt-bare": lambda text: f"$ ibstat; nvidia-smi topo -m\n{text}",
    "trace": lambda text: f"+ srun -N1 -n1 nvidia-smi topo -m\n{text}",
    "json": each_line(lambda line, _: json.dumps({"log": line + "\n", "stream": "stdout", "time": "t"})),
    "escaped": lambda text: text.replace("\t", "\\t").replace("\n", "\\n"),
    "no-last-newline": lambda text: text.removesuffix("\n"),
    "twice": lambda text: f"{text}\n{text}",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrapping", [*PREFIXES, *CHANGES])
def test_one_wrapping(name: str, wrapping: str) -> None:
    text = (DATA / name).read_text()
    assert records((PREFIXES | CHANGES)[wrapping](text)) == records(text)


COMMON = ("crlf", "ansi", "expanded-tabs", "prompt", "byte-order-mark", "no-break-blanks")
STACKED = ("mpirun", "srun", "iso", "bracketed-time", "pdsh", "kubernetes", "quote", "ray")


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(COMMON), max_size=2, unique=True),
    st.lists(st.sampled_from(STACKED), min_size=1, max_size=3, unique=True),
)
def test_several_in_a_row(name: str, changes: list[str], prefixes: list[str]) -> None:
    text = wrapped = (DATA / name).read_text()
    for wrapping in (*changes, *prefixes):
        wrapped = (CHANGES | PREFIXES)[wrapping](wrapped)
    assert records(wrapped) == records(text)


STARTS = {"ibv_devinfo": r"(?m)^(?=hca_id)", "ibstat_": r"(?m)^(?=CA ')", "ibstatus": r"(?m)^(?=Infiniband device)"}
BY_LINE = ("ibdev2netdev", "rdma_link", "sysfs", "show_gids")


def pieces(name: str, text: str) -> tuple[str, list[str]]:
    """What comes first, and the parts whose order means nothing."""
    for tool, start in STARTS.items():
        if name.startswith(tool):
            first, *rest = re.split(start, text)
            return first, rest
    lines = text.splitlines(keepends=True)
    return ("".join(lines[:2]), lines[2:-1]) if name.startswith("show_gids") else ("", lines)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_devices_in_another_order(data: st.DataObject) -> None:
    several_hosts = "ibv_devinfo_two_hosts.txt"
    name = data.draw(st.sampled_from([n for n in NAMES if n.startswith((*STARTS, *BY_LINE)) and n != several_hosts]))
    text = (DATA / name).read_text()
    first, rest = pieces(name, text if text.endswith("\n") else text + "\n")
    shuffled = data.draw(st.permutations(rest))
    prefix = data.draw(st.sampled_from(["mpirun", "srun", "iso", "indented"]))
    assert records(PREFIXES[prefix](first + "".join(shuffled))) == records(text)


def test_each_tool_alone_and_all_in_one_file() -> None:
    names = ("ibv_devices.txt", "rdma_dev.txt", "sysfs_paths.txt", "topo_one_gpu.txt")
    (host,) = records("".join(f"== {name} ==\n{(DATA / name).read_text()}\n" for name in names))
    assert [(hca.name, hca.node_guid, hca.numa_node) for hca in host.hcas] == [
        ("mlx5_0", "a088c20300112230", 1),
        ("mlx5_10", "a088c2030011223a", None),
    ]
    assert host.gpus[0].nearest_hcas == ("mlx5_0",)
