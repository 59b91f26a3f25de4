"""What a Python program puts into the environment, read from its syntax tree; nothing of it is run.

Followed are ``os.environ[NAME] = VALUE``, ``os.environ.setdefault``, ``os.environ.update`` and ``os.putenv``, and the
entries of dictionaries that name variables of NCCL and SGLang, as launchers of Ray or of processes take them. A value
that is no text of its own is one that only the program can tell.
"""

from __future__ import annotations

import ast
import itertools
import re
import warnings
from collections.abc import Iterator

from ncclprobe.tuner.script import Dialect, How, Script, Setting

ENVIRONMENT = ("os.environ", "environ")
OURS = re.compile(r"(?:NCCL|SGLANG|SGL)_\w+")
"""Names that make a dictionary one of variables."""
GETS = ("os.getenv", "os.environ.get", "environ.get")
PUTS = ("setdefault", "__setitem__")
MOST_PARTS = 2
DEEPEST = 400
"""Of a tree that is looked at; deeper ones are made to break a reader."""
Entry = tuple[ast.expr, ast.expr, ast.AST]


def python_script(text: str, source: str) -> Script:
    """Return what a program sets; nothing where it is no Python that this Python reads.

    Args:
        text: Of the file.
        source: What findings call it.
    """
    script = Script(source=source, dialect=Dialect.PYTHON)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the program that is read, such as its escapes
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return script
    reader = _Reader()
    reader.walk(tree, (), 0)
    return script._replace(settings=tuple(reader.settings), used=frozenset(reader.used))


class _Reader:
    """Goes through a tree in order."""

    def __init__(self) -> None:
        self.settings: list[Setting] = []
        self.used: set[str] = set()
        self._numbers = itertools.count(1)

    def walk(self, node: ast.AST, scope: tuple[int, ...], depth: int) -> None:
        if depth > DEEPEST:
            return
        for name, value, place in _entries(node):
            self._set(name, value, place, scope, certain=not _is_default(node))
        self.used.update(_read(node))
        for field, children in ast.iter_fields(node):
            inner = (*scope, next(self._numbers)) if _is_branch(node, field) else scope
            for child in children if isinstance(children, list) else [children]:
                if isinstance(child, ast.AST):
                    self.walk(child, inner, depth + 1)

    def _set(self, name: ast.expr, value: ast.expr, place: ast.AST, scope: tuple[int, ...], *, certain: bool) -> None:
        text = _text(name)
        if text is None or not re.fullmatch(r"[A-Za-z_]\w*", text):
            return
        order = next(self._numbers)
        where = scope if certain else (*scope, order)
        line = getattr(place, "lineno", 0)
        self.settings.append(Setting(text, _text(value), line, How.EXPORT, where, order))


def _is_branch(node: ast.AST, field: str) -> bool:
    """Return whether what is in a part of a node may not come to pass, or elsewhere."""
    blocks = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return (isinstance(node, blocks) and field in ("body", "orelse", "handlers", "finalbody")) or isinstance(
        node, ast.Dict
    )


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_environment(node: ast.expr) -> bool:
    return _dotted(node) in ENVIRONMENT


def _dotted(node: ast.expr) -> str:
    """Return ``os.environ`` for such an expression, empty for what is no name of at most three parts."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < MOST_PARTS:
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _is_default(node: ast.AST) -> bool:
    """Return whether a call sets a variable only where it is not set."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setdefault"


def _entries(node: ast.AST) -> Iterator[Entry]:
    """Yield the names, values and places that a node itself sets."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Subscript) and _is_environment(target.value):
                yield target.slice, node.value, target
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield from _of_call(node, node.func)
    elif isinstance(node, ast.Dict):
        yield from _of_dictionary(node)


def _of_call(node: ast.Call, function: ast.Attribute) -> Iterator[Entry]:
    puts = function.attr in PUTS and _is_environment(function.value)
    if (puts or _dotted(function) == "os.putenv") and len(node.args) == 2:
        yield node.args[0], node.args[1], node
    elif function.attr == "update" and _is_environment(function.value):
        for keyword in node.keywords:
            if keyword.arg:
                yield ast.Constant(keyword.arg), keyword.value, keyword


def _of_dictionary(node: ast.Dict) -> Iterator[Entry]:
    for key, value in zip(node.keys, node.values, strict=True):
        if key is not None and OURS.fullmatch(_text(key) or ""):
            yield key, value, key


def _read(node: ast.AST) -> Iterator[str]:
    """Yield the variables whose value a node uses."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and _is_environment(node.value):
        yield _text(node.slice) or ""
    elif isinstance(node, ast.Call) and node.args and _dotted(node.func) in GETS:
        yield _text(node.args[0]) or ""
