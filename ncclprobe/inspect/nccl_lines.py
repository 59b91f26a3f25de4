"""NCCL's messages in a text, whatever launchers, log collectors, terminals and other programs put around them.

Source: NCCL 2.28.9, src/debug.cc (``ncclDebugLog``): ``host:pid:tid [cudaDev] NCCL INFO message``, and for WARN the
file and line, from 2.27 also the function, before ``NCCL WARN``.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ncclprobe.captured import Line, clean


class Message(NamedTuple):
    """One message of NCCL, or one line of another program."""

    text: str
    """Without NCCL's prefix."""
    level: str | None
    """``INFO``, ``WARN``, ``TRACE``; None for another program's line."""
    host: str | None
    """Where NCCL's prefix names it."""
    thread: str | None
    """Host, process and thread, which tells interleaved messages apart."""
    where: str = ""
    """A WARN's file and line."""


_MARK = re.compile(
    r"(?<![\w.-])(?P<host>(?:[A-Za-z_](?=[\w.-]*:\d+ ?\[)|[A-Za-z0-9_](?=[\w.-]*:\d+:))[\w.-]{0,252})"
    r":(?P<pid>\d{1,10})(?::(?P<tid>\d{1,10}))? ?\[(?P<device>-?\d{1,10})\] "
    r"(?P<where>[^\[\]]{0,250}?)NCCL (?P<level>INFO|WARN|TRACE) ?"
)
_BARE_MARK = re.compile(r"(?<!\w)NCCL (?P<level>INFO|WARN|TRACE) ?")
_MARKUP = re.compile(r"\x1b|&[lg]t;|=3D|=20\n|=\n|^\{\"|\\n", re.MULTILINE)
_CHUNK = 8_000_000
LAST_ERROR = "Last error:"
"""What PyTorch writes on the line before NCCL's last WARN; the two are one message here.

Source: PyTorch 2.9, torch/csrc/distributed/c10d/NCCLUtils.cpp (``getNcclErrorDetailStr``)
"""
_WORDS = ("NCCL", "nccl", "sharp", "SHARP")
_UNFINISHED: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("Got completion", re.compile(r"vendor err \d+|wc->")),
    ("NET/IB : Using", re.compile(r"OOB \S+<\d+>|OOB \S+$")),
    (" -> Algo", re.compile(r"\}|time \d")),
    ("] -> ", re.compile(r" via \S")),
    (" set by environment to", re.compile(r"environment to *\S")),
    ("comm 0x", re.compile(r"n[rR]anks[ =]\d+")),
)
"""What a message that has the first goes on with; where it doesn't, its line was wrapped."""
_WRAPS = 4
_NARROWEST = 60
"""Columns of a terminal."""
_HOURS = 2
"""Digits of what stands where a host does and is a time's hours."""
_LONGEST = 4000
"""Characters of a message that are read: NCCL's buffer has 1,024."""


def messages(text: str) -> Iterator[Message]:
    """Yield NCCL's messages, and other programs' lines that speak of NCCL or SHARP, in order."""
    for lines in _chunks(text):
        yield from _joined(lines, _wrap_width(lines))


def _chunks(text: str) -> Iterator[list[Line]]:
    """Yield clean lines; in parts of a large text that are plain, the search for NCCL's prefix cleans enough."""
    start = 0
    while start < len(text):
        end = len(text) if len(text) <= start + _CHUNK else text.find("\n", start + _CHUNK) + 1 or len(text)
        part, start = text[start:end], end
        if len(text) <= _CHUNK or _MARKUP.search(part):
            yield clean(part)
        else:
            yield [Line(number, line.rstrip()) for number, line in enumerate(part.split("\n"))]


def _wrap_width(lines: Iterable[Line]) -> int | None:
    """Return the width at which a terminal cut lines: the largest, where several lines have it; None without one."""
    widths = collections.Counter(len(line.text) for line in lines)
    widest = max(widths, default=0)
    return widest if widths[widest] > 1 and widest >= _NARROWEST else None


def _joined(lines: Iterable[Line], cut: int | None) -> Iterator[Message]:
    """Yield the messages of lines, wrapped ones in one piece."""
    open_message: Message | None = None
    wraps = width = 0
    is_last_error = False
    for line in lines:
        text, told = line.text, is_last_error
        is_last_error = text.endswith(LAST_ERROR)
        found = list(_marked(text)) if "NCCL " in text else []
        if open_message and not found and text.strip() and wraps < _WRAPS:
            glue = "" if width == cut else " "
            open_message = open_message._replace(text=open_message.text + glue + text.strip())
            wraps, width = wraps + 1, len(text)
            if _is_finished(open_message.text):
                yield open_message
                open_message = None
            continue
        if open_message:
            yield open_message
            open_message = None
        if not found:
            if told and text:
                yield Message(f"{LAST_ERROR} {text.strip()[:_LONGEST]}", None, None, None)
            elif any(word in text for word in _WORDS):
                yield Message(text.strip()[:_LONGEST], None, None, None)
            continue
        yield from found[:-1]
        if _is_finished(found[-1].text):
            yield found[-1]
        else:
            open_message, wraps, width = found[-1], 0, len(text)
    if open_message:
        yield open_message


def _is_finished(text: str) -> bool:
    for start, end in _UNFINISHED:  # noqa: SIM110 (half the time of all(), and this runs for each of millions of lines)
        if start in text and not end.search(text):
            return False
    return True


def _marked(text: str) -> Iterator[Message]:
    """Yield a line's messages: two where two ranks wrote at once; the host is believed only at a line's first."""
    match = _MARK.search(text) or _BARE_MARK.search(text)
    first = True
    while match:
        end = match.end()
        following = _MARK.search(text, end) if "NCCL " in text[end:] else None
        body = text[end : following.start() if following else None][:_LONGEST].strip()
        yield _message(match, body, is_first=first)
        match, first = following, False


def _message(match: re.Match[str], body: str, *, is_first: bool) -> Message:
    named = match.groupdict()
    host = named.get("host")
    if host is None or (len(host) <= _HOURS and host.isdigit()):
        return Message(body, named["level"], None, None)
    thread = f"{host}:{named['pid']}:{named['tid']}"
    return Message(body, named["level"], host if is_first else None, thread, named["where"].strip())
