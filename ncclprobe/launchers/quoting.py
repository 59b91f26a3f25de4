"""Values as words of a shell's line or of a scheduler's directive: none of them is ever read as anything else.

Source: bash 5.2, bash(1), QUOTING; Slurm 22.05, sbatch(1); OpenPBS 22, qsub(1B)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ncclprobe.errors import UsageError

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_CONTROL = re.compile(r"[\x01-\x1f\x7f]")
_KEYWORDS = frozenset(
    "if then elif else fi time for in until while do done case esac coproc select function".split()  # noqa: SIM905
)
"""Words that bash takes for its grammar where a command begins, unless they are quoted."""
_IN_DIRECTIVE = re.compile(r"[A-Za-z0-9_.,:@%+=/-]+")
_DIRECTIVE = re.compile(r"-[!%&()*+,./0-9:;<=>?@A-Z\[\]^_a-z{|}~-]+(?: [!%&()*+,./0-9:;<=>?@A-Z\[\]^_a-z{|}~-]+)?")
"""Printable ASCII without quotes, ``#``, ``$``, backslash and backtick; one blank, between an option and its value."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def quoted(word: str) -> str:
    """Return a word as bash reads it back; on one line, so that none of it can look like a directive.

    Raises:
        UsageError: No process can be given such a word.
    """
    _refuse_unencodable(word)
    if _PLAIN.fullmatch(word):
        return word
    if _CONTROL.search(word):
        return f"$'{_CONTROL.sub(_escape, _escape_quotes(word))}'"
    return _in_quotes(word)


def shell_line(words: Sequence[str]) -> str:
    """Return a command's words as one line that runs this command, whatever the words are.

    Raises:
        UsageError: There is no word, or one that no process can be given.
    """
    if not words or not words[0]:
        raise UsageError("a command needs at least a program's name")
    first = words[0]
    is_grammar = first in _KEYWORDS or "=" in first
    return " ".join([_in_quotes(first) if is_grammar and _PLAIN.fullmatch(first) else quoted(first)]
                    + [quoted(word) for word in words[1:]])  # fmt: skip


def export_line(name: str, value: str) -> str:
    """Return the line that exports a variable.

    Raises:
        UsageError: The name is none, or no process can be given the value.
    """
    if not _VARIABLE.fullmatch(name):
        raise UsageError(f"{name!r} is no variable's name; write NAME=VALUE with letters, digits and _")
    return f"export {name}={quoted(value)}"


def directive_value(value: str, what: str) -> str:
    """Return a value that a directive can hold; nothing there can be quoted.

    Args:
        value: A name of a queue, an account.
        what: The option that gave it, for the message.

    Raises:
        UsageError: It has something else than letters, digits and ``_.,:@%+=/-``.
    """
    if not _IN_DIRECTIVE.fullmatch(value):
        raise UsageError(f"{what} {value!r} cannot stand in a job script's directive; use letters, digits, _.,:@%+=/-")
    return value


def directive(text: str) -> str:
    """Return a further directive as it was written: an option, and perhaps one blank and its value.

    Raises:
        UsageError: It is something else, or has what a scheduler would read in its own way.
    """
    if not _DIRECTIVE.fullmatch(text):
        raise UsageError(
            f"the directive {text!r} cannot stand in a job script: write an option as '--constraint=h100' or "
            "'-l place=excl', without quotes, #, $, backslashes, newlines, or blanks at its ends"
        )
    return text


def _refuse_unencodable(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError as problem:
        raise UsageError(f"{word!r} is no UTF-8; a job script cannot hold it") from problem
    if "\0" in word:
        raise UsageError(f"{word!r} has a NUL, which no process can be given")


def _in_quotes(word: str) -> str:
    return "'" + word.replace("'", r"'\''") + "'"


def _escape_quotes(word: str) -> str:
    return word.replace("\\", r"\\").replace("'", r"\'")


def _escape(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]):02x}"
