"""Cleaning is conservative: labels go, content stays."""

from __future__ import annotations

import time

import pytest

from ncclprobe.captured import Line, Prompt, by_source, cells, clean, plain_text, prompt


def texts(text: str) -> list[str]:
    return [line.text for line in clean(text)]


def test_lines_keep_their_numbers_and_sources() -> None:
    assert clean("[1,0]<stdout>:a\n\n[1,1]<stderr>:b\r\n") == [
        Line(1, "a", "1,0"),
        Line(2, ""),
        Line(3, "b", "1,1"),
        Line(4, ""),
    ]


CONTENT = """\
[0] NVIDIA H100
hca_id: mlx5_0
0: only one line has this
> and this
gpu05:17:18 [0] NCCL INFO comm 0x1 rank 0 nranks 2 cudaDev 0 - Init START
channel{Lo..Hi}={0..0} opcode=1 len=20
#       size         count      type   redop    root     time
  1048576  262144  float  sum  -1  30.1  34.8  34.8  0
NIC0: mlx5_0
a < b && c > d [4 ms] [10m30s]
"""


def test_content_stays() -> None:
    assert texts(CONTENT) == CONTENT.split("\n")


@pytest.mark.parametrize(
    "text",
    [
        "# nccl-headers=22907 nccl-library=22907\n",
        "max_total_num_tokens=355636\n",
        "====== Result ======\na=20\n",
        "hca_id: mlx5_0\nhca_id: mlx5_1\nhca_id: mlx5_2\n",
        "state: PORT_ACTIVE (4)\nstate: PORT_DOWN (1)\n",
        "lab:77:78 [0] NCCL INFO a\nlab:77:78 [0] NCCL INFO b\nlab:77:78 [0] NCCL INFO c\n",
        "8\t2\tfloat\n16\t4\tfloat\n32\t8\tfloat\n64\t16\tfloat\n",
        "0: mlx5_0: node_type ca fw 1\n1: mlx5_1: node_type ca fw 1\n",
        "| 8 | 2 |\n| 16 | 4 |\n",
        "GPU0: NVIDIA H200\nGPU1: NVIDIA H200\n",
    ],
)
def test_what_only_looks_like_a_remain_stays(text: str) -> None:
    assert texts(text) == text.split("\n")


@pytest.mark.parametrize(
    ("text", "expected", "sources"),
    [
        ("0: a\n0: b\n1: c\n", ["a", "b", "c"], ["0", "0", "1"]),
        (" 9: a\n10: b\n10:\n", ["a", "b", ""], ["9", "10", "10"]),
        ("[0] a\n[0] b\n[1] c\n", ["a", "b", "c"], ["0", "0", "1"]),
        ("dgx1: a\ndgx2: b\n", ["a", "b"], ["dgx1", "dgx2"]),
        ("10.0.0.1: a\n10.0.0.1: b\n", ["a", "b"], ["10.0.0.1"] * 2),
        ("out.log:a: b\nout.log:c\n", ["a: b", "c"], ["out.log"] * 2),
        ("node-1 | a\nnode-1 | b\n", ["a", "b"], ["node-1"] * 2),
        ("> a\n> b\n>\n", ["a", "b", ""], [None] * 3),
        (">>>>>> a\n>>>>>>          b\n>> > c\n", ["a", "         b", "c"], [None] * 3),
        ("     1\ta\n     2\t\n     3\tc\n", ["a", "", "c"], [None] * 3),
        ("3:a\n17:b\n", ["a", "b"], [None] * 2),
        ("2025-11-22T02:25:01.5Z stdout F [1,0]<stdout>:0: a\n", ["a"], ["1,0 0"]),
        ("[2025-11-22 02:25:01 TP0] a\n", ["a"], [None]),
        ("Nov 22 02:25:01 gpu7 slurmd[12]: a\n", ["a"], ["gpu7"]),
        ("1,0]<stdout>:a\n[1,0]<stdout>:b\n", ["a", "b"], ["1,0"] * 2),
        ('{"log":"a\\n","stream":"stdout"}\n{"log":"b\\n"}\n', ["a", "b"], [None] * 2),
    ],
)
def test_prefixes_go(text: str, expected: list[str], sources: list[str | None]) -> None:
    lines = clean(text.removesuffix("\n"))
    assert [line.text for line in lines] == expected
    assert [line.source for line in lines] == sources


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a =3D b=20\nlong=\n line\n", ["a = b", "long line", ""]),
        ("x=1\na=20\nb=20\nc=20\n", ["x=1", "a", "b", "c", ""]),
        (
            f"x=1 y=22907\n{'node_guid:':<60}506b:4b03:00b1=\n:7cae\n{'id:':<70}77=\n4\n",
            ["x=1 y=22907", f"{'node_guid:':<60}506b:4b03:00b1:7cae", f"{'id:':<70}774", ""],
        ),
        ("=C3=A9t=C3=A9 =3D x\n", ["été = x", ""]),
        ("a &lt;b&gt; &amp;&nbsp;c &unknown;", ["a <b> & c &unknown;"]),
        ("<pre>a</pre><br/>b", ["a", "b"]),
        ("```bash\na\n```", ["bash", "a", ""]),
        ("a\\n\\tb\\nc", ["a", "\tb", "c"]),
        ("10%\r50%\r100%\nend", ["10%", "50%", "100%", "end"]),
    ],
)
def test_remains_of_mail_and_web(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[4mGPU0\tGPU1\x1b[0m", "GPU0\tGPU1"),
        ("\t[4mGPU0\tGPU1[0m", "\tGPU0\tGPU1"),
        ("^[[1;31mDOWN^[[0m \\033[32mUP", "DOWN UP"),
        ("\x1b]0;title\x07$ ls\x1b[K", "$ ls"),
        ("\ufeffa\u00a0b\u2003c\u200b  ", "a b c"),
        ("[3.1m] took [12m30s]", "[3.1m] took [12m30s]"),
    ],
)
def test_plain_text(text: str, expected: str) -> None:
    assert plain_text(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("root@dgx1:~# ibv_devinfo -v", Prompt("ibv_devinfo -v", "dgx1")),
        ("[me@gpu7 work dir]$ ls", Prompt("ls", "gpu7")),
        ("(base) me@gpu7:~/x$", Prompt("", "gpu7")),
        ("((sglang-0.5) ) [me@gpu7 ~]$ ibdev2netdev", Prompt("ibdev2netdev", "gpu7")),
        ("(cluster)-[root@gpu7 ~]$ ls", Prompt("ls", "gpu7")),
        ("$ me@gpu7:~$ ls", Prompt("ls", "gpu7")),
        ("gpu-7:~ # ibv_devinfo", Prompt("ibv_devinfo", "gpu-7")),
        ("[root:lib]$ ibstat", Prompt("ibstat")),
        ("bash-5.1# ibstat", Prompt("ibstat")),
        ("+ srun hostname", Prompt("srun hostname")),
        ("> ibv_devinfo", Prompt("ibv_devinfo")),
        ("#ibv_devinfo", Prompt("ibv_devinfo")),
        ("hca_id: mlx5_0", None),
        ("state:          4: ACTIVE", None),
        ("", None),
    ],
)
def test_prompts(text: str, expected: Prompt | None) -> None:
    assert prompt(text) == expected


def test_cells() -> None:
    assert cells(" | a | b c |  | ") == ("a", "b c", "")
    assert cells("a | b") is None


def test_by_source() -> None:
    lines = [Line(1, "a", "0"), Line(2, "b", "1"), Line(3, "c", "0")]
    assert {source: [line.number for line in group] for source, group in by_source(lines).items()} == {
        "0": [1, 3],
        "1": [2],
    }


@pytest.mark.parametrize(
    "line",
    [
        " " * 50_000 + "x",
        "[" * 50_000,
        "a." * 25_000,
        "<b" * 25_000,
        "=20" * 15_000,
        "a@b" + "c" * 50_000,
        "[4m" * 15_000,
    ],
)
def test_long_lines_take_linear_time(line: str) -> None:
    start = time.perf_counter()
    clean(f"{line}\n{line}\n")
    assert time.perf_counter() - start < 2
