"""Which cells NCCL has for a collective, the variables that put one in force, and what its log says of what ran. Pure.

Source: NCCL 2.28.9, src/graph/tuning.cc (``ncclTopoTuneModel``: which algorithm has which collective and protocol),
src/init.cc and src/enqueue.cc (the log lines); versions of algorithms from NCCL's release notes
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ncclprobe.names import DEFAULT, Algo, Collective, Proto
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Cell

DTYPES = {"float16": 6, "float32": 7, "float64": 8, "bfloat16": 9, "float8e4m3": 10, "float8e5m2": 11}
"""Type -> NCCL's number (src/nccl.h.in, ``ncclDataType_t``)."""
FP8_SINCE = 22400
"""The version from which NCCL sums 8-bit floats."""
COLLECTIVES = tuple(c for c in Collective if c is not Collective.REDUCE)
"""What the backend runs."""

_ALL_PROTOS = (Proto.LL, Proto.LL128, Proto.SIMPLE)
_RING_ONLY = {Algo.RING: _ALL_PROTOS}
_GATHERING = {Algo.RING: _ALL_PROTOS, Algo.COLLNET_DIRECT: (Proto.SIMPLE,), Algo.NVLS: (Proto.SIMPLE,),
              Algo.PAT: (Proto.SIMPLE,)}  # fmt: skip
_HAVE: Mapping[Collective, Mapping[Algo, tuple[Proto, ...]]] = {
    Collective.ALL_REDUCE: {
        Algo.TREE: _ALL_PROTOS,
        Algo.RING: _ALL_PROTOS,
        Algo.COLLNET_DIRECT: (Proto.SIMPLE,),
        Algo.COLLNET_CHAIN: (Proto.SIMPLE,),
        Algo.NVLS: (Proto.SIMPLE,),
        Algo.NVLS_TREE: (Proto.SIMPLE,),
    },
    Collective.ALL_GATHER: _GATHERING,
    Collective.REDUCE_SCATTER: _GATHERING,
    Collective.BROADCAST: _RING_ONLY,
}
_SINCE = {Algo.NVLS: 21700, Algo.NVLS_TREE: 21800, Algo.PAT: 22300}
_NEEDS = {
    Algo.NVLS: ("NCCL_NVLS_ENABLE", "2"),
    Algo.NVLS_TREE: ("NCCL_NVLS_ENABLE", "2"),
    Algo.COLLNET_DIRECT: ("NCCL_COLLNET_ENABLE", "0"),
    Algo.COLLNET_CHAIN: ("NCCL_COLLNET_ENABLE", "0"),
}
"""The variable that must not be 0, and its value where it is not set (src/transport/nvls.cc, coll_net.cc)."""


def cells(
    collective: Collective, version: int, environment: Mapping[str, str], channels: tuple[int, ...] = ()
) -> tuple[Cell, ...]:
    """Return the cells that are worth asking for; what a communicator then lacks is refused by NCCL's own costs.

    Args:
        collective: Which; those that NCCL runs as sends and receives have none.
        version: As ``ncclGetVersion`` says: 22809.
        environment: Of the ranks: NVLS and CollNet are left out where it switches them off.
        channels: Numbers of channels, each offered for every cell beside NCCL's own number.
    """
    pairs = [
        (algo, proto)
        for algo, protos in _HAVE.get(collective, {}).items()
        if version >= _SINCE.get(algo, 0) and _enabled(algo, environment)
        for proto in protos
    ]
    return tuple(
        Cell(algo=algo.value, proto=proto.value, nchannels=number)
        for number in (None, *sorted(set(channels)))
        for algo, proto in pairs
    )


def _enabled(algo: Algo, environment: Mapping[str, str]) -> bool:
    name, default = _NEEDS.get(algo, ("", "1"))
    return environment.get(name, default).strip() != "0"


def cell_environment(collective: Collective, cell: Cell) -> dict[str, str]:
    """Return NCCL's variables that make a whole program run a collective with a cell.

    Empty for the default, for LL128, whose name in NCCL_PROTO switches off NCCL's own check that it is safe, and for
    channels, which NCCL_MIN_NCHANNELS would set for every collective.

    Source: NCCL 2.28.9, src/graph/tuning.cc (``ncclTopoTuneModel``) and src/init.cc (the per-collective form).
    """
    if cell.is_default or cell.proto == Proto.LL128 or cell.nchannels is not None:
        return {}
    name = collective.csv
    settings = {"NCCL_ALGO": f"{name}:{cell.algo.lower()}", "NCCL_PROTO": f"{name}:{cell.proto.lower()}"}
    return settings if cell.proto != DEFAULT else {"NCCL_ALGO": settings["NCCL_ALGO"]}


def version_text(number: int) -> str:
    """Return ``2.28.9`` for 22809, ``2.8.3`` for 2803.

    Source: NCCL 2.28.9, src/nccl.h.in (``NCCL_VERSION``: two digits a part from 2.9 on)
    """
    major, rest = divmod(number, 10000 if number >= 10000 else 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def version_number(text: str) -> int:
    """Return 22809 for ``NCCL 2.28.9``, 0 where the text has no version."""
    match = re.search(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})", text)
    if match is None:
        return 0
    major, minor, patch = (int(part) for part in match.groups())
    return (10000 if (major, minor) >= (2, 9) else 1000) * major + 100 * minor + patch


class Ran(Record, frozen=True, kw_only=True):
    """What NCCL's log says that an operation ran with."""

    collective: Collective
    """Which."""
    size_bytes: int
    """NCCL's count × type."""
    cell: Cell
    """With the channels that were used."""


_TUNING = re.compile(
    r"(?P<name>\w{1,40}): (?P<size>\d{1,18}) Bytes -> Algo (?P<algo>\w{1,20}) proto (?P<proto>\w{1,20})"
    r" channel\{Lo\.\.Hi\}=\{(?P<low>\d{1,4})\.\.(?P<high>\d{1,4})\}"
)
_CHANNELS = re.compile(r"(\d{1,4}) coll channels, ")


def operations_in(text: str) -> Iterator[Ran]:
    """Yield what each TUNING line of a log says; lines that are cut or of another kind are passed over.

    Source: NCCL 2.24.3 to 2.30.7, src/enqueue.cc (``scheduleCollTasksToPlan``), rank 0 alone
    """
    for match in _TUNING.finditer(text):
        collective, algo, proto = (
            Collective.parse(match["name"]), Algo.parse(match["algo"]), Proto.parse(match["proto"]),
        )  # fmt: skip
        if collective is not None and algo is not None and proto is not None:
            used = int(match["high"]) - int(match["low"]) + 1
            cell = Cell(algo=algo.value, proto=proto.value, nchannels=used)
            yield Ran(collective=collective, size_bytes=int(match["size"]), cell=cell)


def channels_in(text: str) -> list[int]:
    """Return the collective channels of each communicator whose initialisation a log shows.

    Source: NCCL 2.28.9, src/init.cc (``%d coll channels, ...``)
    """
    return [int(match[1]) for match in _CHANNELS.finditer(text)]


def difference(wanted: Cell, ran: Cell) -> str:
    """Return what ran instead of a cell, empty where it ran as asked; what a cell leaves open is NCCL's to choose."""
    if wanted.is_default:
        return ""
    same = wanted.algo == ran.algo and wanted.proto in (DEFAULT, ran.proto)
    if same and wanted.nchannels in (None, ran.nchannels):
        return ""
    return f"NCCL ran {ran.label} instead of {wanted.label}"
