"""What is worth knowing about a sweep beyond its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ncclprobe.findings import Finding, error, info, warning
from ncclprobe.names import MORE_CHANNELS
from ncclprobe.records.sweep import DEFAULT_CELL, Cell, Choice, Status, Verdict
from ncclprobe.sweep import rules
from ncclprobe.sweep.environment_doubts import environment_doubts
from ncclprobe.sweep.race import Race
from ncclprobe.units import format_seconds, format_size

BROKEN = {
    Status.WRONG: ("wrong-result", "summed wrongly", "Never use it; report it to the library's maintainers."),
    Status.TIMEOUT: ("cell-timeout", "did not end", "Don't use it; raise --timeout if it is only slow."),
}


def doubts(race: Race, choice: Choice, dropped_bytes: int) -> tuple[Finding, ...]:
    """Return the findings of a finished race."""
    return (
        *_broken(race),
        *_deaths(race),
        *_refused(race),
        *environment_doubts(race),
        *_unsettled(race),
        *_table_only(race, choice),
        *_more_channels(race, choice),
        *_torn(dropped_bytes),
    )


def _broken(race: Race) -> Iterator[Finding]:
    for cell, (status, message) in race.evidence.out.items():
        code, what, hint = BROKEN[status]
        detail = f" ({message})" if message else ""
        if cell == DEFAULT_CELL:
            hint = "No choice can be made until the library's own works; see docs/sweep.md."
            yield error("default-broken", cell.label, f"the library's own choice {what}{detail}", hint)
        else:
            yield error(code, cell.label, f"{cell.label} {what}{detail}, so it is out at every size", hint)


def _deaths(race: Race) -> Iterator[Finding]:
    """Yield that ranks died, once for all of it."""
    if deaths := race.evidence.deaths:
        times = f"{len(deaths)} times, the first time" if len(deaths) > 1 else "once"
        yield warning(
            "ranks-lost",
            "sweep",
            f"ranks died or were stopped {times}: {deaths[0]}; what they were at was measured again",
            "Look at dmesg of the host for the out-of-memory killer, and for Xid messages; the scheduler's log knows"
            " what it ended.",
        )


def _refused(race: Race) -> Iterator[Finding]:
    cells: dict[Cell, dict[int, str]] = {}
    for (point, cell), why in race.evidence.refused.items():
        if cell.env and not race.works(cell.env):
            continue
        cells.setdefault(cell, {})[point.size_bytes] = why
    narrow = {cell: sizes for cell, sizes in cells.items() if all(_ran_fewer(cell, why) for why in sizes.values())}
    for cell, sizes in cells.items():
        if cell not in narrow or len(narrow) == 1:
            where = "every size" if len(sizes) == len(race.plan.points) else _sizes(list(sizes))
            why = next(filter(None, sizes.values()), "")
            yield _left_out(cell.label, f"the library refuses {cell.label} at {where}" + (f": {why}" if why else ""))
    if len(narrow) > 1:
        largest = format_size(max(size for sizes in narrow.values() for size in sizes))
        what = f"{len(narrow)} cells ask for more channels than the library uses at some sizes up to {largest}"
        yield _left_out("channels", f"{what} ({', '.join(cell.label for cell in narrow)})")


def _ran_fewer(cell: Cell, why: str) -> bool:
    """Return whether a cell was refused for its number of channels alone."""
    return cell.nchannels is not None and f" ran {cell.algo}/{cell.proto}/" in why


def _left_out(subject: str, message: str) -> Finding:
    return info("cell-refused", subject, message, "Left out there; nothing needs to be done.")


def _unsettled(race: Race) -> Iterator[Finding]:
    if (race.hurried or race.out_of_budget) and race.unsettled:
        yield warning(
            "budget-spent",
            _sizes([point.size_bytes for point in race.unsettled]),
            f"the budget of {format_seconds(race.plan.budget_s or 0)} was spent before these sizes were settled",
            "They keep the defaults; give a larger --budget, or fewer cells and sizes.",
        )
    elif race.least_effort < 1:
        yield info(
            "coarse-resolution",
            "sweep",
            f"at this machine's noise the budget settles gains over about {100 * race.detectable:.1f} %, "
            f"not {100 * rules.DETECTABLE:.1f} %",
            "Give a larger --budget, or make the machine quieter, to tell smaller gains.",
        )


def _more_channels(race: Race, choice: Choice) -> Iterator[Finding]:
    own, most = race.evidence.own_channels, max((row.nchannels or 0 for row in choice.table), default=0)
    if own is not None and most > own:
        yield info(
            "more-channels",
            "choice",
            f"the table asks for {most} channels, more than the {own} that NCCL makes of itself: a job needs"
            f" {MORE_CHANNELS}={most} beside it, and may then use as many at the sizes that the table leaves alone",
            "These were not measured so: confirm with `ncclprobe validate-e2e`, or sweep with"
            f" --env {MORE_CHANNELS}={most}.",
        )


def _table_only(race: Race, choice: Choice) -> Iterator[Finding]:
    own = {name for cell in race.winners.values() for name, _ in cell.env}
    whole = choice.env and not choice.table
    if choice.verdict is Verdict.CHANGE and not whole and not set(choice.env) - own - {MORE_CHANNELS}:
        yield info(
            "table-only",
            "choice",
            "the choice depends on the size, or no variable says it safely",
            "Emit the table with `ncclprobe env emit RUN --format tuner`.",
        )


def _torn(dropped_bytes: int) -> Iterator[Finding]:
    if dropped_bytes:
        yield info(
            "torn-line",
            "journal.jsonl",
            f"the last line was torn when the earlier process ended; {dropped_bytes} bytes were dropped",
            "Its sample was measured again; nothing else was lost.",
        )


def _sizes(sizes: Sequence[int]) -> str:
    return ", ".join(format_size(size) for size in sorted(sizes))
