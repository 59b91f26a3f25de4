"""Lists of settings inside a text: ``ALL,NAME=VALUE,NAME="A,B"``.

Source: Slurm 23.11, src/common/env.c (``find_quote_token``: a comma in quotes ends no item, and the quotes go);
qsub(1B) of PBS 2022 (``-v``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ncclprobe.tuner.script import How, Setting
from ncclprobe.tuner.shell_words import ASSIGNMENT, NAME, Kind, Word

QUOTES = "'\""
KEYED = re.compile(rf"\[({NAME.pattern})\]=")
"""An element of an array with names for its places."""
BEFORE_SETTING = frozenset({"-x", "--x", "-e", "--env", "-genv", "-env"})
"""Options of mpirun, mpiexec, docker and others behind which a setting stands."""
RULE = re.compile(r"[A-Za-z]+:\^?[A-Za-z0-9,]+")
"""What NCCL_ALGO and NCCL_PROTO have behind ``;`` for one collective."""
LONGEST_VALUE = 400
"""Letters of a value that is put together from what several ``;`` separate."""
EXPORTS = re.compile(r"(?:^|[;&|\s])export\s+((?:[A-Za-z_]\w*=[^\s;&|]*[ \t]*)+)")
"""A command within a text that another shell is to run."""
NO_VALUE = re.compile(r"[][*?(){}<>|\\%$`\s]|\.\.\.|,$|^['\"]")
"""In what is a pattern, a placeholder, a description or a part of a value."""


def items(text: str, separator: str = ",") -> list[str]:
    """Return what stands between separators that are not quoted, without quotes around an item or a value.

    Args:
        text: Of an option's value, as the option's program gets it.
        separator: One letter.
    """
    found = list(_split(text, separator))
    if len(found) == 1 and unquoted(text) != text:
        found = list(_split(unquoted(text), separator))
    return [_plain(item) for item in found]


def unquoted(text: str) -> str:
    """Return a text without the quotes that it is in."""
    return text[1:-1] if len(text) > 1 and text[0] in QUOTES and text[0] == text[-1] else text


def _plain(item: str) -> str:
    name, equals, value = unquoted(item).partition("=")
    return f"{name}{equals}{unquoted(value)}"


def _split(text: str, separator: str) -> Iterator[str]:
    """Yield the items; a quote that nothing closes is a letter as any other."""
    begin, quote, closed = 0, "", {letter: text.rfind(letter) for letter in QUOTES}
    for at, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in QUOTES and closed[letter] > at:
            quote = letter
        elif letter == separator:
            yield text[begin:at]
            begin = at + 1
    yield text[begin:]


def settings_in(word: Word, least: int = 1) -> Iterator[tuple[str, str | None]]:
    """Yield the settings that a word holds: at its beginning, as a key, or behind options that set variables.

    Args:
        word: An element of an array or a loop, or a variable's text.
        least: How many settings at its beginning must follow each other to be taken for ones.
    """
    text = "".join(piece.text if piece.kind is Kind.LITERAL else "$" for piece in word.pieces)
    if match := KEYED.match(text):
        yield match[1], _known(text[match.end() :])
        return
    for pair in (pair for found in EXPORTS.findall(text) for pair in found.split()):
        name, _, value = pair.partition("=")
        yield name, _known(unquoted(value))
    tokens = text.split()
    leading = next((at for at, one in enumerate(tokens) if not ASSIGNMENT.match(one)), len(tokens))
    for at, token in enumerate(tokens):
        match = ASSIGNMENT.match(token.removeprefix("--env="))
        if match and ((at < leading and leading >= least) or tokens[at - 1] in BEFORE_SETTING or token[0] == "-"):
            yield match[1], _known(token.removeprefix("--env=")[match.end() :])


def _known(text: str) -> str | None:
    value = unquoted(text)
    return None if NO_VALUE.search(value) else value


def rest_of_value(setting: Setting, word: Word, order: int) -> Setting | None:
    """Return a setting with all of its value where a ``;`` without quotes has ended its command; None where none has.

    Args:
        setting: The last one.
        word: With which the next command begins.
        order: Of that command.
    """
    rule = word.literal or ""
    follows = setting.order == order - 1 and setting.line == word.line and setting.name in ("NCCL_ALGO", "NCCL_PROTO")
    if not follows or not RULE.fullmatch(rule) or len(setting.value or "") > LONGEST_VALUE:
        return None
    return setting._replace(value=setting.value and f"{setting.value};{rule}", how=How.EXPORT, order=order)
