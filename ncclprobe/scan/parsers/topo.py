"""``nvidia-smi topo -m`` and ``-mp`` -> GPUs with their nearest HCAs, NUMA nodes and NVLinks.

Cells are told by what they are, not by where they stand: tabs become blanks, leading ones get lost, and wrapped
terminals glue cells together (``NODENODE``). The matrix is symmetric, so a row that was cut is read from its column.

Source: nvidia-smi of driver 580 (its legend; columns ``CPU Affinity``, ``NUMA Affinity``, ``GPU NUMA ID``; network
devices as ``NIC0`` with a legend) and of drivers before 515 (network devices by name, ``SOC`` for ``SYS`` before 384).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ncclprobe.captured import Line, cells
from ncclprobe.nodesets import natural_key
from ncclprobe.records.scan import Gpu, Hca, Host
from ncclprobe.scan.parsers import values

NEAR = ("PIX", "PXB", "PHB", "NODE")
"""Distances in ascending order; SYS is not near."""

MAX_LINKS = 18
"""NVLinks of one GPU at most. Source: NVIDIA H100 and B200 data sheets."""

_WORDS = "NODE|SYS|PIX|PXB|PHB|SOC|NV[0-9]{1,2}|X"
_RELATION = re.compile(rf"[ \t]*({_WORDS}|N/A)(?=[ \t]|$|{_WORDS})")
_GPU = re.compile(r"GPU\d{1,4}")
_LABEL = re.compile(r"GPU\d{1,4}|[A-Za-z](?:(?![\d_])[\w.-])*[\d_][\w.-]*")
_GLUED = re.compile(r"(?<=\d)(?=(?:GPU|NIC)\d)|(?<=GPU\d)(?=[a-z])|(?<=GPU\d\d)(?=[a-z])")
_TAIL = re.compile(r"(GPU[ \t]+NUMA)[ \t]+ID|(?<![A-Za-z_])(CPU|NUMA)\b(?:[ \t]+Affinity)?|\b(MIG)\b", re.IGNORECASE)
_USUAL_TAIL = ("CPU", "NUMA", "GPU NUMA")
_LEGEND = re.compile(r"\b(NIC\d+):[ \t]*([A-Za-z][\w.-]*)")
_LINKS_KNOWN = re.compile(r"\bNV#\s*=")
_CPUS = re.compile(r"\d+-\d+(?:,.*)?|\d+,.*")
_CPU_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")


class _Row:
    """One row: how its device relates to each column's, and the text behind that."""

    def __init__(self) -> None:
        self.relations: list[str] = []
        self.rest = ""

    def extend(self, text: str) -> None:
        """Take the relations at the text's start; what follows them is the affinity columns'."""
        end = 0
        while match := _RELATION.match(text, end):
            self.relations.append(match[1])
            end = match.end()
        self.rest = text[end:]

    def continue_with(self, text: str) -> None:
        """Take the next line, where a narrow terminal or a mailer wrapped the row."""
        if _RELATION.match(text) and not self.rest.strip():
            self.extend(text)
        elif _CPUS.match(text) and not self.rest.strip():
            self.rest = f"\t{text}"


class _Table:
    """A matrix as its lines say it."""

    def __init__(self) -> None:
        self.columns: list[str] = []
        self.tail: list[str] = []
        self.rows: dict[str, _Row] = {}
        self.legend: dict[str, str] = {}
        self.links_known = False

    def add(self, text: str) -> None:
        """Read one line."""
        bare = _bare(text)
        labels, tail = _header(bare)
        self.links_known = self.links_known or bool(_LINKS_KNOWN.search(text))
        if legend := _LEGEND.findall(text):
            self.legend.update(legend)
        elif (labels or tail) and not self.rows and not self.tail:
            self.columns += labels
            self.tail = tail
        elif label := _row_label(bare):
            self.rows[label] = row = _Row()
            row.extend(bare[len(label) :])
        elif self.rows and "=" not in bare:
            next(reversed(self.rows.values())).continue_with(bare)

    def tells_distances(self) -> bool:
        """Return whether this is a matrix of distances, and not one of ``topo -p2p``."""
        relations = {relation for row in self.rows.values() for relation in row.relations}
        return bool(relations - {"X", "N/A"} or (relations and len(self.columns) < 2))

    def relations(self) -> dict[str, dict[str, str]]:
        """Return how each device relates to others: as its own row says, else as theirs do."""
        known: dict[str, dict[str, str]] = {label: {} for label in (*self.columns, *self.rows)}
        for label, row in self.rows.items():
            for column, relation in zip(self.columns, row.relations, strict=False):
                known[label].setdefault(column, relation)
        for label, row in self.rows.items():
            for column, relation in zip(self.columns, row.relations, strict=False):
                known[column].setdefault(label, relation)
        return known

    def shows_links(self) -> bool:
        """Return whether NVLinks would be in the matrix if there were any."""
        related = (relation for row in self.rows.values() for relation in row.relations)
        return self.links_known or any(relation.startswith("NV") for relation in related)


def _bare(text: str) -> str:
    """Return a line without comment marks and with a Markdown table's bars as tabs."""
    inner = cells(text)
    return "\t".join(inner).lstrip() if inner else text.lstrip(" \t#*/>")


def _header(bare: str) -> tuple[list[str], list[str]]:
    """Return the columns of devices and those behind them that a header names; nothing where a line is none."""
    tail = [next(filter(None, match)).upper() for match in _TAIL.findall(bare)]
    labels = _GLUED.sub(" ", _TAIL.sub(" ", bare)).split()
    if not all(_LABEL.fullmatch(label) and not _RELATION.fullmatch(label) for label in labels):
        return [], []
    return labels, [" ".join(name.split()) for name in tail]


def _row_label(bare: str) -> str | None:
    match = _LABEL.match(bare)
    return match[0] if match and _RELATION.match(bare, match.end()) and not _RELATION.fullmatch(match[0]) else None


def is_header(text: str) -> bool:
    """Return whether a line is a matrix's first one: names of GPUs, of other devices, of affinity columns."""
    if "GPU" not in text:
        return False
    labels, tail = _header(_bare(text))
    return bool(labels) and bool(_GPU.fullmatch(labels[0])) and (len(labels) > 1 or bool(tail))


def is_row(text: str) -> bool:
    """Return whether a line is a GPU's row."""
    label = _row_label(_bare(text)) if "GPU" in text else None
    return bool(label and _GPU.fullmatch(label))


def read(lines: Iterable[Line]) -> list[Host]:
    """Return one host for each matrix, in the text's order."""
    tables: list[_Table] = []
    for line in lines:
        if is_header(line.text) or (not tables and is_row(line.text)):
            tables.append(_Table())
        if tables:
            tables[-1].add(line.text)
    return [_host(table) for table in tables if table.tells_distances()]


def _host(table: _Table) -> Host:
    if not table.columns:
        table.columns, table.tail = _columns_of_rows(table), list(_USUAL_TAIL)
    gpus = sorted({label for label in (*table.columns, *table.rows) if _GPU.fullmatch(label)}, key=natural_key)
    names = {label: _name(table, label) for label in table.columns if not _GPU.fullmatch(label)}
    hcas = sorted({name for name in (*names.values(), *table.legend.values()) if name}, key=natural_key)
    relations, links = table.relations(), table.shows_links()
    return Host(
        host=None,
        hcas=tuple(Hca(name=name, bond=values.is_bond(name)) for name in hcas),
        gpus=tuple(
            Gpu(
                index=int(gpu[3:]),
                numa_node=_numa_node(table, gpu),
                nvlinks=_nvlinks(gpu, relations[gpu], len(gpus)) if links else None,
                nearest_hcas=_nearest(relations[gpu], names),
            )
            for gpu in gpus
        ),
    )


def _columns_of_rows(table: _Table) -> list[str]:
    """Return the columns of a matrix whose header is lost: its rows, where it is square."""
    labels = list(table.rows)
    return labels if all(len(row.relations) == len(labels) for row in table.rows.values()) else []


def _name(table: _Table, label: str) -> str | None:
    """Return the HCA that a column stands for; None where it is a NIC that the legend doesn't name."""
    return table.legend.get(label) if label.startswith("NIC") else label


def _nearest(relations: dict[str, str], names: dict[str, str | None]) -> tuple[str, ...]:
    """Return the HCAs at the smallest distance; none where a distance or one of their names isn't known."""
    if any(label not in relations for label in names):
        return ()
    for near in NEAR:
        found = [names[label] for label in names if relations[label] == near]
        if found:
            known = sorted(filter(None, found), key=natural_key)
            return tuple(known) if len(known) == len(found) else ()
    return ()


def _nvlinks(gpu: str, relations: dict[str, str], count: int) -> int | None:
    """Return a GPU's links in total: those to each peer, or all of them to each where a switch is between.

    More links than a GPU has tell that the same ones are shown for each peer. None where the matrix has one GPU, or
    lacks a peer.
    """
    peers = [relation for label, relation in relations.items() if _GPU.fullmatch(label) and label != gpu]
    if not peers or len(peers) < count - 1:
        return None
    links = [int(relation[2:]) for relation in peers if relation.startswith("NV")]
    return sum(links) if sum(links) <= MAX_LINKS else max(links)


def _unglued(rest: str) -> list[str]:
    """Return the cells behind a row's relations, where a terminal's tab stops left no blank between two as well.

    All ranges of a CPU affinity are of one length: ``0-31,64-951`` are the CPUs ``0-31,64-95`` and the NUMA node 1.
    """
    words = re.sub(r"(?<=\d)(?=N/A)", " ", rest).split()
    ranges = [(int(first), int(last)) for first, last in _CPU_RANGE.findall(words[0])] if words else []
    if len(ranges) < 2 or not _CPUS.fullmatch(words[0]):
        return words
    last = str(ranges[-1][0] + ranges[0][1] - ranges[0][0])
    cpus, _, printed = words[0].rpartition("-")
    if not printed.startswith(last) or printed == last:
        return words
    return [f"{cpus}-{last}", printed[len(last) :], *words[1:]]


def _numa_node(table: _Table, gpu: str) -> int | None:
    """Return what stands in the column ``NUMA Affinity``; where cells are empty, the CPUs are told by their form."""
    rest = table.rows[gpu].rest if gpu in table.rows else ""
    words = _unglued(rest)
    if "NUMA" not in table.tail or not words:
        return None
    position = table.tail.index("NUMA")
    stated_first = "\t" in rest and bool(rest.split("\t")[1].strip())
    if len(words) < len(table.tail) and not stated_first and not _CPUS.fullmatch(words[0]):
        position -= 1
    return values.numa_node(words[position]) if 0 <= position < len(words) else None
