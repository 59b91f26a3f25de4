"""Which expressions of a Python program are environments, and what a node of its syntax tree does to them."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ncclprobe.tuner.python_values import ABOUT, dotted, tells, text_of

PROCESS = "os.environ"
"""The environment of the program itself."""
ITS_NAMES = frozenset({PROCESS, "_os.environ", "environ"})
OURS = re.compile(r"(?:NCCL|SGLANG|SGL)_\w+")
"""Names that make a dictionary one of variables."""
NAMED = re.compile(r"(?:\w*_)?env(?:s|iron|ironment|_?vars)?\d*", re.IGNORECASE)
"""How variables and keys are called that hold an environment."""
OWN_METHODS = frozenset({"__delitem__", "__setitem__", "clear", "get", "pop", "setdefault", "update"})
"""Of an environment, which start nothing and hand it to nothing."""
QUIET = frozenset({"os.getenv", "os.putenv", "os.unsetenv", "print", "str"})
"""Functions of which the same holds."""
ELSEWHERE = (
    ast.Return, ast.Raise, ast.Break, ast.Continue, ast.Yield, ast.YieldFrom, ast.Await, ast.Import, ast.ImportFrom,
)  # fmt: skip
"""What goes on elsewhere, with the environment as it is."""
PASSING = frozenset({"-x", "--x", "env"})
CONTAINERS = frozenset({"apptainer", "docker", "nerdctl", "podman", "singularity"})
PASSING_IN = PASSING | {"-e", "--env"}
"""Options that other programs have for other things, as grep its patterns."""
OPTION = re.compile(rf"({OURS.pattern})=(.*)", re.DOTALL)


class Write(NamedTuple):
    """A variable that a program sets."""

    name: ast.expr
    value: ast.expr
    place: ast.AST
    environment: str
    """Its name in the program, empty for one that has none."""
    certain: bool = True
    """False for what holds only where the variable is not set."""


class Environments(NamedTuple):
    """What is known of a program's environments."""

    copies: frozenset[str] = frozenset()
    """Names that stand for a copy of the environment, or that are given to what is started."""
    removers: frozenset[str] = frozenset()
    """The program's own functions that take variables out."""

    def name(self, node: ast.expr) -> str:
        """Return what an environment is called, empty for what is none."""
        name = dotted(node)
        if name in ITS_NAMES:
            return PROCESS
        return name if name in self.copies or NAMED.fullmatch(name.rpartition(".")[2]) else ""


def environments(tree: ast.Module) -> Environments:
    """Return what a program's environments are."""
    copies, removers = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "env":
            copies.add(dotted(node.value))
        elif isinstance(node, ast.Assign) and _is_copy(node.value):
            copies.update(map(dotted, node.targets))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _removes(node):
            removers.add(node.name)
    return Environments(frozenset(copies - {""}), frozenset(removers))


def _removes(function: ast.AST) -> bool:
    return any(True for node in ast.walk(function) for _ in removals(node, Environments()))


def _is_process(node: ast.expr) -> bool:
    return Environments().name(node) == PROCESS


def _is_copy(node: ast.expr) -> bool:
    """Return whether an expression makes a copy of the process' environment."""
    if isinstance(node, ast.Call):
        parts = [*node.args, node.func.value] if isinstance(node.func, ast.Attribute) else node.args
        return dotted(node.func).rpartition(".")[2] in ("copy", "deepcopy", "dict") and any(map(_is_process, parts))
    if isinstance(node, ast.Dict):
        return any(key is None and _is_process(value) for key, value in zip(node.keys, node.values, strict=True))
    return isinstance(node, ast.BinOp) and _is_process(node.left)


def filled(node: ast.AST, known: Environments) -> tuple[str | None, ast.AST | None]:
    """Return a dictionary that a node puts into an environment whole, behind that environment.

    The environment is None for a dictionary whose name says that it holds no values, empty where there is none.
    """
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        return (None if ABOUT.fullmatch(dotted(target)) else known.name(target)), node.value
    if isinstance(node, ast.keyword):
        return (None if ABOUT.fullmatch(node.arg or "") else ""), node.value
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.BitOr):
        return known.name(node.target), node.value
    if isinstance(node, ast.Call) and node.args:
        method, into = _method(node, known)
        return (into, node.args[0]) if method == "update" else ("", None)
    return "", None


def renewed(node: ast.AST) -> Iterator[str]:
    """Yield the names that stand for something else behind a node."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        yield from map(dotted, node.targets if isinstance(node, ast.Assign) else [node.target])


def entries(node: ast.Dict, environment: str) -> Iterator[Write]:
    """Yield the variables of NCCL and SGLang that a dictionary has, where its values are theirs.

    Args:
        node: The dictionary.
        environment: That it is put into; empty for one of its own.
    """
    pairs = zip(node.keys, node.values, strict=True)
    yield from _ours([Write(key, value, key, environment) for key, value in pairs if key is not None])


def writes(node: ast.AST, known: Environments) -> Iterator[Write]:
    """Yield what a node other than a dictionary sets."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Subscript) and (name := known.name(target.value)):
                yield from _ours([Write(target.slice, node.value, target, name)])
    elif isinstance(node, ast.Call):
        yield from _ours(list(_of_call(node, known)))
    elif isinstance(node, (ast.List, ast.Tuple)):
        yield from _options([text_of(one) or "" for one in node.elts], node)


def _ours(found: Sequence[Write]) -> Iterator[Write]:
    """Yield what is set in the process, and variables of ours elsewhere with values of their own."""
    named = [(text_of(one.name) or "", one) for one in found]
    ours = [(name, one) for name, one in named if one.environment == PROCESS or OURS.fullmatch(name)]
    elsewhere = [(name, one.value) for name, one in ours if one.environment != PROCESS]
    if not tells(elsewhere):
        yield from (one for _, one in ours)


def _of_call(node: ast.Call, known: Environments) -> Iterator[Write]:
    method, into = _method(node, known)
    if (method in ("setdefault", "__setitem__") or dotted(node.func) == "os.putenv") and len(node.args) == 2:
        yield Write(node.args[0], node.args[1], node, into or PROCESS, certain=method != "setdefault")
    elif method == "update" or dotted(node.func).rpartition(".")[2] == "dict":  # mock.patch.dict takes them, too
        for keyword in node.keywords:
            if keyword.arg:
                yield Write(ast.Constant(keyword.arg), keyword.value, keyword, into)


def _method(node: ast.Call, known: Environments) -> tuple[str, str]:
    """Return which method of which environment is called, empty for any other function."""
    into = known.name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    return (node.func.attr, into) if isinstance(node.func, ast.Attribute) and into else ("", "")


def _options(words: list[str], place: ast.AST) -> Iterator[Write]:
    """Yield what a command's options set, as in ``["mpirun", "-x", "NCCL_DEBUG=INFO"]``."""
    passing = PASSING if CONTAINERS.isdisjoint(words) else PASSING_IN
    for before, word in itertools.pairwise(words):
        if before in passing and (match := OPTION.fullmatch(word)):
            yield Write(ast.Constant(match[1]), ast.Constant(match[2]), place, "")


def removals(node: ast.AST, known: Environments) -> Iterator[tuple[str, str]]:
    """Yield the variables that a node takes out, empty for any one, each behind its environment."""
    if isinstance(node, ast.Delete):
        for target in node.targets:
            if isinstance(target, ast.Subscript) and (name := known.name(target.value)):
                yield name, text_of(target.slice) or ""
    elif isinstance(node, ast.Call):
        method, into = _method(node, known)
        if method in ("pop", "__delitem__", "clear") or dotted(node.func) == "os.unsetenv":
            yield into or PROCESS, (text_of(node.args[0]) or "") if node.args else ""
        elif dotted(node.func).rpartition(".")[2] in known.removers:
            yield PROCESS, ""


def reads(node: ast.AST, known: Environments) -> Iterator[str]:
    """Yield the variables whose value a node uses."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and known.name(node.value):
        yield text_of(node.slice) or ""
    elif isinstance(node, ast.Call) and (dotted(node.func) == "os.getenv" or _method(node, known)[0] == "get"):
        yield from (text_of(name) or "" for name in node.args[:1])


def uses(node: ast.AST, known: Environments) -> bool:
    """Return whether something may use the environment as it is: what is called, copies it, or goes on elsewhere."""
    if isinstance(node, ast.Call):
        return dotted(node.func) not in QUIET and _method(node, known)[0] not in OWN_METHODS
    merged = isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)
    return merged or (isinstance(node, ast.Dict) and None in node.keys) or isinstance(node, ELSEWHERE)
