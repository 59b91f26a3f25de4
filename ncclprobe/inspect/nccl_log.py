"""NCCL_DEBUG logs of NCCL 2.12 to 2.29: what ran.

Source: NCCL 2.28.9, src/init.cc (communicators, channels), src/transport/*.cc (``via``), src/transport/net_ib.cc
(HCAs), src/enqueue.cc (choices), src/misc/param.cc (variables); older releases' wordings where they differ.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Callable

from ncclprobe.decoding import whole_number
from ncclprobe.inspect.nccl_errors import Troubles
from ncclprobe.inspect.nccl_findings import Evidence, judge
from ncclprobe.inspect.nccl_lines import Message, messages
from ncclprobe.inspect.nccl_plugins import Plugins
from ncclprobe.inspect.source import Reading, Source
from ncclprobe.names import Algo, Collective, LinkLayer, Proto
from ncclprobe.records.inspect import Choice, LogHca, NcclLog

_VERSION = re.compile(r"NCCL version (\d+\.\d+(?:\.\d+)?)")
_SAID_VERSION = re.compile(r"(?:is )?using nccl==(\d+\.\d+(?:\.\d+)?)", re.IGNORECASE)
_RANK = re.compile(r"\brank (\d{1,18}) n[rR]anks (\d{1,18})")
_NRANKS = re.compile(r"\[nranks=(\d{1,18})\]")
_NNODES = re.compile(r"\bn[rR]anks (\d{1,18}) nNodes (\d{1,18})")
_COMM_ID = re.compile(r"\bcommId 0x[0-9a-f]+|\b(?:split|child)Count \d+ color -?\d+")
"""What the ranks of one communicator have alike; one that was split off has its count and color for it from 2.24 on."""
_COLL_CHANNELS = re.compile(r"\b(\d{1,18}) coll channels")
_RING = re.compile(r"Channel \d+/(\d{1,18}) :((?: +\d+)+)$")
_RING_CUT = 900
"""A printed ring that is longer may have been cut by NCCL's buffer of 1,024 characters."""
_VIA = re.compile(
    r" via (?P<key>(?:NET|COLLNET)/[^/]*[^/\s]|P2P/direct pointer|(?:P2P|SHM)/\w+|direct shared memory|"
    r"[A-Z]\w*(?:/\w+)?)"
)
_USED_HCA = re.compile(r"\[\d+\] ?([A-Za-z][\w.-]*):(\d{1,18})/(IB|RoCE)\b")
_OPENED_HCA = re.compile(r"NET/IB ?: \[\d+\] ([A-Za-z][\w.-]*):(?:uverbs\d+:)?(\d{1,18})/(IB|RoCE)\b")
_GDR_HCA = re.compile(r"GPU Direct RDMA (Enabled|Disabled)[^']* for HCA \d+ '([\w.-]+)'( \(no module\))?")
_CHOICE = re.compile(
    r"(?:\b(\w{1,40}) ?: )?(\d{1,18}) Bytes -> Algo (\w{1,20}) proto (\w{1,20})"
    r"(?:.{0,200}?channel\{Lo\.\.Hi\}=\{(\d{1,18})\.\.(\d{1,18})\})?"
)
_SET = re.compile(r"([A-Z][A-Z0-9]*_[A-Z0-9_]+) set (?:by environment )?to (.*)")
_LINKS = {"IB": LinkLayer.INFINIBAND, "RoCE": LinkLayer.ETHERNET}


class Log:
    """What has been read so far."""

    def __init__(self) -> None:
        self.is_log = False
        self.versions: collections.Counter[str] = collections.Counter()
        self.said_version: str | None = None
        self.hosts: dict[str, None] = {}
        self.nranks: set[int] = set()
        self.nnodes: dict[int, int] = {}
        self.members: dict[tuple[str | None, int], dict[int, str | None]] = {}
        self.started: collections.Counter[tuple[int, int]] = collections.Counter()
        self.thread_nranks: dict[str, int] = {}
        self.coll_channels: dict[int | None, int] = {}
        self.ring_channels: dict[int | None, int] = {}
        self.ring_ranks = 0
        self.transports: collections.Counter[str] = collections.Counter()
        self.net_lines = self.gdr_lines = 0
        self.hcas: dict[tuple[str, int | None], LinkLayer | None] = {}
        self.gdr_hcas: dict[str, bool] = {}
        self.choices: collections.Counter[tuple[str | None, int, str, str, int | None]] = collections.Counter()
        self.env: dict[str, dict[str, None]] = {}
        self.symmetric = False
        self.networks: set[str] = set()
        self.plugins = Plugins()
        self.troubles = Troubles()


def read(source: Source) -> Reading | None:
    """Return what ran, None where the text has no line of NCCL's log."""
    if "NCCL" not in source.text:
        return None
    log = Log()
    for message in messages(source.text):
        _take(log, message)
    if not log.is_log:
        return None
    document = _document(source.name, log)
    return Reading(documents=(document,), findings=tuple(judge(document, _evidence(log))))


def _take(log: Log, message: Message) -> None:
    text = message.text
    log.troubles.take(message)
    if message.level is None:
        _take_foreign(log, text)
        return
    log.is_log = True
    if message.host is not None:
        log.hosts.setdefault(message.host)
    if text.startswith("Channel "):  # most lines of most logs
        (_via if " via " in text else _channel)(log, message)
        return
    for needle, handle in _HANDLERS:
        if needle in text:
            handle(log, message)


def _take_foreign(log: Log, text: str) -> None:
    if match := _VERSION.search(text):
        log.is_log = True
        log.versions[match[1]] += 1
    elif match := _SAID_VERSION.search(text):
        log.said_version = log.said_version or match[1]


# ---- communicators


def _version(log: Log, message: Message) -> None:
    if match := _VERSION.match(message.text):
        log.versions[match[1]] += 1


def _communicator(log: Log, message: Message) -> None:
    text = message.text
    if match := _NRANKS.search(text):
        log.nranks.add(int(match[1]))
    if not (match := _RANK.search(text)):
        return
    rank, nranks = int(match[1]), int(match[2])
    log.nranks.add(nranks)
    if message.thread:
        log.thread_nranks[message.thread] = nranks
    comm_id = _COMM_ID.search(text)
    log.members.setdefault((comm_id[0] if comm_id else None, nranks), {}).setdefault(rank, message.host)
    if nodes := _NNODES.search(text):
        log.nnodes[nranks] = max(log.nnodes.get(nranks, 0), int(nodes[2]))
    if "Init START" in text:
        log.started[rank, nranks] += 1
    elif "Init COMPLETE" in text:
        log.started[rank, nranks] -= 1


def _coll_channels(log: Log, message: Message) -> None:
    if match := _COLL_CHANNELS.search(message.text):
        _raise(log.coll_channels, _communicator_size(log, message), int(match[1]))


def _communicator_size(log: Log, message: Message) -> int | None:
    return log.thread_nranks.get(message.thread) if message.thread else None


def _raise(largest: dict[int | None, int], key: int | None, value: int) -> None:
    largest[key] = max(largest.get(key, 0), value)


# ---- connections


def _channel(log: Log, message: Message) -> None:
    match = _RING.match(message.text)
    if not match:
        return
    _raise(log.ring_channels, _communicator_size(log, message), int(match[1]))
    if len(message.text) < _RING_CUT:
        log.ring_ranks = max(log.ring_ranks, len(match[2].split()))


def _via(log: Log, message: Message) -> None:
    match = _VIA.search(message.text) if message.text.startswith(("Channel", "Coll", "Ring")) else None
    if not match:
        return
    key = match["key"]
    log.transports[key] += 1
    if key.startswith(("NET/", "COLLNET/")):
        log.net_lines += 1
        log.gdr_lines += "GDRDMA" in message.text


def _hcas(log: Log, message: Message) -> None:
    text = message.text
    if message.level == "WARN":
        return
    found = _USED_HCA.findall(text) if " Using" in text else _OPENED_HCA.findall(text)
    for name, port, link in found:
        log.hcas[name, int(port)] = _LINKS[link]


def _gdr_hca(log: Log, message: Message) -> None:
    match = _GDR_HCA.search(message.text)
    if match is None or "NET/Socket" in message.text:
        return
    said, hca, by_module = match.groups()
    if not any(name == hca for name, _ in log.hcas):
        log.hcas[hca, None] = None
    if by_module is None:  # else DMA-BUF may still do
        log.gdr_hcas[hca] = log.gdr_hcas.get(hca, False) or said == "Enabled"


# ---- choices and variables


def _choice(log: Log, message: Message) -> None:
    match = _CHOICE.search(message.text)
    if not match:
        return
    word, size, algo, proto, low, high = match.groups()
    nchannels = None if low is None else int(high) - int(low) + 1
    log.choices[_collective(word), int(size), _name(Algo, algo), _name(Proto, proto), nchannels] += 1


def _collective(word: str | None) -> str | None:
    known = Collective.parse(word) if word else None
    return known.value if known else word


def _name(kind: type[Algo] | type[Proto], word: str) -> str:
    """Return NCCL's spelling of an algorithm or a protocol that is logged as a word or as its number."""
    if (number := whole_number(word)) is not None:
        members = list(kind)
        return members[number].value if number < len(members) else word
    known = kind.parse(word)
    return known.value if known else word


def _variable(log: Log, message: Message) -> None:
    if match := _SET.match(message.text):
        value = match[2].strip()
        number = value.removesuffix(".")
        log.env.setdefault(match[1], {}).setdefault(number if number.lstrip("-").isdigit() else value)


def _symmetric(log: Log, _message: Message) -> None:
    log.symmetric = True


def _network(log: Log, message: Message) -> None:
    log.networks.add(message.text.partition("Using network ")[2].strip())
    log.plugins.take(message.text)


def _plugin(log: Log, message: Message) -> None:
    log.plugins.take(message.text)


_HANDLERS: tuple[tuple[str, Callable[[Log, Message], None]], ...] = (
    (" via ", _via),
    ("anks", _communicator),
    ("coll channels", _coll_channels),
    ("-> Algo", _choice),
    (" set ", _variable),
    ("NCCL version", _version),
    ("/IB", _hcas),
    ("/RoCE", _hcas),
    ("for HCA", _gdr_hca),
    ("[Symmetric]", _symmetric),
    ("lugin", _plugin),
    ("Using network ", _network),
    ("NET/", _plugin),
)
"""What a message must contain -> what reads it; the test is cheap, for logs of millions of lines."""


# ---- the document


def _document(name: str, log: Log) -> NcclLog:
    nranks = max(log.nranks, default=log.ring_ranks or None)
    return NcclLog(
        source=name,
        version=next(iter(log.versions), log.said_version),
        nranks=nranks,
        nnodes=_nnodes(log, nranks),
        hosts=tuple(log.hosts),
        transports=dict(log.transports),
        hcas=tuple(LogHca(name=hca, port=port, link=link) for (hca, port), link in log.hcas.items()),
        gdr=log.gdr_lines > 0 if log.net_lines else None,
        nchannels=_of_largest(log.coll_channels, nranks) or _of_largest(log.ring_channels, nranks),
        choices=tuple(
            Choice(collective=collective, size_bytes=size, algo=algo, proto=proto, nchannels=nchannels, count=count)
            for (collective, size, algo, proto, nchannels), count in log.choices.items()
        ),
        env={variable: next(iter(values)) for variable, values in log.env.items()},
        plugins=log.plugins.found(),
        errors=log.troubles.errors(),
        warnings=log.troubles.warnings(),
    )


def _evidence(log: Log) -> Evidence:
    return Evidence(
        versions=tuple(log.versions),
        env_values={name: tuple(values) for name, values in log.env.items()},
        net_lines=log.net_lines,
        gdr_lines=log.gdr_lines,
        gdr_refused=bool(log.gdr_hcas) and not any(log.gdr_hcas.values()),
        unfinished=sum(count for count in log.started.values() if count > 0),
        symmetric=log.symmetric,
        networks=frozenset(log.networks),
    )


def _nnodes(log: Log, nranks: int | None) -> int | None:
    """Return what the log says, else the number of hosts where all ranks of a communicator are seen."""
    if nranks is None:
        return None
    if nranks in log.nnodes:
        return log.nnodes[nranks]
    complete = (
        set(ranks.values())
        for (_, size), ranks in log.members.items()
        if size == nranks and len(ranks) == nranks and None not in ranks.values()
    )
    return max((len(hosts) for hosts in complete), default=None)


def _of_largest(channels: dict[int | None, int], nranks: int | None) -> int | None:
    """Return the channels of the largest communicator; where no line tells whose they are, the most there are."""
    if nranks in channels:
        return channels[nranks]
    return channels.get(None) or max(channels.values(), default=None)
