"""Bare lists of devices, ``ibv_devinfo -l`` and ``ibstat -l`` -> HCAs without ports.

Source: rdma-core 58, libibverbs/examples/devinfo.c (``3 HCAs found:``), infiniband-diags/ibstat.c (names alone) and
kernel-boot/rdma_rename.c.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

from ncclprobe.captured import Line
from ncclprobe.records.scan import Hca
from ncclprobe.scan.parsers import values

_START = re.compile(r"\b\d+ HCAs? found\b|\bibstat +(?:-l|--list_of_cas)\s*$")
_NAME = re.compile(r"[\s#*>]*([A-Za-z][\w.-]*)")
_PERSISTENT = r"(?:ib|roce|iw|rdma|opa)(?:P\d+)?[psox][\da-f]"
"""By which rdma-core renames: the PCI domain (``ibP16p3s0``), if it isn't 0, and bus, onboard index or GUID."""
_DEVICE = re.compile(
    rf"(?:mlx[45]_|ib[ps]?\d|{_PERSISTENT}|hfi1_|bnxt_re|irdma|efa_|erdma_|mana_|qedr|hns_|ionic_|rxe|siw)\w*"
)


def read(lines: Iterable[Line]) -> list[Hca]:
    """Return an HCA for each name below a list's first line, or in a text that holds names of devices alone."""
    texts = [line.text for line in lines if line.text.strip()]
    names = list(_below_starts(texts))
    if not names and all(_DEVICE.fullmatch(text.strip()) for text in texts):
        names = [text.strip() for text in texts]
    return [Hca(name=name, bond=values.is_bond(name)) for name in dict.fromkeys(names)]


def _below_starts(texts: list[str]) -> Iterator[str]:
    for number, text in enumerate(texts, 1):
        if _START.search(text):
            matches = itertools.takewhile(bool, map(_NAME.fullmatch, texts[number:]))
            yield from (match[1] for match in matches if match)
