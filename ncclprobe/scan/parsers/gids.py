"""``show_gids`` -> HCAs: one for each row.

Source: MLNX_OFED 24.10, show_gids (two columns are called DEV, the IPv4 column is empty for link-local GIDs, and
``v1`` stands for the kernel's ``IB/RoCE v1``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ncclprobe.captured import Line, cells
from ncclprobe.records.scan import Gid, Hca, Port
from ncclprobe.scan.parsers import values

ROW = re.compile(
    r"(?<![\w.:-])(?P<name>[A-Za-z][\w.-]*)\s+(?P<port>\d{1,3})\s+(?P<index>\d{1,5})\s+"
    r"(?P<gid>[0-9A-Fa-fx*]{4}(?::[0-9A-Fa-fx*]{4}){7})(?P<rest>[^:]*)"
)
_VERSION = re.compile(r"(?<![\w.])(?:(?:IB/)?RoCE ?)?v[12](?:\.0)?(?![\w.])", re.IGNORECASE)
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")


def row(text: str) -> str:
    """Return a line with a Markdown table's bars as blanks."""
    return " ".join(cells(text) or (text,))


def read(lines: Iterable[Line]) -> list[Hca]:
    """Return an HCA with one port and one GID for each row, in the text's order."""
    return [_hca(match) for line in lines for match in ROW.finditer(row(line.text))]


def _hca(match: re.Match[str]) -> Hca:
    version = _VERSION.search(match["rest"])
    netdev = _netdev(match["rest"][version.end() :] if version else match["rest"])
    # The kernel says "IB/RoCE v1": without an interface that v1 may as well be InfiniBand's GID.
    kind = values.gid_type(version[0]) if version and (netdev or "2" in version[0]) else None
    gid = Gid(index=int(match["index"]), gid=match["gid"], type=kind, netdev=netdev)
    port = Port(port=int(match["port"]), netdev=netdev, gids=(gid,))
    return Hca(name=match["name"], ports=(port,), bond=values.is_bond(match["name"], netdev))


def _netdev(text: str) -> str | None:
    words = [word for word in text.split() if not _IPV4.fullmatch(word)]
    return words[0] if words and re.match(r"[A-Za-z]", words[0]) else None
