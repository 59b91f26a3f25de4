"""The house rules that tools cannot hold: who imports whom, what does I/O, how long things are, what docs list."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

from ncclprobe.cli import COMMANDS

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "ncclprobe"
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8"), str(path)) for name, path in MODULES.items()}
DOCS = ROOT / "docs"

FEATURES = frozenset({"scan", "inspect", "sweep", "nodes", "workload", "tuner", "e2e", "report"})
PURE = frozenset({
    "", "bandwidth", "captured", "control", "decoding", "errors", "findings", "hardware", "hca_list", "kernels",
    "names", "nodesets", "ranks", "records", "secrecy", "stats", "units",
})  # fmt: skip
PLUGIN = frozenset({"ncclprobe.tuner.build", "ncclprobe.tuner.compiling", "ncclprobe.tuner.live"})
"""The compiled plugin lies with the tuner, and the modules that reach it lie below the backends."""
BELOW = {
    "cli": FEATURES | {"backends", "cache", "launchers", "store", "processes", "reading", "segments", "plugin"} | PURE,
    **{
        feature: frozenset({"backends", "launchers", "store", "processes", "reading", "segments", "plugin"}) | PURE
        for feature in FEATURES
    },
    "backends": frozenset({"launchers", "processes", "reading", "segments", "store", "plugin"}) | PURE,
    "plugin": frozenset({"cache", "processes"}) | PURE,
    "launchers": frozenset({"processes", "reading"}) | PURE,
    "cache": PURE,
    "processes": frozenset({"outputs", "segments"}) | PURE,
    "segments": PURE,
    "outputs": PURE,
    "reading": PURE,
    "store": frozenset({"locking", "reading"}) | PURE,
    "locking": PURE,
    "__main__": frozenset({"cli"}),
    **dict.fromkeys(PURE, PURE),
}
"""Room -> the rooms that it may import from, beside itself."""

STARRED = frozenset({
    "cache", "locking", "outputs", "processes", "reading", "segments", "store",
    "scan.collect", "scan.fleet", "scan.gpus", "scan.limits", "scan.source", "scan.sysfs",
    "nodes.hosts", "nodes.worker",
    "sweep.published", "sweep.run",
    "tuner.build", "tuner.catalog", "tuner.live",
    "e2e.command", "e2e.gpus", "e2e.leftover", "e2e.proxy", "e2e.proxy_worker", "e2e.run", "e2e.sglang",
    "e2e.sglang_node", "e2e.sglang_run", "e2e.telemetry_gpus", "e2e.telemetry_host", "e2e.telemetry_run",
    "e2e.telemetry_worker", "e2e.workers",
    "backends.fabric", "backends.mpi", "backends.mpi_fleet", "backends.mpi_ranks",
    "backends.mpi_settings_rank", "backends.mpit",
    "backends.nccl", "backends.nccl_device", "backends.nccl_fleet", "backends.nccl_library",
    "backends.nccl_log", "backends.nccl_ranks",
    "launchers.allocation", "launchers.base", "launchers.channel", "launchers.gang", "launchers.jobs",
    "launchers.mpirun", "launchers.pbs", "launchers.run", "launchers.scratch", "launchers.scratch_guard",
    "launchers.slurm", "launchers.spawn", "launchers.srun", "launchers.stopped",
})  # fmt: skip
"""The modules that do I/O, ``cli`` aside."""
IO_MODULES = frozenset({
    "ctypes", "fcntl", "http", "mpi4py", "multiprocessing", "pynvml", "resource", "selectors", "shutil", "socket",
    "subprocess", "tempfile", "urllib", "ncclprobe.processes", "ncclprobe.reading",
    "ncclprobe.store",
})  # fmt: skip
IO_ATTRIBUTES = frozenset({
    "environ", "exists", "getenv", "glob", "is_dir", "is_file", "iterdir", "kill", "killpg", "mkdir", "open",
    "read_bytes", "read_text", "rglob", "sleep", "stat", "stderr", "stdin", "stdout", "unlink", "write_bytes",
    "write_text",
})  # fmt: skip
"""Of os, sys, time and paths."""


def room(module: str) -> str:
    """Return ``sweep`` for ncclprobe.sweep.race, the empty name for ncclprobe itself."""
    return "plugin" if module in PLUGIN else [*module.split("."), ""][1]


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = str(node.module)
            yield from (
                f"{module}.{alias.name}" if f"{module}.{alias.name}" in MODULES else module for alias in node.names
            )


def modules(*, without: str = "") -> list[str]:
    return [name for name in MODULES if not without or room(name) != without]


@pytest.mark.parametrize("module", modules())
def test_imports_point_downward_and_features_never_meet(module: str) -> None:
    ours = {name for name in imported(TREES[module]) if name.split(".")[0] == "ncclprobe"}
    wrong = {name for name in ours if room(name) not in BELOW[room(module)] | {room(module)}}
    assert not wrong


def io_of(tree: ast.AST) -> set[str]:
    found = {name for name in imported(tree) if name in IO_MODULES or name.split(".")[0] in IO_MODULES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in IO_ATTRIBUTES:
            found.add(f".{node.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "input"):
            found.add(node.func.id)
    return found


@pytest.mark.parametrize("module", modules(without="cli"))
def test_only_starred_modules_do_io(module: str) -> None:
    starred = module.removeprefix("ncclprobe.") in STARRED
    assert bool(io_of(TREES[module])) == starred, io_of(TREES[module]) or "a starred module that does no I/O"


def test_every_starred_module_exists() -> None:
    assert {f"ncclprobe.{name}" for name in STARRED} <= set(MODULES)


@pytest.mark.parametrize("module", modules())
def test_exceptions_are_caught_by_name(module: str) -> None:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in line {node.lineno}"
            caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
            reraises = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            assert "Exception" not in caught and ("BaseException" not in caught or reraises), f"line {node.lineno}"


@pytest.mark.parametrize("module", modules(without="cli"))
def test_only_the_command_line_prints_or_exits(module: str) -> None:
    called = {ast.unparse(node.func) for node in ast.walk(TREES[module]) if isinstance(node, ast.Call)}
    assert not called & {"print", "sys.exit", "exit", "quit", "click.echo"}


@pytest.mark.parametrize("module", modules())
def test_modules_stay_short(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 400


def body_lines(function: ast.FunctionDef) -> int:
    first = 1 if ast.get_docstring(function) is not None and len(function.body) > 1 else 0
    return (function.end_lineno or 0) - function.body[first].lineno + 1


def functions() -> list[tuple[str, ast.FunctionDef]]:
    return [
        (f"{module}.{node.name}", node)
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]


def test_functions_are_small() -> None:
    lengths = sorted(body_lines(function) for _, function in functions())
    assert lengths[len(lengths) // 2] <= 8


def test_no_function_has_over_40_statements() -> None:
    long = [name for name, function in functions() if sum(isinstance(n, ast.stmt) for n in ast.walk(function)) - 1 > 40]
    assert not long


def test_no_module_is_a_drawer_for_everything() -> None:
    names = {part for module in MODULES for part in module.split(".")}
    assert not names & {"utils", "util", "common", "helpers", "misc"}


# ---- docs


def finding_codes() -> set[str]:
    """Return the codes that the code gives to findings: the first word in kebab-case of each call that makes one."""
    codes = set()
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in MAKERS:
                codes |= {word for word in map(_code, [*node.args, *(k.value for k in node.keywords)]) if word}
    return codes


MAKERS = ("info", "warning", "error", "Finding", "findings.info", "findings.warning", "findings.error")


def _code(node: ast.expr) -> str:
    is_code = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_code and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", node.value) else ""  # type: ignore[attr-defined]


def documented_codes() -> list[str]:
    lines = (DOCS / "findings.md").read_text(encoding="utf-8").splitlines()
    return [match[1] for line in lines if (match := re.match(r"\|\s*`?([a-z0-9]+(?:-[a-z0-9]+)+)`?\s*\|", line))]


def test_every_finding_is_listed() -> None:
    assert not finding_codes() - set(documented_codes())


def test_every_listed_finding_exists() -> None:
    text = "\n".join(ast.unparse(tree) for tree in TREES.values())
    ends, starts = re.findall(r"f'\{[^{}]*\}(-[a-z-]+)'", text), re.findall(r"f'([a-z-]+-)\{[^{}]*\}'", text)
    unseen = [code for code in documented_codes() if f"'{code}'" not in text]
    assert not [code for code in unseen if not code.endswith(tuple(ends)) and not code.startswith(tuple(starts))]


def test_findings_are_listed_once_and_in_order() -> None:
    codes = documented_codes()
    assert codes == sorted(set(codes))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_page_that_the_index_names(command: str) -> None:
    assert (DOCS / f"{command}.md").is_file()
    assert f"({command}.md)" in (DOCS / "README.md").read_text(encoding="utf-8")
