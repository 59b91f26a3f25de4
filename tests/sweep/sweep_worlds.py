"""Small simulated worlds with a known truth, and races in them, for the tests of sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ncclprobe.backends.fabric import Fabric, Fault, Noise
from ncclprobe.backends.simulated import SimulatedBackend
from ncclprobe.records.sweep import DEFAULT_CELL, Block, Cell, Launch, LaunchEnd, Measurement, Point, Status
from ncclprobe.sweep.evidence import Evidence
from ncclprobe.sweep.race import Race, RacePlan

LL, LL128, SIMPLE = (Cell(algo="Tree", proto=proto) for proto in ("LL", "LL128", "Simple"))
RING = Cell(algo="Ring", proto="Simple")
CELLS = (LL, LL128, SIMPLE, RING)
SIZES = (1 << 10, 1 << 15, 1 << 20, 1 << 25)
QUIET = Noise(cv=0.03, launch_cv=0.01)

Line = Launch | Measurement | LaunchEnd


def point(size: int = 1 << 10, collective: str = "all_reduce") -> Point:
    return Point(collective=collective, dtype="float32", size_bytes=size)


POINTS = tuple(point(size) for size in SIZES)


def world(
    gains: Mapping[tuple[int, Cell], float] | None = None,
    noise: Noise = QUIET,
    faults: tuple[Fault, ...] = (),
    sizes: tuple[int, ...] = SIZES,
    cells: tuple[Cell, ...] = CELLS,
) -> Fabric:
    """Return a fabric on which all cells equal the default but for gains: (size, cell) -> default's time / cell's."""
    base = {point(size): 10.0 + size / 1e5 for size in sizes}
    times = {
        p: {c: t / (gains or {}).get((p.size_bytes, c), 1.0) for c in (DEFAULT_CELL, *cells)} for p, t in base.items()
    }
    return Fabric(
        name="world",
        nodes=("a", "b"),
        gpus_per_node=2,
        rails=(),
        times=times,
        model={},
        noise=noise,
        slow_nodes={},
        slow_links=(),
        slow_rails=(),
        faults=faults,
    )


def plan_of(fabric: Fabric, seed: int = 1, **changes: object) -> RacePlan:
    cells = tuple(dict.fromkeys(c for row in fabric.times.values() for c in row if not c.is_default))
    plan = RacePlan(points=tuple(fabric.times), cells=cells, nranks=fabric.nranks, seed=seed, timeout_s=1.0)
    return plan.with_(**changes)


def steps(race: Race, fabric: Fabric) -> Iterator[Line]:
    """Run a race, yielding each line that its journal would get."""
    backend = SimulatedBackend.of(fabric)
    while launch := race.next_launch():
        race.begin(launch)
        yield launch
        for measurement in backend.measure(launch):
            race.add(measurement)
            yield measurement
        end = LaunchEnd(launch=launch.index, seconds=0.0)
        race.end(end)
        yield end


def raced(fabric: Fabric, seed: int = 1, **changes: object) -> Race:
    race = Race(plan_of(fabric, seed, **changes))
    for _ in steps(race, fabric):
        pass
    return race


def measured(
    cells: tuple[Cell, ...],
    times: tuple[float | None, ...],
    *,
    block: int = 0,
    launch: int = 0,
    at: Point | None = None,
    statuses: tuple[Status, ...] = (),
    **changes: object,
) -> Measurement:
    measurement = Measurement(
        launch=launch,
        point=at or point(),
        block=block,
        cells=cells,
        times_us=times,
        statuses=statuses or (Status.OK,) * len(cells),
        wrong=(0,) * len(cells),
        spent_s=sum(filter(None, times)) / 1e6,
    )
    return measurement.with_(**changes)


def evidence_of(fabric: Fabric, launches: int, repeat: int, seed: int = 1, stage: str = "explore") -> Evidence:
    """Return what so many launches of the fabric's every cell show."""
    evidence, backend, plan = Evidence(), SimulatedBackend.of(fabric), plan_of(fabric, seed)
    blocks = tuple(Block(point=p, cells=(DEFAULT_CELL, *plan.cells), repeat=repeat) for p in plan.points)
    for index in range(launches):
        launch = Launch(
            index=index, stage=stage, nranks=4, blocks=blocks, warmups=1, timeout_s=plan.timeout_s, seed=seed
        )
        evidence.begin(launch)
        for measurement in backend.measure(launch):
            evidence.add(measurement)
    return evidence
