"""Colour for terminals: added to finished text at the edge, so that the text itself reads the same everywhere."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

import click

_BAD, _DOUBT, _GOOD, _PLAIN = "red", "yellow", "green", "cyan"
_WORDS = (
    (r"^error(?= [a-z0-9-]+ \()", _BAD),
    (r"^warning(?= [a-z0-9-]+ \()", _DOUBT),
    (r"^info(?= [a-z0-9-]+ \()", _PLAIN),
    (r"^(?:slow|unreachable)(?=: )|(?<=  )(?:slow|unreachable|failed)(?=  |$)", _BAD),
    (r"^suspect(?=: )|(?<=  )suspect(?=  |$)", _DOUBT),
    (r"^(?:Change|Keep the defaults)(?=[:. ])", _GOOD),
    (r"^(?:faster|slower|no-difference|inconclusive)(?=  )", _GOOD),
    (r"^Next(?=: )", _PLAIN),
)
"""What is coloured: words that say the same without it."""


def is_coloured(environment: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Return whether to use colour: on terminals that have it, and never against the user's wish.

    Source: no-color.org (present and not empty); terminfo(5), the terminal type ``dumb``
    """
    return is_terminal and not environment.get("NO_COLOR") and environment.get("TERM", "dumb") != "dumb"


def painted(text: str) -> str:
    """Return the text with its most telling words in colour, where stdout is to have any."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()  # None where it was closed, as some daemons have it
    return with_colour(text) if is_coloured(os.environ, is_terminal=is_terminal) else text


def with_colour(text: str) -> str:
    """Return the text with its most telling words in colour."""
    for pattern, colour in _WORDS:
        shown = click.style(r"\g<0>", fg=colour, bold=True)
        text = re.sub(pattern, shown, text, flags=re.M)
    return text
