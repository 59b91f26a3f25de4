"""What no module may call: text run as a program, objects built from bytes, names in /tmp that others can guess."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

PACKAGE = pathlib.Path(__file__).parents[2] / "ncclprobe"
MODULES = sorted(PACKAGE.rglob("*.py"))
MODULE_NAMES = frozenset(
    {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "telnetlib", "ftplib"}
)
CALLS = re.compile(
    r"(builtins\.)?(eval|exec|compile|__import__)|os\.(system|popen|tempnam|tmpnam|exec\w+|spawn\w+|umask)"
    r"|tempfile\.mktemp|(np|numpy)\.(load|fromfile)|subprocess\.(getoutput|getstatusoutput)"
)


def calls(path: pathlib.Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_runs_text_or_unpacks_objects(path: pathlib.Path) -> None:
    found = calls(path)
    assert not [ast.unparse(call.func) for call in found if CALLS.fullmatch(ast.unparse(call.func))]
    assert not [call.lineno for call in found for word in call.keywords if word.arg in ("shell", "allow_pickle")]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in names} & MODULE_NAMES


def test_no_file_is_made_writable_for_others() -> None:
    modes = [
        (path.name, argument.value)
        for path in MODULES
        for call in calls(path)
        if ast.unparse(call.func).endswith(("chmod", "mkdir", "os.open", "fchmod"))
        for argument in [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int)
    ]
    assert modes
    assert not [(name, oct(mode)) for name, mode in modes if mode & 0o022]


def test_only_the_gang_listens() -> None:
    listening = {
        path.relative_to(PACKAGE).as_posix()
        for path in MODULES
        for call in calls(path)
        if ast.unparse(call.func).rpartition(".")[2]
        in ("create_server", "listen", "HTTPServer", "start_server", "bind")
    }
    assert listening == {"launchers/gang.py", "e2e/sglang_run.py"}  # the latter asks for a free port and lets go of it
