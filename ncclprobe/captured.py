"""Captured text as clean lines: what launchers, log collectors, terminals, mailers and web pages put around it is gone.

Only what cannot be content is taken away line by line (mpirun's ``[1,0]<stdout>:``, a full date with a time, escape
codes); what could be content (``0: ``, ``[0] ``, ``> ``, ``dgx001: ``) goes only where most lines have it. The label
that a prefix carried is kept as the line's source, so that lines of several ranks or hosts can be told apart.

Source: Open MPI 5.0 and PRRTE (``--output tag,timestamp``), Slurm 24.05 (``srun --label``), MPICH 4.2
(``-prepend-rank``), pdsh 2.35 and ClusterShell 1.9 (``host: ``), Kubernetes CRI logs, Python 3.12
(``logging``) and loguru 0.7, RFC 2045 (quoted-printable), ECMA-48 (escape codes).
"""

from __future__ import annotations

import collections
import html
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from ncclprobe.decoding import any_json


class Line(msgspec.Struct, frozen=True):
    """One line of a captured text."""

    number: int
    """In the text as captured, counted from 1."""
    text: str
    """Without prefixes and trailing blanks; leading blanks and tabs are kept."""
    source: str | None = None
    """The rank, host or file that the prefixes named; None where there were none."""


class Prompt(msgspec.Struct, frozen=True):
    """A shell's prompt with the command typed after it."""

    command: str
    """May be empty."""
    host: str | None = None
    """Where the prompt names it."""


def clean(text: str) -> list[Line]:
    """Return the lines of ``text`` without what is not the program's own output; blank lines are kept."""
    lines = _physical_lines(_unescaped(text))
    for step in (_without_quoted_printable, _without_json, _without_markup):
        lines = step(lines)
    return strip_prefixes([Line(line.number, plain_text(line.text), line.source) for line in lines])


# ---- characters


_ESCAPE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # operating system commands, such as a terminal's title
    r"|(?:\x1b|\x9b|\^\[|\\(?:033|e|x1b|u001b)|[␛←\ufffd])\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[()][0-9A-B]|\x1b[=>78cDEHM]",
    re.IGNORECASE,
)
_LOST_ESCAPE = re.compile(
    r"\[(?:[0-9]|[2-4][0-9]|9[0-7])(?:;[0-9]{1,3})*m(?=[^\w]|[A-Za-z_]|\d(?!\d?s\b))|\[(?:[0-9]|[2-4][0-9])m$"
)
_SPACES = str.maketrans(
    dict.fromkeys(
        "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "
    )
    | dict.fromkeys("\ufeff\u200b\u200c\u200d\u2060\x00\x07\x08")
)


def plain_text(text: str) -> str:
    """Return a line without escape codes (also where the ESC byte was lost), odd blanks and trailing blanks."""
    if "[" in text or "\x1b" in text:
        text = _LOST_ESCAPE.sub("", _ESCAPE.sub("", text))
    return (text if text.isascii() and text.isprintable() else text.translate(_SPACES)).rstrip()


def _unescaped(text: str) -> str:
    r"""Return a text whose line ends and tabs were written as ``\n`` and ``\t`` with real ones."""
    if text.count("\\n") < max(2, 3 * text.strip().count("\n") + 1):
        return text
    return text.replace("\\r", "").replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')


MAX_LINE = 1 << 18
"""Characters of a line that are read: more are no line that a program wrote, and would take minutes to search."""


def _physical_lines(text: str) -> list[Line]:
    """Return the lines; a carriage return ends one too, without being counted."""
    return [
        Line(number, part[:MAX_LINE])
        for number, line in enumerate(text.split("\n"), 1)
        for part in line.removesuffix("\r").split("\r")
    ]


# ---- mail


_QP_ESCAPE = re.compile(r"=(?:3D|20|09|0D|0A|1B|[89A-F][0-9A-F])")
_QP_SIGN = re.compile(rf"{_QP_ESCAPE.pattern}|=$")
_QP_PROOF = re.compile(r"=(?:3D|09)|[^=]=$")


def _without_quoted_printable(lines: list[Line]) -> list[Line]:
    """Decode quoted-printable where it shows; else take away ``=20`` that many lines end in.

    It shows where every ``=`` is an escape, or several stand where other texts have none.
    """
    lines = [Line(line.number, line.text.rstrip(), line.source) for line in lines]
    signs = [line.text for line in lines if "=" in line.text]
    proofs = [text for text in signs if _QP_PROOF.search(text)]
    certain = [text for text in proofs if "=3D" in text or len(text) >= 70]
    if len(certain) > 1 or (proofs and all(len(_QP_SIGN.findall(text)) == text.count("=") for text in signs)):
        return list(_quoted_printable(lines))
    if sum(text.endswith("=20") for text in signs) < 3:
        return lines
    return [Line(line.number, line.text.removesuffix("=20")) for line in lines]


def _quoted_printable(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield decoded lines; a soft line break joins a line with the next one."""
    number, text = 0, ""
    for line in lines:
        number = number or line.number
        if line.text.endswith("=") and not line.text.endswith("=="):
            text += line.text[:-1]
            continue
        yield Line(number, _unquoted(text + line.text))
        number, text = 0, ""
    if number:
        yield Line(number, _unquoted(text))


def _unquoted(text: str) -> str:
    """Return a text with those escapes decoded that cannot be content: ``=22`` may be a number."""
    decoded = _QP_ESCAPE.sub(lambda match: chr(int(match[0][1:], 16)), text)
    try:
        return decoded.encode("latin-1").decode()
    except UnicodeError:
        return decoded


# ---- web pages and log collectors


_TAG = re.compile(r"</?(?:pre|code|tt|p|div|span|b|i|u|em|strong|font|samp|kbd|details|summary)\b[^<>]{0,200}>", re.I)
_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|nbsp|#\d{1,5}|#x[0-9a-f]{1,4});", re.IGNORECASE)


def _without_markup(lines: list[Line]) -> list[Line]:
    """Return the lines with entities resolved, HTML tags and Markdown fences gone and ``<br>`` as a line's end."""
    return [
        Line(line.number, _entities(part), line.source) for line in lines for part in _BREAK.split(_fences(line.text))
    ]


def _entities(text: str) -> str:
    if "<" in text:
        text = _TAG.sub("", text)
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text) if "&" in text else text


def _fences(text: str) -> str:
    bare = text.strip()
    if bare.startswith("```") or bare.endswith("```"):
        return bare.removeprefix("```").removesuffix("```")
    return text


def _without_json(lines: list[Line]) -> list[Line]:
    """Return the messages of lines that a log collector wrapped in JSON, if all are."""
    full = [line for line in lines if line.text.strip()]
    if not full or not all(line.text.lstrip().startswith('{"') for line in full):
        return lines
    messages = [(line, _message(line.text)) for line in full]
    if any(message is None for _, message in messages):
        return lines
    return [Line(line.number, part) for line, message in messages for part in (message or "").rstrip("\n").split("\n")]


def _message(text: str) -> str | None:
    try:
        entry = any_json(text)
    except ValueError:
        return None
    found = (entry.get(key) for key in ("log", "message", "msg", "textPayload", "line", "MESSAGE"))
    return next((value for value in found if isinstance(value, str)), None)


# ---- prefixes


class _Prefix(NamedTuple):
    pattern: re.Pattern[str]
    share: float
    """Of the lines that must have it, 0 where it cannot be content."""
    repeated: bool = False
    """Whether each label must occur several times, or all be numbered alike, as a table's first column isn't."""


def _prefix(pattern: str, share: float = 0.0, *, repeated: bool = False) -> _Prefix:
    return _Prefix(re.compile(rf"[ \t]{{0,16}}(?:{pattern})"), share, repeated)


_CLOCK = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_DATE = rf"\d{{4}}[-/]\d\d[-/]\d\d[T _]{_CLOCK}(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
_CTIME = rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{{2}} [ \d]\d {_CLOCK} \d{{4}}"
_PREFIXES = (
    _prefix(rf"(?:{_CTIME}[ ]?)?\[?(?P<who>(?:[\w.-]{{1,80}}@)?\d+,\d+)\](?:<std[a-z]{{2,4}}>)?:"),
    _prefix(rf"{_CTIME}(?:<std[a-z]{{2,4}}>:|[ \t]|$)"),
    _prefix(rf"\[{_DATE}(?:[ ,][^\[\]]{{0,40}})?\](?:[ \t:]|$)[ ]?"),
    _prefix(rf"{_DATE}(?: std(?:out|err) [FP](?:[ ]|$)|[ \t]|:[ \t]|$)"),
    _prefix(
        rf"(?:<\d{{1,3}}>)?[A-Z][a-z]{{2}} [ \d]\d {_CLOCK} (?P<who>[\w.-]{{1,80}}) [\w./-]{{1,60}}(?:\[\d+\])?:[ ]?"
    ),
    _prefix(r"\[(?P<who>(?:rank|default|worker|pod/)[\w./-]{1,120})\](?::[ ]?|[ ])"),
    _prefix(r"\((?P<who>\w{1,60} pid=\d+(?:, ip=[\w.:]{1,60})?)\)[ ]?"),
    _prefix(r"(?P<who>\d{1,6}):(?:[ ](?![\w.-]{1,60}: (?:node_type|<))|$)", 0.5),
    _prefix(rf"\[?{_CLOCK}\]?(?:[ \t]|$)", 0.5),
    _prefix(r"(?:> ?){1,12}", 0.6),
    _prefix(r"\[ {0,10}\d+\.\d{3,6}\](?:[ ]|$)", 0.8),
    _prefix(r"\[(?P<who>\d{1,6})\](?:[ ]|$)", 0.8),
    _prefix(r"\[?(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR)\]?:?(?:[ \t]+|$)", 0.8),
    _prefix(r"(?:- )?(?:[\w.]{1,60} - )?(?:DEBUG|INFO|WARNING|ERROR) -(?: |$)", 0.8),
    _prefix(r"\| (?:DEBUG|INFO|WARNING|ERROR) {1,9}\| [\w.<>]{1,80}:[\w.<>]{1,80}:\d+ -(?: |$)", 0.8),
    _prefix(r"(?P<who>[\w./-]{1,120}\.(?:txt|log|out|err|stdout|stderr))[:-][ ]?", 0.8, repeated=True),
    _prefix(r"(?P<who>[\w.-]{1,60}(?:/[\w.-]{1,60}){1,6}\.[A-Za-z]\w{0,9}):(?!\d)[ ]?", 0.8, repeated=True),
    _prefix(
        r"(?P<who>(?!GPU|NIC|CPU|\d+:)(?=[A-Za-z0-9.-]{0,80}[0-9.-])[A-Za-z0-9][A-Za-z0-9.-]{0,80}):(?!\d)[ \t]?",
        0.8,
        repeated=True,
    ),
    _prefix(r"(?P<who>[\w.-]{1,80}) *\|(?:[ \t]|$)", 0.8, repeated=True),
    _prefix(r"\[(?P<who>[a-z0-9][\w.-]{1,80}(?: [\w.-]{1,80})?)\](?:[ ]|$)", 0.8, repeated=True),
)
_ROUNDS = 8
_SAMPLE = 4000
_NUMBERED = re.compile(r"[ \t]{0,10}(\d{1,7})(?:\t|:(?! \S|\d\d:)|\| ?|-(?!\d)|$)")


def strip_prefixes(lines: list[Line]) -> list[Line]:
    """Return the lines without ranks', hosts', files' and collectors' labels, line numbers, times and quote marks."""
    lines = _without_numbers(lines)
    for _ in range(_ROUNDS):
        before = lines
        for prefix in _PREFIXES:
            if _is_consistent(prefix, lines):
                lines = [_without(prefix.pattern, line) for line in lines]
        if lines == before:
            break
    return lines


def _sample(lines: list[Line]) -> list[str]:
    full = [line.text for line in lines if line.text]
    return full[:: len(full) // _SAMPLE + 1]


def _is_consistent(prefix: _Prefix, lines: list[Line]) -> bool:
    """Return whether a prefix is one: always, or since enough lines have it."""
    if not prefix.share:
        return True
    texts = _sample(lines)
    matches = [match for text in texts if (match := prefix.pattern.match(text))]
    if not matches or len(matches) < prefix.share * len(texts):
        return False
    if not prefix.repeated:
        return True
    counts = collections.Counter(match["who"] for match in matches)
    if min(counts.values()) > 1:
        return True
    return len({re.sub(r"\d+", "0", who) for who in counts}) == 1 < len(counts) and len(matches) == len(texts)


def _without(pattern: re.Pattern[str], line: Line) -> Line:
    match = pattern.match(line.text)
    if not match:
        return line
    who = match["who"] if "who" in pattern.groupindex else None
    labels = [label for label in (line.source, who) if label]
    return Line(line.number, line.text[match.end() :], " ".join(labels) or None)


def _without_numbers(lines: list[Line]) -> list[Line]:
    """Return the lines without the numbers of ``grep -n`` or ``cat -n``: on nearly every line, each above the last.

    Before a tab they count each line, or they are a table's first column.
    """
    full = [line.text for line in lines if line.text]
    matches = [match for text in full if (match := _NUMBERED.match(text))]
    if len(matches) < max(2, 0.9 * len(full)):
        return lines
    steps = [int(high[1]) - int(low[1]) for low, high in itertools.pairwise(matches)]
    most = 1 if any(match[0].endswith("\t") for match in matches) else max(steps)
    return [_without(_NUMBERED, line) for line in lines] if all(0 < step <= most for step in steps) else lines


# ---- what parsers ask of a line


_PROMPTS = (
    re.compile(
        r"(?:[$#>] )?(?:\(+[^()\s]{1,60}\)(?: \))?[ -]?){0,2}\[?(?P<user>[A-Za-z_][\w.-]{0,60})@(?P<host>[\w.-]{1,80})"
        r"[^$#%>\s]{0,200}(?: [^$#%>\s]{0,80}){0,3}[$#%>] ?(?P<command>.*)"
    ),
    re.compile(r"(?:\([^()\s]{1,60}\) ?)?\[[^\[\]]{1,200}\][$#%>] ?(?P<command>.*)"),
    re.compile(r"(?P<host>[A-Za-z][\w.-]{0,60}):[\w./~-]{1,200} ?[$#%>] ?(?P<command>.*)"),
    re.compile(r"(?:(?:ba|z|k|da)?sh-[\d.]{1,10})[$#] ?(?P<command>.*)"),
    re.compile(r"(?:[$#%>➜❯]|\+{1,3}(?= )) ?(?P<command>.*)"),
)


def prompt(text: str) -> Prompt | None:
    """Return the prompt that a line starts with, None where it has none.

    A bare ``#`` or ``>`` counts as one: ask this only of lines whose command you then recognise.
    """
    bare = text.strip()
    for pattern in _PROMPTS:
        if match := pattern.match(bare):
            return Prompt(match["command"].strip(), match["host"] if "host" in pattern.groupindex else None)
    return None


def cells(text: str) -> tuple[str, ...] | None:
    """Return the cells of a Markdown or bordered table's row (``| a | b |``), None where a line is none."""
    bare = text.strip()
    if not bare.startswith("|") or bare.count("|") < 2:
        return None
    return tuple(cell.strip() for cell in bare.strip("|").split("|"))


def by_source(
    lines: Iterable[Line], key: Callable[[str | None], str | None] = lambda source: source
) -> dict[str | None, list[Line]]:
    """Return the lines of each rank, host or file, in order of first appearance."""
    groups: dict[str | None, list[Line]] = {}
    for line in lines:
        groups.setdefault(key(line.source), []).append(line)
    return groups
