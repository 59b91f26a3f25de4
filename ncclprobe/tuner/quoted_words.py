"""Words with quotes as Dockerfiles and systemd have them, which run no shell over them.

Source: Dockerfile reference, ENV and Environment replacement; systemd.syntax(7), Quoting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

WORD = re.compile(r"""(?:[^\s"'\\]+|"(?:[^"\\]|\\.)*"|'[^']*'|\\.|["'\\])+""", re.DOTALL)
PIECE = re.compile(r""""((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)|([^"'\\]+|["'\\])""", re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
CONTINUED = re.compile(r"(?:\\\n)*")
"""At a word's beginning: it stands on a later line."""
EXPANSION = re.compile(r"\$(?:\{(\w+)\}|(\w+)|)")


def words(text: str, line: int) -> Iterator[tuple[str, int]]:
    """Yield words as they are written, with their lines.

    Args:
        text: Of one instruction, whose lines go on by a backslash.
        line: The number of its first line.
    """
    at = 0
    for match in WORD.finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        leading = CONTINUED.match(match[0])
        ahead = leading.end() if leading else 0
        if ahead < len(match[0]):
            yield match[0][ahead:], line + ahead // 2


def unquoted(word: str, known: Mapping[str, str] | None) -> str | None:
    """Return a word's text without its quotes.

    Args:
        word: As it is written.
        known: The variables that ``$NAME`` puts in; None where a dollar is a letter as any other.

    Returns:
        None where an unknown variable is put in.
    """
    parts: list[str] = []
    for double, single, escaped, plain in PIECE.findall(word):
        if single or escaped:
            parts.append(single or escaped.replace("\n", ""))
            continue
        text = expanded(double or plain, known) if known is not None else double or plain
        if text is None:
            return None
        parts.append(ESCAPED.sub(lambda match: match[1].replace("\n", ""), text) if double else text)
    return "".join(parts)


def expanded(text: str, known: Mapping[str, str]) -> str | None:
    """Return a text with variables put in, None where one of them is not known."""
    parts, at = [], 0
    for match in EXPANSION.finditer(text):
        value = known.get(match[1] or match[2] or "")
        if value is None:
            return None
        parts += [text[at : match.start()], value]
        at = match.end()
    return "".join([*parts, text[at:]])
