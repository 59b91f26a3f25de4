"""What a Python program puts into the environment, read from its syntax tree; nothing of it is run.

Followed are ``os.environ``, copies of it and variables that are called like environments, ``os.putenv``, the entries
of dictionaries that name variables of NCCL and SGLang, as launchers of Ray or of processes take them, and ``-x
NAME=VALUE`` in lists of words. A value that is no text of its own is one that only the program can tell.
"""

from __future__ import annotations

import ast
import itertools
import re
import warnings
from collections.abc import Iterable

from ncclprobe.tuner.python_environment import (
    PROCESS,
    Write,
    entries,
    environments,
    filled,
    reads,
    removals,
    renewed,
    uses,
    writes,
)
from ncclprobe.tuner.python_values import text_of
from ncclprobe.tuner.script import Dialect, How, Script, Setting

DEEPEST = 400
"""Of a tree that is looked at; deeper ones are made to break a reader."""
_DOTTED = re.compile(r"(?<!\w)(?:[^\W\d]\w*+(?:[ \t\f]|\\\r?\n)*+\.(?:[ \t\f]|\\\r?\n)*+)++")
MOST_PARTS = 256
"""Of a name with dots: of ``import a.b.c``, Python keeps ``a.b`` too, so that one of 60 kB would take a GB."""
BRANCHING = (
    ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.ExceptHandler, ast.With, ast.AsyncWith,
    ast.match_case, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.IfExp, ast.BoolOp,
)  # fmt: skip
BRANCHES = frozenset({"body", "orelse", "handlers", "finalbody", "values"})
"""Their parts of which what is in them may not come to pass, or elsewhere."""
Scope = tuple[int, ...]


def python_script(text: str, source: str) -> Script:
    """Return what a program sets; nothing where it is no Python that this Python reads.

    Args:
        text: Of the file.
        source: What findings call it.
    """
    script = Script(source=source, dialect=Dialect.PYTHON)
    if any(name[0].count(".") > MOST_PARTS for name in _DOTTED.finditer(text)):
        return script
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the program that is read, such as its escapes
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return script
    reader = _Reader(tree)
    reader.walk(tree, (), 0)
    return script._replace(settings=tuple(reader.settings), used=frozenset(reader.used))


class _Reader:
    """Goes through a tree in order.

    A setting's scope is the blocks around it and its environment. What something may have used before it was replaced,
    and what was taken out, moves into a block of its own: it holds no longer beside what follows.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.settings: list[Setting] = []
        self.used: set[str] = set()
        self._known = environments(tree)
        self._numbers = itertools.count(1)
        self._held: dict[str, int] = {}
        """The number of the environment that a name stands for."""
        self._lasting: dict[tuple[str, Scope], list[int]] = {}
        """Places of the settings of a name in a block that nothing has ended yet."""
        self._used_at = 0

    def walk(self, node: ast.AST, scope: Scope, depth: int, into: str | None = "") -> None:
        if depth > DEEPEST:
            return
        if isinstance(node, ast.Dict) and into is not None:
            self._write(entries(node, into), scope)
        for name in renewed(node):
            self._held.pop(name, None)
        outside = self._lasting
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._lasting = {}  # it takes nothing out that was set where it is written, but where it is called
        environment, whole = filled(node, self._known)
        beside = None if into is None else ""
        for field, children in ast.iter_fields(node):
            inner = (*scope, next(self._numbers)) if isinstance(node, BRANCHING) and field in BRANCHES else scope
            for child in children if isinstance(children, list) else [children]:
                if isinstance(child, ast.AST):
                    self.walk(child, inner, depth + 1, environment if child is whole else beside)
        self._lasting = outside
        self._follow(node, scope)

    def _follow(self, node: ast.AST, scope: Scope) -> None:
        """Follow what a node itself does, once its parts have done theirs."""
        self._write(writes(node, self._known), scope)
        for environment, name in removals(node, self._known):
            self._remove(environment, name, scope)
        if uses(node, self._known):
            self._used_at = next(self._numbers)
        self.used.update(reads(node, self._known))

    def _write(self, found: Iterable[Write], scope: Scope) -> None:
        alone = (*scope, next(self._numbers))
        for one in found:
            name = text_of(one.name)
            if name is not None and re.fullmatch(r"[A-Za-z_]\w*", name):
                self._set(name, one, self._block(one.environment, scope) if one.environment else alone)

    def _set(self, name: str, write: Write, block: Scope) -> None:
        order = next(self._numbers)
        if write.certain:
            places = self._lasting.setdefault((name, block), [])
            if places and self.settings[places[-1]].order < self._used_at:
                self._end(places)
                places.clear()
            places.append(len(self.settings))
        where = block if write.certain else (*block, order)
        line = getattr(write.place, "lineno", 0)
        self.settings.append(Setting(name, text_of(write.value), line, How.EXPORT, where, order))

    def _remove(self, environment: str, name: str, scope: Scope) -> None:
        if not name:
            self._end([place for places in self._lasting.values() for place in places])
            self._lasting.clear()
        for depth in range(len(scope) + 1):
            self._end(self._lasting.pop((name, self._block(environment, scope[:depth])), []))

    def _block(self, environment: str, scope: Scope) -> Scope:
        if environment == PROCESS:
            return scope
        return (*scope, self._held.setdefault(environment, next(self._numbers)))

    def _end(self, places: list[int]) -> None:
        """Move settings into a block of their own, where those of one block stay together."""
        number = next(self._numbers)
        for place in places:
            setting = self.settings[place]
            self.settings[place] = setting._replace(scope=(*setting.scope, number))
