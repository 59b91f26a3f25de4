"""Which host a part of a text is about: prompts, headings, labels of lines.

Names that only people would know for one (``== Neil ==``) are no more than a boundary: hosts are then told apart by
their GUIDs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from ncclprobe.captured import prompt

TOOLS = re.compile(
    r"ibv_dev|ibstat|ib_?status|show_gids|ibdev2netdev|\brdma\b|nvidia-smi|/sys/class/infiniband|\bhostname\b|sysfs"
    r"|\btopo\b|lspci|\bmst\b",
    re.IGNORECASE,
)
_RULE = re.compile(r"^\s*[-=*#~]{4,}\s*$")
_NAME = r"[A-Za-z0-9][A-Za-z0-9.-]{1,79}"
_ASSIGNED = re.compile(
    rf"^\W*(?:HOST|HOSTNAME|NODE|NODENAME|SERVER|SLURMD_NODENAME)(?:\s*[:=]\s*|\s+)({_NAME})\s*(?:\([^()]{{0,60}}\))?\W*$",
    re.IGNORECASE,
)
_ANOTHER = re.compile(r"\b(?:another|other|second|2nd|peer)\s+(?:node|host|server|machine)\b", re.IGNORECASE)
_LONGEST = 400
"""Characters of a line that names a host; the searches below would take long for more."""
_COUNTED = re.compile(r"^\W*((?:node|host|server|machine)\s*#?\s*(?:\d{1,5}|[A-D]))\s*[:=*#~-]*\s*$", re.IGNORECASE)
_HEADING = re.compile(r"^\s*(?:[=*#~<>-]{2,}\s*|#+\s+|\[)([A-Za-z0-9./][^=*#~\]]{0,120}?)\s*[\]=*#~<>:-]*\s*$")
_ALONE = re.compile(rf"^({_NAME}):$")
_ANSIBLE = re.compile(rf"^({_NAME}) \| (?:CHANGED|SUCCESS|FAILED|UNREACHABLE)")
_REACHED = (
    re.compile(rf"\bssh\s+(?:-\w+(?:\s+\w+=\S+)?\s+){{0,8}}(?:[\w.-]+@)?({_NAME})\s"),
    re.compile(rf"\bsrun\b.{{0,200}}?(?:\s-w\s*|--nodelist[= ])({_NAME})(?:\s|$)"),
    re.compile(rf"\bkubectl\b.{{0,200}}?\bexec\s+(?:-\w+\s+){{0,8}}(?:pod/)?({_NAME})(?:\s|$)"),
)
_DEVICE_LIKE = re.compile(
    r"(?:mlx\d|mthca|hfi\d|rxe|siw|efa|rdmap|rocep|ibp|irdma|bnxt|eth\d|ib\d|en[ops]\d|bond|GPU|NIC|NV|port|step|table"
    r"|figure|case|test|run|round|v)[\w.-]*\d|\d+(?:\.\d+)*",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"\d+")
_FILES = re.compile(r"\.(?:txt|log|out|err|md|stdout|stderr)$", re.IGNORECASE)


class Mark(NamedTuple):
    """A line that opens a part of the text."""

    host: str | None
    """None where it only says that something new begins."""
    sure: bool = True
    """False for a heading, which may as well name something else."""
    asks_name: bool = False
    """Whether the next line is the host's name."""
    another: bool = False
    """Whether it says that what follows is about another host than what stands above."""


def mark(text: str, above: str) -> Mark | None:
    """Return what a line opens, None where it opens nothing.

    Args:
        text: The line.
        above: The line above it.
    """
    if not text.strip():
        return None
    typed = _typed(text)
    if typed:
        return typed
    if len(text) > _LONGEST:
        return None
    for pattern in (_ASSIGNED, _COUNTED, _ANSIBLE, _ALONE):
        match = pattern.match(text)
        if match and (pattern is _COUNTED or is_host(match[1])):
            return Mark(" ".join(match[1].split()), sure=pattern is not _ALONE)
    if _RULE.match(above) and is_host(text.split("(")[0].strip()):
        return Mark(text.split("(")[0].strip())
    if len(text) < 80 and _ANOTHER.search(text):
        return Mark(None, another=True)
    heading = _HEADING.match(text)
    return Mark(_of_path(heading[1].strip()), sure="==>" in text) if heading else None


def _typed(text: str) -> Mark | None:
    """Return the mark of a prompt; a bare ``#`` or ``>`` counts only before a known tool."""
    typed = prompt(text)
    if typed is None or not (typed.host or text.lstrip().startswith("[") or TOOLS.search(typed.command)):
        return None
    reached = next((match[1] for pattern in _REACHED if (match := pattern.search(typed.command))), None)
    asks_name = typed.command.split()[-1:] == ["hostname"] or typed.command == "hostname -s"
    return Mark(reached or typed.host, asks_name=asks_name)


def is_remark(text: str, above: str, below: str) -> bool:
    """Return whether a line that starts with ``#`` looks like a remark: indented, or between lines without a tool."""
    if not re.match(r"\s*#+\s", text):
        return False
    return text.startswith(("    ", "\t")) or bool(above.strip() and below.strip() and not TOOLS.search(below))


def believed(marks: Iterable[Mark]) -> set[str]:
    """Return the names in headings that are hosts': those of several headings that are numbered alike."""
    names = {mark.host for mark in marks if mark.host and not mark.sure}
    stems = Counter(_DIGITS.sub("0", name) for name in names)
    return {name for name in names if stems[_DIGITS.sub("0", name)] > 1}


def _of_path(text: str) -> str | None:
    """Return the host in a heading: its only word, or the file's or folder's name in ``==> dgx001/ibstat.txt <==``."""
    for part in reversed(text.strip("<> ").split("/")):
        name = _FILES.sub("", part)
        if name and not TOOLS.search(name):
            return name if is_host(name) else None
    return None


def is_host(text: str) -> bool:
    """Return whether a word looks like a host's name: with a number, a hyphen or a dot, and no device's or tool's."""
    if not re.fullmatch(_NAME, text) or TOOLS.search(text) or _DEVICE_LIKE.fullmatch(text):
        return False
    return bool(re.search(r"[A-Za-z]", text) and re.search(r"[\d.-]", text))


def of_source(source: str | None) -> str | None:
    """Return the host that a line's label names; None for ranks."""
    for label in reversed((source or "").split()):
        name = _FILES.sub("", label.rsplit("/", 1)[-1])
        if is_host(name) and not re.fullmatch(r"(?:rank|default|worker)\d+", name):
            return name
    return None
