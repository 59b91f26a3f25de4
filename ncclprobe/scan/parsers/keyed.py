"""``key: value`` outputs -> ports: what ibv_devinfo, ibstat and ibstatus have in common.

Keys are found anywhere in a line, so that lines that were joined, quoted or commented out read the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ncclprobe.captured import Line
from ncclprobe.records.scan import Port
from ncclprobe.scan.parsers import values

Pairs = list[tuple[str, str]]

MAX_PORT = 254
"""The highest number of a port: one byte, of which 255 is reserved. Source: InfiniBand Architecture Specification."""


def keys(*names: str) -> re.Pattern[str]:
    """Return the pattern that finds ``name:`` for any of the names, which are patterns themselves."""
    alternatives = "|".join(sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w.])({alternatives})[ \t]*:")


def pairs(lines: Iterable[Line], pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Yield the keys of ``pattern`` with their values; a value ends where the next key or the line does.

    What a narrow terminal or a mailer wrapped stands on the line below the key.
    """
    held: tuple[str, str] | None = None
    for line in lines:
        found = list(pattern.finditer(line.text))
        if held and not found and _goes_on(held[1], line.text):
            held = held[0], f"{held[1]}{line.text.strip()}"
            continue
        if held:
            yield held
        held, ends = None, [*(match.start() for match in found[1:]), len(line.text)]
        for match, end in zip(found, ends, strict=False):
            if held:
                yield held
            held = match[1], line.text[match.end() : end].strip(" \t\"'`|")
    if held:
        yield held


def _goes_on(value: str, below: str) -> bool:
    return bool(below.strip()) and (not value or value.endswith("(") or bool(re.match(r"\s*:[0-9a-f]", below)))


def split(all_pairs: Iterable[tuple[str, str]], first: str) -> list[Pairs]:
    """Return the pairs of each record; the key ``first`` opens one, and what stands before it belongs to none."""
    records: list[Pairs] = []
    for key, value in all_pairs:
        if key == first:
            records.append([])
        if records:
            records[-1].append((key, value))
    return records


def split_ports(record: Pairs, port_keys: frozenset[str], first: str, counts: str) -> list[dict[str, str]]:
    """Return the values of each port.

    The key ``first`` opens a port and holds its number; what comes again within a port is somebody's remark. Where a
    filter took all those lines away, a port opens where a key comes again, and the ports count from 1 as the tools
    print them. No port has a number above the device's count of them, which the key ``counts`` holds.
    """
    stated = [number for key, value in record if key == counts and (number := values.integer(value))]
    highest = stated[0] if stated else MAX_PORT
    numbered = any(key == first for key, _ in record)
    ports: list[dict[str, str]] = []
    for key, value in record:
        if key == first if numbered else key in port_keys and (not ports or key in ports[-1]):
            ports.append({first: value if numbered else str(len(ports) + 1)})
        if ports and key in port_keys and not ports[-1].get(key):
            ports[-1][key] = value
    return [port for port in ports if 0 < (values.integer(port[first]) or 0) <= highest]


def unnamed(ports: Iterable[Port]) -> str:
    """Return ports whose device the text doesn't name, in words."""
    shown = ((port.port, port.state, port.link_layer, port.rate_gbps) for port in ports)
    return "; ".join(" ".join(str(value) for value in port if value is not None) for port in shown)
