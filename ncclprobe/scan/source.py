"""Read hosts from what was captured earlier: a file, a folder of hosts, or the document of a scan.

A folder's subfolders are a host each, with any number of files. Files that lie in the folder itself are told apart by
their names: what remains when the tool's name is taken away is the host's (``dgx001.txt``, ``dgx001.topo.txt``), and
files named after tools alone (``ibv_devinfo.txt``, ``topo.txt``) belong to one host.
"""

from __future__ import annotations

import pathlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from ncclprobe import store
from ncclprobe.decoding import from_json
from ncclprobe.errors import ParseError, UsageError
from ncclprobe.findings import Finding, warning
from ncclprobe.nodesets import natural_key
from ncclprobe.reading import whole_file
from ncclprobe.records.scan import Host, ScanDocument
from ncclprobe.scan.facts import COLLECTED
from ncclprobe.scan.parsers import merge_hosts, read_captured

MAX_BYTES = 64 << 20
"""A larger file is no output of these tools."""

_TOOLS = re.compile(
    r"ibv_?devinfo(?:[_-]?v+)?|ibstatus|ibstat|show_?gids|ibdev2netdev|rdma(?:[_-]?link)?(?:[_-]?show)?|nvidia[_-]?smi|topo(?:logy)?(?:[_-]?mp?)?"
    r"|sysfs|scan|ncclprobe|stdout|out",
    re.IGNORECASE,
)
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
"""How gzip, bzip2, xz, zstd and zip files begin."""

_NOT_CAPTURED = re.compile(r"\..*|readme.*|.*\.md", re.IGNORECASE)


class Source(NamedTuple):
    """What was read."""

    hosts: tuple[Host, ...]
    findings: tuple[Finding, ...]


def read_source(path: pathlib.Path) -> Source:
    """Return the hosts that a file or a folder tells of.

    Raises:
        ParseError: The one file is of no kind that is known.
        UsageError: There is nothing to read.
    """
    if path.is_dir() and not (path / store.DOCUMENT).exists():
        return _read_folder(path)
    file = path / store.DOCUMENT if path.is_dir() else path
    return _read_file(file)


def _read_file(path: pathlib.Path) -> Source:
    text = _text(path)
    if text.lstrip().startswith("{") and '"ncclprobe.scan/' in text[:4096]:
        return _read_document(text, path)
    return Source(tuple(read_captured(text, str(path))), ())


def _text(path: pathlib.Path) -> str:
    try:
        content = whole_file(path, MAX_BYTES)
    except OSError as problem:
        raise UsageError(f"cannot read {path}: {problem.strerror}") from problem
    if content.startswith(_COMPRESSED):
        raise ParseError("this file is compressed; unpack it first", source=str(path))
    return content.decode("utf-8", "replace")


def _read_document(text: str, path: pathlib.Path) -> Source:
    """Return the hosts of an earlier scan, and those of its findings that cannot be found again."""
    try:
        document = from_json(text, ScanDocument)
    except msgspec.DecodeError as problem:
        raise ParseError(f"no document of ncclprobe scan ({problem})", source=str(path)) from problem
    return Source(document.hosts, tuple(finding for finding in document.findings if finding.code in COLLECTED))


# ---- folders


def _read_folder(folder: pathlib.Path) -> Source:
    groups = _groups(folder)
    if not groups:
        raise UsageError(f"{folder} holds no file to read; give it one subfolder a host, or a file a host")
    read = [_read_group(name, files) for name, files in groups.items()]
    hosts = _merged([host for source in read for host in source.hosts], None)
    findings = tuple(finding for source in read for finding in source.findings)
    if not hosts:
        raise UsageError(f"no file in {folder} is an output that is known: {findings[0].message}")
    return Source(hosts, findings)


def _groups(folder: pathlib.Path) -> dict[str | None, list[pathlib.Path]]:
    """Return each host's files, in natural order of hosts; None stands for a host without a name."""
    groups: dict[str | None, list[pathlib.Path]] = defaultdict(list)
    for entry in _captured(folder.iterdir()):
        if entry.is_dir():
            groups[entry.name] += [file for file in _captured(entry.rglob("*")) if file.is_file()]
        elif entry.is_file():
            groups[host_of_file(entry.name)].append(entry)
    return {name: files for name, files in groups.items() if files}


def _captured(entries: Iterable[pathlib.Path]) -> Iterator[pathlib.Path]:
    ordered = sorted(entries, key=lambda path: natural_key(path.name))
    yield from (entry for entry in ordered if not _NOT_CAPTURED.fullmatch(entry.name))


def host_of_file(name: str) -> str | None:
    """Return the host in a file's name, ``dgx001`` of ``dgx001.topo.txt``; None where it names only a tool."""
    stem = re.sub(r"\.(?:txt|log|json|out|cap)$", "", name, flags=re.IGNORECASE)
    parts = [part for part in re.split(r"[.\s]+", stem) if part]
    kept = [rest for part in parts if (rest := _without_tool(part))]
    return ".".join(kept) or None


def _without_tool(part: str) -> str:
    """Return a part of a name without a tool's name at either end, and without what joined the two."""
    bare = re.sub(rf"^(?:{_TOOLS.pattern})(?:[-_]+|$)|(?:^|[-_]+)(?:{_TOOLS.pattern})$", "", part, flags=re.IGNORECASE)
    return bare if bare == part or not bare else _without_tool(bare)


def _read_group(name: str | None, files: Iterable[pathlib.Path]) -> Source:
    """Return what one host's files tell; a file that cannot be read is a finding and hides nothing of the others."""
    hosts: list[Host] = []
    findings: list[Finding] = []
    for file in files:
        try:
            source = _read_file(file)
        except ParseError as problem:
            hint = "take it out of the folder, or capture it again; docs/scan.md lists the kinds"
            findings.append(warning("unrecognised-input", str(file), str(problem), hint))
        else:
            hosts += source.hosts
            findings += source.findings
    return Source(_merged(hosts, name), tuple(findings))


def _merged(hosts: Sequence[Host], name: str | None) -> tuple[Host, ...]:
    """Return one host under the name of its folder or file; hosts that the texts themselves tell apart keep theirs."""
    stated = dict.fromkeys(host.host for host in hosts)
    if len(stated.keys() - {None}) < 2:
        return merge_hosts(hosts, name=name)
    return tuple(
        host for each in stated for host in merge_hosts([host for host in hosts if host.host == each], name=each)
    )
