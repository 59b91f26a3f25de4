"""Descriptions of simulated fabrics: TOML and CSV in, records out.

A description has ``name``, ``nodes`` (names, or their number), ``gpus_per_node``, ``rails`` (names, or their number),
then ``[times] table = "times.csv"`` or ``[model.<algo>.<proto>]`` with ``latency_us`` and ``bandwidth_gbps``, and what
goes wrong: ``[noise]``, ``[slow_nodes]``, ``[[slow_links]]``, ``[[slow_rails]]``, ``[[faults]]``; ``[[env]]`` says what
variables do.
"""

from __future__ import annotations

import csv
import io
import math
import pathlib
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ncclprobe.bandwidth import busbw_factor
from ncclprobe.decoding import from_toml
from ncclprobe.errors import ParseError, UsageError, reason
from ncclprobe.names import DEFAULT, Collective
from ncclprobe.reading import whole_file
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Cell, Environment, Point

TABLE_COLUMNS = ("collective", "dtype", "size_bytes", "algo", "proto", "nchannels", "time_us")


class Noise(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How samples scatter. Absent means 0."""

    cv: float = 0.0
    """Coefficient of variation of a sample, log-normal; the table's time is the median."""
    drift: float = 0.0
    """Standard deviation of the log of a slow factor common to all cells; correlation time 2 s simulated."""
    outlier_rate: float = 0.0
    """Share of samples."""
    outlier_factor: float = 1.0
    """What multiplies such a sample's time."""
    launch_cv: float = 0.0
    """Coefficient of variation of a factor drawn once for all samples of a launch, cell and size."""
    launch_outlier_rate: float = 0.0
    """Share of those factors."""
    launch_outlier_factor: float = 1.0
    """What multiplies such a factor."""


class SlowLink(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A slow path between two nodes."""

    nodes: tuple[str, str]
    """Its ends."""
    factor: float
    """Share of a healthy link's speed."""


class SlowRail(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A slow rail."""

    rail: str
    """Its name."""
    factor: float
    """Share of a healthy rail's speed."""


class Fault(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measurements that sum wrongly or hang."""

    kind: Literal["wrong", "hang"]
    """What happens."""
    algo: str
    """Of the cells concerned."""
    proto: str | None = None
    """None: with every protocol."""
    nchannels: int | None = None
    """None: with any number of channels."""
    size_bytes: int | None = None
    """None: at every size."""
    rate: float = 1.0
    """Share of the cells' measurements that go wrong."""

    def concerns(self, cell: Cell, size_bytes: int | None = None) -> bool:
        """Return whether the cell is one of those that go wrong, at a size or at any."""
        if None not in (size_bytes, self.size_bytes) and size_bytes != self.size_bytes:
            return False
        wanted = (self.algo, self.proto or cell.proto, self.nchannels or cell.nchannels)
        return wanted == (cell.algo, cell.proto, cell.nchannels)


class EnvEffect(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a variable of the ranks' processes does to times."""

    name: str
    """Of the variable."""
    value: str
    """With which it does that; a variable that is not set does nothing."""
    factor: float
    """Multiplies the time: 0.95 is faster."""
    from_bytes: int = 0
    """Smallest size concerned."""
    to_bytes: int | None = None
    """Largest size concerned; None for no limit."""
    algo: str | None = None
    """Of the cells concerned; None: of all."""
    proto: str | None = None
    """Of the cells concerned; None: of all."""
    together: dict[str, str] = msgspec.field(default_factory=dict, name="with")
    """Other variables with the values that they must have, empty for not being set."""

    def concerns(self, cell: Cell, size_bytes: int, env: Mapping[str, str]) -> bool:
        """Return whether it changes the time of a cell at a size with these variables."""
        wanted = {self.name: self.value, **self.together}
        fits = (self.algo or cell.algo, self.proto or cell.proto) == (cell.algo, cell.proto)
        inside = self.from_bytes <= size_bytes <= (math.inf if self.to_bytes is None else self.to_bytes)
        return fits and inside and all(env.get(name, "") == value for name, value in wanted.items())


class Fabric(Record, frozen=True, kw_only=True):
    """A simulated cluster."""

    name: str
    """For people."""
    nodes: tuple[str, ...]
    """In order."""
    gpus_per_node: int
    """Ranks a node."""
    rails: tuple[str, ...]
    """Empty where the description has none."""
    times: dict[Point, dict[Cell, float]]
    """Median time of one operation in µs, for each point and cell; empty with a model."""
    model: dict[Cell, tuple[float, float]]
    """Latency in µs and bus bandwidth in GB/s of each cell; empty with a table."""
    noise: Noise
    """How samples scatter."""
    slow_nodes: dict[str, float]
    """Share of a healthy node's speed."""
    slow_links: tuple[SlowLink, ...]
    """Slow paths."""
    slow_rails: tuple[SlowRail, ...]
    """Slow rails."""
    faults: tuple[Fault, ...]
    """Cells that sum wrongly or hang."""
    env: tuple[EnvEffect, ...] = ()
    """What variables do."""

    @property
    def nranks(self) -> int:
        """Return the ranks of a communicator over all nodes."""
        return len(self.nodes) * self.gpus_per_node

    @property
    def speed(self) -> float:
        """Return the share of a healthy fabric's speed that a collective over all nodes has."""
        links = (link.factor for link in self.slow_links)
        rails = (rail.factor for rail in self.slow_rails)
        return min(1.0, *self.slow_nodes.values(), *links, *rails, 1.0)

    def median_times(self, point: Point, env: Environment = ()) -> dict[Cell, float]:
        """Return each cell's median time in µs at a point, the default's among them; empty where it has none.

        A model's default is the cell that is fastest with no variable set, whatever variables do to it.
        """
        table = self.times.get(point) or self._modelled(point)
        if not env:
            return {cell: time / self.speed for cell, time in table.items()}
        chosen = Cell() if point in self.times or Cell() in self.model else min(self.model, key=lambda c: table[c])
        factors = {cell: self._factor(chosen if cell.is_default else cell, point, dict(env)) for cell in table}
        return {cell: time / self.speed * factors[cell] for cell, time in table.items()}

    def _factor(self, cell: Cell, point: Point, env: Mapping[str, str]) -> float:
        return math.prod(effect.factor for effect in self.env if effect.concerns(cell, point.size_bytes, env))

    def cells(self, collective: Collective) -> tuple[Cell, ...]:
        """Return the cells that the collective can run with, the default not among them."""
        if self.model:
            return tuple(sorted((cell for cell in self.model if not cell.is_default), key=lambda cell: cell.key))
        points = (cells for point, cells in self.times.items() if point.collective == collective)
        return tuple(dict.fromkeys(cell for cells in points for cell in cells if not cell.is_default))

    def _modelled(self, point: Point) -> dict[Cell, float]:
        factor = busbw_factor(Collective(point.collective), self.nranks)
        times = {
            cell: latency + point.size_bytes * factor / bandwidth / 1e3
            for cell, (latency, bandwidth) in self.model.items()
        }
        return {Cell(): min(times.values()), **times} if times else {}


def read_fabric(path: pathlib.Path) -> Fabric:
    """Return the fabric that a TOML file describes; a table's path is relative to it.

    Raises:
        UsageError: The file cannot be read.
        ParseError: It is not a fabric's description.
    """
    text = _read(path)
    try:
        content = from_toml(text)
    except tomllib.TOMLDecodeError as problem:
        raise ParseError(f"not TOML: {problem}", source=str(path)) from problem
    table = _section(content, "times", path).get("table")
    times = parse_times(_read(path.parent / str(table)), str(path.parent / str(table))) if table is not None else {}
    return parse_fabric(content, times, str(path))


def _read(path: pathlib.Path) -> str:
    try:
        return whole_file(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"cannot read {path}: {reason(problem)}") from problem


def _section(content: dict[str, Any], name: str, source: object) -> dict[str, Any]:
    section = content.get(name, {})
    if not isinstance(section, dict):
        raise ParseError(f"{name!r} is no table; write [{name}]", source=str(source))
    return section


def parse_fabric(content: dict[str, Any], times: dict[Point, dict[Cell, float]], source: str) -> Fabric:
    """Return the fabric of a parsed TOML document and its table of times.

    Raises:
        ParseError: A value is missing, of the wrong type, out of range or names what is not there.
    """
    try:
        fabric = msgspec.convert(
            {
                "name": content.get("name", source),
                "nodes": _node_names(content, source),
                "gpus_per_node": content.get("gpus_per_node", 1),
                "rails": _rail_names(content.get("rails", ()), source),
                "times": {},
                "model": {},
                **{key: content.get(key, {}) for key in ("noise", "slow_nodes")},
                **{key: content.get(key, ()) for key in ("slow_links", "slow_rails", "faults", "env")},
            },
            Fabric,
        )
    except msgspec.ValidationError as problem:
        raise ParseError(f"not a fabric's description: {problem}", source=source) from problem
    fabric = fabric.with_(times=times, model=_model(_section(content, "model", source), source))
    _check(fabric, source)
    return fabric


def _node_names(content: dict[str, Any], source: str) -> Any:
    """Return the names; a number follows the pattern of the slow nodes' names, ``node001`` where there is none."""
    nodes = content.get("nodes", 1)
    if not _is_number(nodes):
        return nodes
    if not 1 <= nodes <= 100_000:
        raise ParseError(f"nodes = {nodes}; there must be 1 to 100000", source=source)
    named = [*_section(content, "slow_nodes", source), *_linked_names(content.get("slow_links"))]
    match = re.fullmatch(r"(.*[^0-9]|)([0-9]{1,18})", str(named[0])) if named else None
    prefix, width = (match[1], len(match[2])) if match else ("node", 3)
    return [f"{prefix}{number:0{width}}" for number in range(1, nodes + 1)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _linked_names(links: Any) -> list[Any]:
    """Return the names in the slow links, as far as these are what they should be; parse_fabric says if not."""
    ends = [link.get("nodes") for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    return [name for pair in ends if isinstance(pair, list) for name in pair]


def _rail_names(rails: Any, source: str) -> Any:
    if not _is_number(rails):
        return rails
    if not 0 <= rails <= 1000:
        raise ParseError(f"rails = {rails}; there must be 0 to 1000", source=source)
    return [f"rail{number}" for number in range(rails)]


def _model(section: dict[str, Any], source: str) -> dict[Cell, tuple[float, float]]:
    cells = {}
    for algo, protos in section.items():
        if not isinstance(protos, dict):
            raise ParseError(f"[model] {algo} is no table; write [model.{algo}.<proto>]", source=source)
        for proto, values in protos.items():
            cells[Cell(algo=algo, proto=proto)] = _modelled_cell(f"[model.{algo}.{proto}]", values, source)
    return cells


def _modelled_cell(where: str, values: Any, source: str) -> tuple[float, float]:
    try:
        latency, bandwidth = float(values["latency_us"]), float(values["bandwidth_gbps"])
    except (KeyError, TypeError, ValueError) as problem:
        raise ParseError(f"{where} needs latency_us and bandwidth_gbps", source=source) from problem
    if not (0 <= latency < math.inf and 0 < bandwidth < math.inf):
        raise ParseError(f"{where} needs a latency_us of 0 or more and a bandwidth_gbps over 0", source=source)
    return latency, bandwidth


def _check(fabric: Fabric, source: str) -> None:
    known, rails = set(fabric.nodes), set(fabric.rails)
    named = [*fabric.slow_nodes, *(name for link in fabric.slow_links for name in link.nodes)]
    unknown = [name for name in named if name not in known]
    unknown += [rail.rail for rail in fabric.slow_rails if rails and rail.rail not in rails]
    if unknown:
        raise ParseError(f"slow {unknown[0]!r} is not one of the fabric's nodes and rails", source=source)
    factors = [*fabric.slow_nodes.values(), *(link.factor for link in fabric.slow_links)]
    factors += [rail.factor for rail in fabric.slow_rails]
    shares = [fabric.noise.outlier_rate, fabric.noise.launch_outlier_rate, *(fault.rate for fault in fabric.faults)]
    if any(not 0 < factor <= 1 for factor in factors) or any(not 0 <= share <= 1 for share in shares):
        raise ParseError("a factor must be over 0 and at most 1, a rate from 0 to 1", source=source)
    if len(known) != len(fabric.nodes) or not fabric.nodes or fabric.gpus_per_node < 1:
        raise ParseError("nodes must be named once each, and gpus_per_node be 1 or more", source=source)
    _check_noise(fabric.noise, source)
    for effect in fabric.env:
        if not (effect.name and effect.value and 0 < effect.factor < math.inf):
            raise ParseError(
                f"[[env]] {effect.name!r} needs a name, a value and a factor over 0; no value is no effect",
                source=source,
            )


def _check_noise(noise: Noise, source: str) -> None:
    for name in Noise.__struct_fields__:
        if not 0 <= getattr(noise, name) < math.inf:
            raise ParseError(f"[noise] {name} = {getattr(noise, name)}; it must be 0 or more", source=source)
    for kind in ("outlier", "launch_outlier"):
        if getattr(noise, f"{kind}_rate") and not getattr(noise, f"{kind}_factor"):
            raise ParseError(f"[noise] {kind}_factor must be over 0 beside {kind}_rate", source=source)


def parse_times(text: str, source: str) -> dict[Point, dict[Cell, float]]:
    """Return the times of a table with the columns of TABLE_COLUMNS; an empty nchannels leaves it to the library.

    Raises:
        ParseError: A column is missing, a value is no number, a cell is there twice, or a point lacks its default.
    """
    try:
        return _times(csv.DictReader(io.StringIO(text), skipinitialspace=True), text.partition("\n")[0], source)
    except csv.Error as problem:
        raise ParseError(f"not CSV ({problem})", source=source) from problem


def _times(reader: csv.DictReader[str], header: str, source: str) -> dict[Point, dict[Cell, float]]:
    missing = [name for name in TABLE_COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ParseError(f"the table lacks the column {missing[0]!r}", source=source, line=1, text=header)
    times: dict[Point, dict[Cell, float]] = {}
    for row in reader:
        point, cell, time = _table_row(row, source, reader.line_num)
        if cell in times.setdefault(point, {}):
            raise ParseError(
                f"a second row for {cell.label} at {point.size_bytes} bytes", source=source, line=reader.line_num
            )
        times[point][cell] = time
    for point, cells in times.items():
        if Cell() not in cells:
            raise ParseError(
                f"no row with algo default for {point.collective} of {point.size_bytes} bytes", source=source
            )
    return times


def _table_row(row: dict[str, Any], source: str, line: int) -> tuple[Point, Cell, float]:
    collective = Collective.parse(str(row["collective"]))
    try:
        point = Point(
            collective=collective or "", dtype=str(row["dtype"]).strip(), size_bytes=int(str(row["size_bytes"]))
        )
        time = float(str(row["time_us"]))
        nchannels = _channels(row["nchannels"])
    except ValueError as problem:
        raise ParseError(f"not a row of times ({problem})", source=source, line=line, text=str(row)) from problem
    algo, proto = str(row["algo"]).strip(), str(row["proto"] or "").strip()
    if collective is None or not algo or not 0 < time < math.inf or point.size_bytes < 1:
        wrong = "an unknown collective, no algorithm, or a size or time that is not over 0"
        raise ParseError(wrong, source=source, line=line, text=str(row))
    if algo == DEFAULT:
        return point, Cell(), time
    return point, Cell(algo=algo, proto=proto or DEFAULT, nchannels=nchannels), time


def _channels(text: Any) -> int | None:
    value = str(text or "").strip()
    if value in ("", "-", "-1", "0", DEFAULT):
        return None
    if not value.isdigit():
        raise ValueError(f"nchannels {value!r}")
    return int(value)
