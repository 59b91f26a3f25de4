"""Inputs that are nearly what a reader expects, drawn from samples; the same source of chance gives the same input."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

MOST_BYTES = 60_000
"""Of a mutated input."""
SWOLLEN = 0.03
"""Share of the inputs that are as long as any and of one kind of line: what takes long with these grows too fast."""
TOKENS = (
    *(
    token.encode("utf-8", "surrogatepass")
    for token in (
        "", "\0", "\t", "\r", "\n", "\r\n", "\x1b[31m", "\x1b]0;x\x07", "\x85", "\u2028", "\ufeff", "\u200b", "\ud800",
        "²", "٣", "½", "é", "漢", "'", '"', "`", "\\", "$(", "${", "$((", "<<E\n", "[", "]", "{", "}", "(", ")", "#",
        ";", "|", "&", ",", ":", "=", "-", "--", "-1", "0", "-0", "00", "1e309", "1e-320", "nan", "inf", "-inf", "0x",
        "0x10", "1_000", "9" * 20, "9" * 40, "9" * 4400, "2147483648", "-9223372036854775809", "1.5", ".", "..", "%",
        "%s", "null", "true", "[]", "{}", "[" * 1200, "{" * 1200, '{"a":' * 1200, "(" * 1200, " " * 3000, "a" * 3000,
        "a-" * 1500, "0,1-" * 800, "[1-9]" * 40, "dgx[0-99999]" * 3, "N/A", "(null)", "None", "=20\n", "=3D", "&lt;",
    )),
    b"\xff", b"\xff\xfe", b"\x80" * 40, b"\x1f\x8b\x08",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 2**64, -(2**63), 1.5, 1e308, -0.0, "", "x", "²", "9" * 30, "\x1b[2J", "\0",
    "a\nb", "é" * 200, "x" * 4096, "</script>", [], [None], [[]], {}, {"x": 1}, [1, 2, 3], ["a", "a"], "default",
)  # fmt: skip


def mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return a sample with one to eight changes, or now and then many lines like some of its own."""
    content = chance.choice(seeds)
    if chance.random() < SWOLLEN:
        return _swollen(chance, content)
    if content.lstrip()[:1] in (b"{", b"[") and chance.random() < 0.6:
        content = _other_json(chance, content)
        if chance.random() < 0.7:
            return content[:MOST_BYTES]
    for _ in range(chance.randint(1, 8)):
        content = chance.choice(CHANGES)(chance, content, seeds)[:MOST_BYTES]
    return content


def _span(chance: random.Random, content: bytes, most: int = 200) -> tuple[int, int]:
    start = chance.randint(0, len(content))
    return start, min(len(content), start + chance.randint(0, most))


def _without(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    start, end = _span(chance, content)
    return content[:start] + content[end:]


def _flipped(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    at = chance.randint(0, len(content))
    return content[:at] + bytes([chance.randint(0, 255)]) + content[at + 1 :]


def _with_token(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    at = chance.randint(0, len(content))
    return content[:at] + chance.choice(TOKENS) + content[at:]


def _repeated(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    start, end = _span(chance, content, 60)
    return content[:start] + content[start:end] * chance.choice((2, 3, 50, 400)) + content[end:]


def _cut(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    return content[: chance.randint(0, len(content))]


def _spliced(chance: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    start, end = _span(chance, other := chance.choice(seeds), 2000)
    at = chance.randint(0, len(content))
    return content[:at] + other[start:end] + content[at:]


def _other_field(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Replace a number or a word by something else: what stands elsewhere, or what no one expects there."""
    fields = list(re.finditer(rb"-?[\d.]+|\w+", content[:MOST_BYTES]))
    if not fields:
        return content
    old, new = chance.choice(fields), chance.choice(fields)[0]
    return content[: old.start()] + (new if chance.random() < 0.4 else chance.choice(TOKENS)) + content[old.end() :]


def _moved_line(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    lines = content.split(b"\n")
    taken = lines.pop(chance.randrange(len(lines)))
    for _ in range(chance.choice((0, 1, 1, 2, 30))):
        lines.insert(chance.randint(0, len(lines)), taken)
    return b"\n".join(lines)


CHANGES: tuple[Callable[[random.Random, bytes, Sequence[bytes]], bytes], ...] = (
    _without, _flipped, _with_token, _with_token, _repeated, _cut, _spliced, _other_field, _other_field, _moved_line,
)  # fmt: skip


def _other_json(chance: random.Random, content: bytes) -> bytes:
    """Return a document, or its lines, with some values of another kind or gone; as it was where it is no JSON."""
    lines = content.strip().split(b"\n") if b"}\n{" in content else [content]
    at = chance.randrange(len(lines))
    try:
        document = json.loads(lines[at])
    except (ValueError, RecursionError):
        return content
    if chance.random() < SWOLLEN and isinstance(document, dict | list):
        _grown(chance, document)
    for _ in range(chance.randint(1, 4)):
        _disturb(chance, document)
    lines[at] = json.dumps(document).encode()
    return b"\n".join(lines) + b"\n"


def _swollen(chance: random.Random, content: bytes) -> bytes:
    """Return one to four lines of a sample as often as there is room, their numbers counted up or as they are."""
    lines = content.split(b"\n")
    start = chance.randrange(len(lines))
    part = b"\n".join(lines[start : start + chance.randint(1, 4)])[:2000]
    if chance.random() < 0.4:  # within a line, as names in a list are
        begin, end = _span(chance, part, 12)
        part, room = part[begin:end] or b"x", MOST_BYTES - len(content)
        times = range(max(1, room // max(len(part), 4)))
        return content.replace(part, b"".join(_counted(part, number, chance) for number in times), 1)[:MOST_BYTES]
    counted = chance.random() < 0.6
    times = range(chance.choice((5_000, 20_000, MOST_BYTES)) // (len(part) + 1))
    repeated = [_counted(part, number, chance) if counted else part for number in times]
    return b"\n".join([*lines[: chance.choice((0, 1, start))], *repeated])[:MOST_BYTES] + b"\n"


def _counted(part: bytes, number: int, chance: random.Random) -> bytes:
    """Return a text with one of its numbers, or its end, replaced by another."""
    found = list(re.finditer(rb"[0-9]+", part))
    place = chance.choice(found).span() if found else (len(part), len(part))
    return part[: place[0]] + str(number).encode() + part[place[1] :]


def _grown(chance: random.Random, node: Any) -> None:
    """Repeat an element of a list somewhere below a node, or an entry of a mapping by other names."""
    lists = [node]
    for one in lists:
        lists += [inner for inner in (one.values() if isinstance(one, dict) else one) if isinstance(inner, dict | list)]
    full = [one for one in lists if one]
    if full:
        one = chance.choice(full)
        key = chance.choice(sorted(one)) if isinstance(one, dict) else chance.randrange(len(one))
        times = max(1, MOST_BYTES // 2 // len(json.dumps(one[key])))
        if isinstance(one, dict):
            one.update({f"{key}{number}": one[key] for number in range(times)})
        else:
            one.extend(copy.deepcopy(one[key]) for _ in range(times))


def _disturb(chance: random.Random, node: Any) -> None:
    """Change one value somewhere below a node."""
    while isinstance(node, (dict, list)) and node:
        key = chance.choice(sorted(node)) if isinstance(node, dict) else chance.randrange(len(node))
        inner = node[key]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.85:
            node = inner
            continue
        if chance.random() < 0.2:
            del node[key]
        else:
            node[key] = _like(chance, inner)
        return


def _like(chance: random.Random, value: Any) -> Any:
    """Return a value of the same kind that nobody expects, or one of any kind."""
    same = [other for other in VALUES if type(other) is type(value)]
    return copy.deepcopy(chance.choice(same) if same and chance.random() < 0.6 else chance.choice(VALUES))
