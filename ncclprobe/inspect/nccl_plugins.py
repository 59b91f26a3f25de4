"""Which plugins NCCL looked for and loaded.

Source: NCCL 2.28.9, src/plugin/plugin_open.cc, net.cc, tuner.cc, profiler.cc; 2.12 to 2.22, src/net.cc and
src/misc/tuner.cc; aws-ofi-nccl 1.13, src/nccl_ofi_net.cpp.
"""

from __future__ import annotations

import re

from ncclprobe.records.inspect import Plugin

_INTERNAL = frozenset({"IB", "Socket", "GIN_IB", "GIN_IB_PROXY", "GIN_IB_GDAKI"})
_LIBRARY = r"[\w./+-]+\.so[\w.]*"
_RULES: tuple[tuple[re.Pattern[str], str | None, bool], ...] = tuple(
    (re.compile(pattern), kind, loaded)
    for pattern, kind, loaded in (
        (r"P2P plugin (?:v\d+ )?(?P<name>\S+)", "net", True),
        (r"Using network (?P<name>\S.*)", "net", True),
        (r"(?:Initialized|Assigned) NET plugin (?P<name>\S.*?)(?: to comm)?$", "net", True),
        (r"NET/OFI (?:Initializing|Using) (?P<name>aws-ofi-nccl\b.*)", "net", True),
        (r"Loaded collnet plugin (?P<name>\S.*?)(?: \(v\d+\))?$", "collnet", True),
        (r"COLL(?:NET)? plugin (?:v\d+ )?(?P<name>\S+)", "collnet", True),
        (r"Loaded (?:net |coll)?plugin (?P<name>\S.*?)(?: \(v\d+\))?$", None, True),
        (r"PROFILER/Plugin ?: Loaded (?P<name>\S.*?)(?: \(v\d+\))?$", "profiler", True),
        (r"Successfully loaded external (?P<kind>network|env|tuner|profiler|gin)? ?plugin (?P<name>\S+)", None, True),
        (
            r"TUNER/Plugin ?: Using (?!internal)(?:tuner )?(?:plugin )?(?P<name>[\w .+-]*?\S)(?: \(v\d+\))?$",
            "tuner",
            True,
        ),
        (rf"No plugin found \((?P<name>{_LIBRARY})\)", None, False),
        (rf"Could not find ?:? ?(?P<name>{_LIBRARY})", None, False),
        (rf"when loading (?P<name>{_LIBRARY})", None, False),
        (rf"Plugin load \((?P<name>{_LIBRARY})\) returned", None, False),
        (r"Plugin load returned .*? : (?P<name>" + _LIBRARY + ")", None, False),
        (rf"dlerror=(?P<name>{_LIBRARY})", None, False),
    )
)
_KIND = re.compile(r"\b(NET|TUNER|PROFILER|COLLNET|ENV|GIN|RMA)/Plugin", re.IGNORECASE)
_KINDS = {"network": "net"}
_SPEAKER = re.compile(r"NET/(?!IB\b|Socket\b|Plugin\b)(?P<name>\w[\w.-]*)")
"""A network that speaks with a name of its own; it counts where nothing else names a plugin."""


class Plugins:
    """The plugins seen so far."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str], bool] = {}

    def take(self, text: str) -> None:
        """Read a message that may speak of a plugin; the first rule that fits decides."""
        for pattern, kind, loaded in _RULES:
            match = pattern.search(text)
            if match:
                self._add(_kind(match, kind, text), match["name"].strip(" ."), loaded=loaded)
                return
        speaker = _SPEAKER.match(text)
        if speaker and not any(kind == "net" and loaded for (kind, _), loaded in self._loaded.items()):
            self._add("net", speaker["name"], loaded=True)

    def found(self) -> tuple[Plugin, ...]:
        """Return each plugin once, in order of appearance."""
        return tuple(Plugin(kind=kind, name=name, loaded=loaded) for (kind, name), loaded in self._loaded.items())

    def _add(self, kind: str, name: str, *, loaded: bool) -> None:
        if name not in _INTERNAL:
            self._loaded[kind, name] = loaded or self._loaded.get((kind, name), False)


def _kind(match: re.Match[str], kind: str | None, text: str) -> str:
    named = match.groupdict().get("kind")
    if kind or named:
        return kind or _KINDS.get(str(named), str(named))
    stated = _KIND.search(text)
    return stated[1].lower() if stated else "net"
