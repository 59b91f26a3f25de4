"""Single values as the tools print them -> what the records hold; None for what says nothing.

Source: rdma-core 58, libibverbs/examples/devinfo.c and infiniband-diags/ibstat.c; Linux 6.8,
drivers/infiniband/core/sysfs.c (``state``, ``phys_state``, ``rate``).
"""

from __future__ import annotations

import functools
import ipaddress
import re

from ncclprobe.names import LinkLayer, PortState

_STATE = re.compile(r"(?:\d+:\s*)?(?:PORT_)?(ACTIVE|DOWN|INIT|ARMED)(?:IALIZING)?(?![A-Z_])", re.IGNORECASE)
_ENUMERATOR = re.compile(r"(?<!\s)\s*\(\d{1,9}\)$|^\d{1,9}:\s*")
_REMARK = re.compile(r"\s{2,}|\t|\s(?=#|//|<-|\u2190|\u25c0|--)")
_GUID = re.compile(r"((?:0x)?[0-9a-f]{16}|[0-9a-f]{4}(?::[0-9a-f]{4}){3})(?:\s.*)?", re.IGNORECASE)
_MASKED_GID = re.compile(r"[0-9a-f.*x]{0,4}(?::[0-9a-f.*x]{0,4}){7}", re.IGNORECASE)
_LINK_LAYERS = {"ib": LinkLayer.INFINIBAND}
_SILENT = ("", "n/a", "na", "none", "unknown", "<unknown>", "-", "???")
_WIDTH = re.compile(r"\s*(\d{1,18})X", re.IGNORECASE)
_SPEED = re.compile(r"\s*(\d+(?:\.\d+)?)\s*Gbps", re.IGNORECASE)


def state(text: str) -> PortState | None:
    """Return the logical state that ``PORT_ACTIVE (4)``, ``4: ACTIVE`` or ``Initializing`` means."""
    match = _STATE.match(text.strip())
    return PortState.parse(match[1]) if match else None


def word(text: str) -> str | None:
    """Return a value without its enumerator: ``LINK_UP`` of ``LINK_UP (5)``, ``LinkUp`` of ``5: LinkUp``."""
    bare = _ENUMERATOR.sub("", _REMARK.split(text.strip())[0]).strip()
    return None if bare.lower() in _SILENT else bare


def link_layer(text: str) -> LinkLayer | None:
    """Return the link layer; ibstatus says ``IB`` where the kernel has no word for it."""
    bare = re.split(r"\W", text.strip())[0]
    return _LINK_LAYERS.get(bare.lower()) or LinkLayer.parse(bare)


def integer(text: str) -> int | None:
    """Return the integer that a value starts with, decimal or not: 4096 of ``4096 (5)``, 13247 of ``0x33bf``."""
    match = re.match(r"\s*(0x[0-9a-f]{1,16}|\d{1,18})(?![\w.])", text, re.IGNORECASE)
    return int(match[1], 0 if match[1][:2].lower() == "0x" else 10) if match else None


def gbps(text: str) -> float | None:
    """Return the rate that a value starts with: 200 of ``200 Gb/sec (4X HDR)``, 2.5 of ``2.5``; None for 0."""
    match = re.match(r"\s*(\d{1,18}(?:\.\d{1,18})?)", text)
    return float(match[1]) or None if match else None


def port_rate(width: str, speed: str) -> float | None:
    """Return the whole port's Gbit/s, lanes times a lane's speed: 100 of ``2X (16)`` and ``50.0 Gbps (64)``."""
    lanes, lane = _WIDTH.match(width), _SPEED.match(speed)
    return int(lanes[1]) * float(lane[1]) if lanes and lane else None


def guid(text: str) -> str | None:
    """Return a GUID as printed, without a remark behind it; None where it is cut or masked."""
    match = _GUID.fullmatch(text.strip())
    return match[1] if match else None


def hexadecimal(text: str | None) -> str:
    """Return a GUID's bare hexadecimal digits, for comparing those of different tools; nothing for zero and None."""
    bare = (text or "").lower().removeprefix("0x").replace(":", "")
    return bare if bare.strip("0") else ""


def gid(text: str) -> str | None:
    """Return a GID as printed, None where it is none or an empty entry; one with masked digits (``xxxx``) counts."""
    bare = text.strip()
    known = address(bare)
    return bare if (known and int(known)) or (not known and _MASKED_GID.fullmatch(bare)) else None


@functools.lru_cache(maxsize=4096)
def address(text: str) -> ipaddress.IPv6Address | None:
    """Return what a GID means, for comparing long and short notations."""
    try:
        return ipaddress.IPv6Address(text)
    except ValueError:
        return None


def gid_type(text: str) -> str | None:
    """Return ``RoCE v1``, ``RoCE v2`` or ``IB``, None for anything else (a cut value, for example)."""
    match = re.search(r"(?:^|\W)v([12])(?:\.0)?\b", text, re.IGNORECASE)
    if match:
        return f"RoCE v{match[1]}"
    return "IB" if text.strip().upper() in ("IB", "INFINIBAND") else None


def part_id(text: str) -> int | None:
    """Return the PCI device id in a name such as ``MT4129``."""
    match = re.match(r"\s*MT(\d{4,6})\b", text, re.IGNORECASE)
    return int(match[1]) if match else None


def numa_node(text: str) -> int | None:
    """Return a NUMA node; None for ``N/A``, ``-1`` and several nodes."""
    bare = text.strip()
    return int(bare) if re.fullmatch(r"\d{1,6}", bare) else None


def pci_bus_id(text: str) -> str | None:
    """Return a PCI address in sysfs's spelling: ``0000:1a:00.0``."""
    match = re.fullmatch(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", text.strip().lower())
    return f"{(match[1] or '0000')[-4:]}:{match[2]}" if match else None


def is_bond(*names: str | None) -> bool:
    """Return whether a device's or an interface's name says that it bonds several ports."""
    return any(re.search(r"(?:^|[^a-z])bond", name) for name in names if name)
