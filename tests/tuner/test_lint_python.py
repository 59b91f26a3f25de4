"""What is found in Python programs: nothing where environments are apart in place or in time, faults wherever set."""

import subprocess
import sys
import textwrap
import time

import pytest

from ncclprobe.tuner.catalog import catalog
from ncclprobe.tuner.lint import lint
from ncclprobe.tuner.script_text import read_script


def codes(text):
    found = lint(read_script(textwrap.dedent(text), "start.py"), catalog())
    return [(int(one.subject.rpartition(":")[2]), one.severity.value, one.code) for one in found]


APART = {
    "a list of configurations": """\
        CONFIGS = [
            {"NCCL_ALGO": "Ring", "NCCL_PROTO": "Simple"},
            {"NCCL_ALGO": "allreduce:tree", "NCCL_PROTO": "LL"},
            {"NCCL_IB_DISABLE": "1"},
            {"NCCL_IB_HCA": "=mlx5_0"},
        ]
        """,
    "dictionaries with a common base": """\
        tcp = {**base, "NCCL_IB_DISABLE": "1"}; ib = {**base, "NCCL_IB_HCA": "=mlx5_0"}
        l4 = dict(NCCL_P2P_DISABLE="1"); a100 = dict(base, NCCL_P2P_LEVEL="NVL")
        """,
    "either of two": """\
        env = {"NCCL_IB_DISABLE": "1"} if tcp else {"NCCL_IB_HCA": "=mlx5_0"}
        """,
    "environments of a while": """\
        with mock.patch.dict(os.environ, {"NCCL_ALGO": "Ring"}):
            run()
        with patch.dict("os.environ", {"NCCL_ALGO": "allreduce:tree"}), patch.dict(os.environ, NCCL_ALGO="Ring"):
            run()
        """,
    "arguments of two jobs": """\
        a = PyTorch(environment={"NCCL_DEBUG": "INFO"})
        b = PyTorch(environment={"NCCL_DEBUG": "WARN"})
        c = image.env({"NCCL_DEBUG": "INFO"}).env({"NCCL_DEBUG": "WARN"})
        """,
    "options of two commands": """\
        subprocess.run(["docker", "run", "-e", "NCCL_DEBUG=INFO", "-e", "NCCL_IB_HCA==mlx5_0", "image"])
        subprocess.run(["docker", "run", "-e", "NCCL_DEBUG=WARN", "-e", "NCCL_IB_DISABLE=1", "image"])
        """,
    "two copies, and one name for two": """\
        tcp = os.environ.copy(); tcp["NCCL_IB_DISABLE"] = "1"
        ib = os.environ.copy(); ib["NCCL_IB_HCA"] = "=mlx5_0"
        tcp = dict(os.environ); tcp["NCCL_IB_HCA"] = "=mlx5_0"
        """,
    "arms of a match": """\
        match sys.argv[1]:
            case "ring":
                os.environ["NCCL_ALGO"] = "Ring"
            case "tree":
                os.environ["NCCL_ALGO"] = "allreduce:tree"
        """,
    "handlers of several exceptions": """\
        try:
            run()
        except OSError:
            os.environ["NCCL_DEBUG"] = "INFO"
        except ValueError:
            os.environ["NCCL_DEBUG"] = "TRACE"
        """,
    "two defaults": """\
        os.environ.setdefault("NCCL_DEBUG", "INFO")
        os.environ.setdefault("NCCL_DEBUG", "WARN")
        """,
}


@pytest.mark.parametrize("text", APART.values(), ids=APART)
def test_settings_of_different_environments_have_nothing_to_do_with_each_other(text):
    assert codes(text) == []


IB_OFF, IB_ON = 'os.environ["NCCL_IB_DISABLE"] = "1"\n', 'os.environ["NCCL_IB_HCA"] = "=mlx5_0"\n'
RING, TREE = 'os.environ["NCCL_ALGO"] = "Ring"\n', 'os.environ["NCCL_ALGO"] = "allreduce:tree"\n'


@pytest.mark.parametrize(
    "between",
    [
        "run()\n", "g1 = dist.new_group(); run(g1)\n", "import bench\n", "copy = {**os.environ}\n", "yield\n",
        "if quiet:\n    return\n", "new = os.environ | more\n", 'os.environ["NCCL_DEBUG"] = f(g())\n',
    ],
)  # fmt: skip
def test_what_may_have_been_used_before_it_is_replaced_is_no_fault(between):
    assert codes(RING + between + TREE) == []
    assert codes(RING + between + RING + TREE) == [(RING.count("\n") + between.count("\n") + 1, *OVERRIDDEN)]


OVERRIDDEN = ("warning", "setting-overridden")


@pytest.mark.parametrize(
    "between",
    [
        "", IB_ON, "import_path = 3\n", 'print("tree")\n', 'os.environ.update(NCCL_DEBUG="WARN")\n',
        'os.environ["NCCL_IB_TIMEOUT"] = str(20)\n', 'if "NCCL_X" in os.environ:\n    pass\n',
    ],
)  # fmt: skip
def test_what_is_replaced_before_any_use_is_found(between):
    assert codes(RING + between + TREE) == [(1, *OVERRIDDEN)]


def test_what_is_replaced_is_found_before_and_after_a_use():
    assert codes(RING + TREE + "run()\n" + RING + TREE) == [(1, *OVERRIDDEN), (4, *OVERRIDDEN)]
    env = 'env = {"NCCL_DEBUG": "INFO"}\nenv["NCCL_DEBUG"] = "WARN"\nenv |= {"NCCL_DEBUG": "TRACE"}\n'
    assert codes(env) == [(1, *OVERRIDDEN), (2, *OVERRIDDEN)]
    assert codes('x = {\n"NCCL_DEBUG": "INFO",\n"NCCL_DEBUG": "WARN"}\n') == [(2, *OVERRIDDEN)]


@pytest.mark.parametrize(
    "removal",
    [
        'os.environ.pop("NCCL_IB_DISABLE")\n', 'os.environ.pop("NCCL_IB_DISABLE", None)\n', "os.environ.clear()\n",
        'del os.environ["NCCL_IB_DISABLE"]\n', 'os.unsetenv("NCCL_IB_DISABLE")\n',
        'if "NCCL_IB_DISABLE" in os.environ:\n    del os.environ["NCCL_IB_DISABLE"]\n',
        "for name in list(os.environ):\n    del os.environ[name]\n",
        "def reset():\n    for name in ours:\n        os.environ.pop(name)\nreset()\n",
    ],
)  # fmt: skip
def test_what_was_taken_out_holds_no_more(removal):
    assert codes(IB_OFF + "run()\n" + removal + IB_ON) == []
    assert codes(RING + removal.replace("IB_DISABLE", "ALGO") + TREE) == []


def test_what_was_taken_out_elsewhere_or_of_another_environment_still_holds():
    contradiction = [(2, "warning", "settings-contradict")]
    assert codes(IB_OFF + IB_ON + 'env.pop("NCCL_IB_DISABLE")\nos.environ.pop("NCCL_IB_SL")\n') == contradiction
    assert codes(IB_OFF + 'def stop():\n    os.environ.clear()\nos.environ["NCCL_IB_SL"] = "3"\n') == [
        (4, "warning", "settings-contradict")
    ]
    assert codes(IB_OFF + IB_ON + "os.environ.clear()\n") == contradiction


@pytest.mark.parametrize(
    "text",
    [
        'HELP = {"NCCL_DEBUG": "Log level of NCCL", "NCCL_IB_HCA": "List of HCAs", "NCCL_BUFFSIZE": "Its size"}',
        'ENV_VARS = {"NCCL_DEBUG": "Log level.", "NCCL_BUFFSIZE": "bytes", "NCCL_ALGO": "Which (one or more)"}',
        'LABELS = {"NCCL_DEBUG": "logging", "net": {"NCCL_IB_DISABLE": "network"}}',
        'add(help={"NCCL_DEBUG": "logging"})',
        'TABLE = {"NCCL_DEBUG": "enum", "NCCL_BUFFSIZE": "integer"}',
        'TABLE = {"NCCL_DEBUG": str, "NCCL_BUFSIZE": int}',
        'TABLE = {"NCCL_DEBUG": "debug", "NCCL_IB_HCA": "ib_hca", "NCCL_BUFFSIZE": "size"}',
        'TABLE = {"NCCL_BUFFSIZE": "--nccl-buffsize", "NCCL_DEBUG": "nccl_debug"}',
        'BUSBW = {"NCCL_RING": 182.4, "NCCL_TREE": 171.0}',
        'COUNTS = {"NCCL_RINGS": 12, "NCCL_TREES": 7}',
        'TABLE = {"NCCL_SOO": lambda: os.environ.get("NCCL_SOO")}',
        'TABLE = {"NCCL_DEBUGG": {"type": "string"}}',
        'env_docs["NCCL_DEBUG"] = "verbose"; results["NCCL_ALGO"] = "fast"; env["NCCL_ALGO"] = "Which of them"',
        'subprocess.run(["grep", "-e", "NCCL_DEBUG=bogus", "log"])',
        'sweep(["--env", "NCCL_NTHREADS=default,256"])',
        'assert lines == ["NCCL_DEBUG=bogus"]',
    ],
)
def test_a_table_about_variables_sets_none(text):
    assert codes(text + "\n") == []


@pytest.mark.parametrize(
    ("made", "name"),
    [
        ("env = os.environ.copy()", "env"), ("env = dict(os.environ)", "env"), ("mine = {**os.environ}", "mine"),
        ("mine = copy.copy(os.environ)", "mine"), ("mine = os.environ | more", "mine"), ("run(env=mine)", "mine"),
        ("def launch(worker_env): pass", "worker_env"), ("self.env = base", "self.env"), ("", 'options["env_vars"]'),
    ],
)  # fmt: skip
def test_what_is_set_in_a_copy_is_read(made, name):
    assert codes(f'{made}\n{name}["NCCL_P2P_NVL_DISABLE"] = "1"\n') == [(2, "error", "unknown-variable")]


@pytest.mark.parametrize(
    "line",
    [
        'env["NCCL_PROTO"] = "^LL"', 'env.update({"NCCL_PROTO": "^LL"})', 'env.update(NCCL_PROTO="^LL")',
        'env.setdefault("NCCL_PROTO", "^LL")', 'env |= {"NCCL_PROTO": "^LL"}', 'env: dict = {"NCCL_PROTO": "^LL"}',
        'run(env=dict(os.environ, NCCL_PROTO="^LL"))', 'run(env={**os.environ, "NCCL_PROTO": "^LL"})',
        'os.putenv("NCCL_PROTO", "^LL")', 'os.environ |= {"NCCL_PROTO": "^LL"}', 'os.environ["NCCL_PROTO"] = f"^LL"',
        'os.environ.update(dict(NCCL_PROTO="^LL"))', 'os.environ["NCCL_PROTO"] = str("^LL")',
        'run(["mpirun", "-np", "8", "-x", "NCCL_PROTO=^LL", "./a"])',
        'run(("docker", "run", "--env", "NCCL_PROTO=^LL"))',
        'os.environ["A"] = os.environ["NCCL_PROTO"] = "^LL"', 'patch.dict(os.environ, NCCL_PROTO="^LL")',
    ],
)  # fmt: skip
def test_a_value_is_read_however_it_is_set(line):
    assert (1, "warning", "ll128-forced") in codes(line + "\n")


@pytest.mark.parametrize("value", ["str(50)", "50", 'f"50"', "str(str(50))"])
def test_a_number_is_read_as_its_text(value):
    assert codes(f'os.environ["NCCL_IB_TIMEOUT"] = {value}\n') == [(1, "warning", "value-out-of-range")]


@pytest.mark.parametrize("value", ["str(n)", "True", 'f"{n}"', "1" * 30, 'str(b"x", "ascii")', "str()", '"5" + x'])
def test_a_value_that_only_the_program_can_tell_is_not_judged(value):
    assert codes(f'os.environ["NCCL_IB_TIMEOUT"] = {value}\n') == []


def test_settings_of_one_environment_contradict_each_other():
    contradiction = [(2, "warning", "settings-contradict")]
    assert codes('env["NCCL_NET"] = "Socket"\nenv.update({"NCCL_IB_GID_INDEX": "3"})\n') == contradiction
    assert codes('env = {"NCCL_NET": "Socket"}\nenv["NCCL_IB_GID_INDEX"] = "3"\n') == contradiction
    assert codes('run(["-x", "NCCL_NET=Socket", "-x",\n"NCCL_IB_SL=3"])\n') == [(1, "warning", "settings-contradict")]
    assert codes(IB_OFF + "run()\nos.environ.update({\n" + '"NCCL_IB_HCA": "=mlx5_0"})\n') == [
        (4, "warning", "settings-contradict")
    ]


@pytest.mark.parametrize(
    "line",
    [
        'os.environ["NCCL_ALGO"] = "Ring"\n', 'os.environ.pop("NCCL_ALGO")\n', "os.environ.clear()\n",
        'def f():\n    os.environ["NCCL_ALGO"] = "Ring"\n    os.environ.pop("NCCL_ALGO")\n',
        'run(env={"NCCL_ALGO": "Ring"})\n',
    ],
)  # fmt: skip
def test_a_long_program_takes_time_that_grows_with_its_length(line):
    start = time.process_time()
    assert codes((RING + line + "run()\n") * 2000) == []
    assert time.process_time() - start < 15


@pytest.mark.parametrize("statement", ["import {}", "from {} import x", "import os\nimport y, {}"])
def test_an_import_of_thousands_of_parts_takes_little_memory(tmp_path, statement):
    program = tmp_path / "start.py"
    program.write_text(statement.format(".\\\n ".join(["a"] * 15_000)) + "\n")
    code = (
        "import resource, sys; from ncclprobe.tuner.script_text import read_script\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); read_script(open(sys.argv[1]).read(), 'start.py'); print((peak() - before) // 1024)"
    )
    grown = subprocess.run([sys.executable, "-c", code, str(program)], capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 50


def test_libraries_on_top_of_nccl_have_variables_of_their_own():
    assert codes('env = {"NCCL_EP_HOME": home, "NCCL_CHECKPOINT_KVS_PATH": "x", "NCCL_RESHARD_MAX_CTA": "8"}\n') == []
