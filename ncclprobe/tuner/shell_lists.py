"""Lists of settings inside a text: ``ALL,NAME=VALUE,NAME="A,B"``.

Source: Slurm 23.11, src/common/env.c (``find_quote_token``: a comma in quotes ends no item, and the quotes go);
qsub(1B) of PBS 2022 (``-v``).
"""

from __future__ import annotations

from collections.abc import Iterator

QUOTES = "'\""


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
