"""Control characters, written out: a name must neither move a terminal's cursor nor begin a line of its own.

Source: ECMA-48 (C0 and C1); Unicode 15, UAX 9 (embeddings and isolates turn the order of what follows)
"""

from __future__ import annotations

import re

_MOVING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_ANY = re.compile(rf"[\t\n]|{_MOVING.pattern}")


def visible(text: str) -> str:
    """Return a text of several lines whose control characters are written out, all but tabs and the lines' ends."""
    return _MOVING.sub(_written, text)


def one_line(text: str) -> str:
    r"""Return a text whose control characters are all written out: ``a\nb`` for what would be two lines."""
    return _ANY.sub(_written, text) if _ANY.search(text) else text


def _written(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
