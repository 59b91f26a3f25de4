"""Texts and names in a Python program's syntax tree, and tables that tell of variables instead of setting them."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from ncclprobe.tuner.variables import stem

MOST_PARTS = 3
"""Of ``self.launcher.env.update`` behind its first name."""
WIDEST = 1 << 64
"""Larger numbers are no values of variables."""
PROSE = re.compile(r"[A-Za-z]{2,}[.:]? +[(A-Za-z]")
"""``Size of the buffer``; values are single words, and lists of devices have digits."""
TYPES = frozenset({"bool", "boolean", "enum", "float", "int", "integer", "list", "path", "str", "string"})
ABOUT = re.compile(
    r"(?:.*[._])?(?:about|alias(?:es)?|categor(?:y|ies)|colou?rs?|desc|descriptions?|docs?|fields?|help|labels?|meanings?|"
    r"metavars?|titles?|types?|units?)",
    re.IGNORECASE,
)
"""Names of tables that have something to say about variables."""


def text_of(node: ast.expr) -> str | None:
    """Return the text that a variable gets; None where only the program can tell."""
    while isinstance(node, ast.Call) and dotted(node.func) == "str" and len(node.args) == 1:
        node = node.args[0]
    if isinstance(node, ast.Constant):
        return _constant(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
        return "".join(map(str, parts)) if len(parts) == len(node.values) else None
    return None


def _constant(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if value < WIDEST else None
    return value if isinstance(value, str) else None


def dotted(node: ast.expr) -> str:
    """Return ``os.environ`` for such an expression, and ``options.env`` for ``options["env"]``; empty for no name."""
    parts: list[str] = []
    while len(parts) < MOST_PARTS and isinstance(node, (ast.Attribute, ast.Subscript)):
        parts.append(node.attr if isinstance(node, ast.Attribute) else text_of(node.slice) or "?")
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def tells(entries: Sequence[tuple[str, ast.expr]]) -> bool:
    """Return whether the values of a table are descriptions, types or other names of the variables, or measurements."""
    echoes = sum(_plain(text_of(value) or "") in (_plain(name), _plain(stem(name))) for name, value in entries)
    numbers = sum(isinstance(value, ast.Constant) and isinstance(value.value, int) for _, value in entries)
    several = len(entries) > 1 and (numbers == len(entries) or 2 * echoes >= len(entries))
    return several or any(_tells(value) for _, value in entries)


def _tells(value: ast.expr) -> bool:
    if isinstance(value, ast.Constant) and isinstance(value.value, float):
        return True
    text = text_of(value) or (value.id if isinstance(value, ast.Name) else "")
    return isinstance(value, (ast.Dict, ast.Lambda)) or text.lower() in TYPES or bool(PROSE.search(text))


def _plain(text: str) -> str:
    return re.sub(r"[\W_]", "", text).lower()
