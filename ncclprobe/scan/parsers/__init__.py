"""Captured outputs of other tools -> hosts: ``read_captured`` for one text, ``merge_hosts`` for several of one host."""

from __future__ import annotations

from ncclprobe.captured import clean
from ncclprobe.errors import ParseError
from ncclprobe.records.scan import Host
from ncclprobe.scan import facts
from ncclprobe.scan.parsers import assign, keyed, listing, recognise
from ncclprobe.scan.parsers.assign import merge_hosts

__all__ = ["merge_hosts", "read_captured"]


def read_captured(text: str, source: str) -> tuple[Host, ...]:
    """Return what a captured text says, one record a host, in order of first appearance.

    Args:
        text: One or several outputs of the tools that ``recognise.KINDS`` lists, of one or several hosts.
        source: The file's name, for messages.

    Raises:
        ParseError: The text holds no such output.
    """
    lines = clean(text)
    hosts = assign.hosts_of(recognise.sightings(lines))
    if hosts:
        return hosts
    if hcas := listing.read(lines):
        return (Host(host=None, hcas=tuple(hcas)),)
    if ports := recognise.unnamed_ports(lines):
        return (Host(host=None, facts=((facts.UNNAMED_PORTS, keyed.unnamed(ports)),)),)
    message = f"this is no output that scan reads; it reads {recognise.KINDS} (for NCCL logs and others: inspect)"
    raise ParseError(message, source=source, text=next((line.text for line in lines if line.text.strip()), ""))
