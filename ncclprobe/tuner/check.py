"""Whether a table's rows are in force: which sizes show it, and what a fresh communicator's answers say. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ncclprobe.findings import Finding, error, warning
from ncclprobe.names import DEFAULT, Algo, Collective, Proto
from ncclprobe.records.check import IN_FORCE, CheckedRow, CheckedSize, CheckedVariable, Outcome, Place
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.precedence import Precedence
from ncclprobe.records.sweep import Cell
from ncclprobe.records.tuner import AnswerSource, Recorded, RecordedAnswer
from ncclprobe.units import format_size

MOST_BYTES = 1 << 30
"""The largest size that is tried: a row may have no upper end, a GPU's memory has."""
WITHIN = (Place.LOW, Place.HIGH)
_WORST = (Outcome.FAILED, Outcome.REFUSED, Outcome.OTHER, Outcome.UNTRIED, Outcome.APPLIED)

_ELSEWHERE = (
    "Check on as many nodes and ranks as were measured, with the other variables that `env emit` names, "
    "NCCL_MIN_NCHANNELS among them; unset those that choose algorithms."
)
_HINTS = {
    Outcome.REFUSED: "Take the row out, or sweep again on these nodes: it was measured where NCCL has that setting.",
    Outcome.FAILED: "Take the row out and report it to NCCL's maintainers; `ncclprobe sweep` tries the setting again.",
    Outcome.OTHER: _ELSEWHERE,
    Outcome.UNTRIED: _ELSEWHERE,
}


class Seen(NamedTuple):
    """What a size's operations showed."""

    ran: Cell | None = None
    """By NCCL's log."""
    trouble: str = ""
    """That they summed wrongly or did not end."""


class Heard(NamedTuple):
    """What fresh ranks showed in all."""

    sizes: Mapping[tuple[str, int], Seen]
    """By collective and size."""
    records: tuple[Recorded, ...]
    """The plugin's, one a rank."""
    nranks: int
    """Ranks."""
    by_table: bool
    """Whether a table was loaded; else variables are to do it."""

    @property
    def nnodes(self) -> int | None:
        """Return how many nodes NCCL saw, None where nothing was asked."""
        return next((answer.nnodes for record in self.records for answer in record.answers), None)

    def answers(self, collective: str, size: int) -> list[RecordedAnswer]:
        """Return what the ranks were asked about a size."""
        return [
            answer
            for record in self.records
            for answer in record.answers
            if answer.collective == collective and answer.size_bytes == size
        ]


def places(row: TunerRow, unit: int) -> dict[Place, int]:
    """Return the sizes that show whether a row is in force, each once; empty where ranks can send none within it.

    Args:
        row: Of a table.
        unit: Bytes of the smallest size; all others are multiples.
    """
    low = max(-(-row.min_bytes // unit), 1) * unit
    high = min(row.max_bytes, MOST_BYTES) // unit * unit
    if low > high:
        return {}
    found = {Place.BELOW: low - unit, Place.LOW: low, Place.HIGH: high, Place.ABOVE: high + unit}
    left_out = {
        Place.BELOW: low == unit,
        Place.HIGH: high == low,
        Place.ABOVE: row.max_bytes >= MOST_BYTES,
    }
    return {place: size for place, size in found.items() if not left_out.get(place)}


def tried(row: TunerRow, nranks: int) -> bool:
    """Return whether a communicator of so many ranks can match a row."""
    return row.nranks in (None, nranks)


def matching(rows: Iterable[TunerRow], collective: str, size: int, nranks: int, nnodes: int | None) -> TunerRow | None:
    """Return the first row that an operation matches, as the plugin finds it."""
    for row in rows:
        shape = row.nranks in (None, nranks) and (nnodes is None or row.nnodes in (None, nnodes))
        if row.collective == collective and row.min_bytes <= size <= row.max_bytes and shape:
            return row
    return None


def checked(rows: Sequence[TunerRow], units: Callable[[str], int | None], heard: Heard) -> tuple[CheckedRow, ...]:
    """Return each row with what ran at its ends and just outside.

    Args:
        rows: The table.
        units: Collective -> bytes of its smallest size; None where it was not run.
        heard: What the ranks showed.
    """
    return tuple(_row(row, rows, units(row.collective), heard) for row in rows)


def _row(row: TunerRow, rows: Sequence[TunerRow], unit: int | None, heard: Heard) -> CheckedRow:
    if unit is None or not tried(row, heard.nranks):
        return CheckedRow(row=row, outcome=Outcome.UNTRIED, sizes=())
    found = places(row, unit)
    upper = found.get(Place.HIGH, found.get(Place.LOW))
    sizes = tuple(_size(row, rows, place, size, heard, exact=size == upper) for place, size in found.items())
    if not heard.by_table:  # a variable reaches further than what was measured
        sizes = tuple(one for one in sizes if one.place in WITHIN)
    within = {one.outcome for one in sizes if one.place in WITHIN}
    worst = next((outcome for outcome in _WORST if outcome in within), Outcome.UNTRIED)
    return CheckedRow(row=row, outcome=worst, sizes=sizes)


def _size(
    row: TunerRow, rows: Sequence[TunerRow], place: Place, size: int, heard: Heard, *, exact: bool
) -> CheckedSize:
    answers, seen = heard.answers(row.collective, size), heard.sizes.get((row.collective, size), Seen())
    wanted = matching(rows, row.collective, size, heard.nranks, heard.nnodes)
    ran, within = seen.ran or _told(answers), place in WITHIN
    outcome, reason = _judged(wanted, ran, answers, seen, heard)
    if within and wanted is not row and outcome in IN_FORCE:
        outcome, reason, wanted = Outcome.OTHER, _elsewhere(row, wanted, heard), row
    elif exact and outcome is Outcome.APPLIED and _too_few(row, ran):
        outcome, reason = Outcome.OTHER, f"NCCL ran {ran.label if ran else ''}"
    return CheckedSize(
        size_bytes=size,
        place=place,
        wanted=setting(wanted) if wanted else None,
        ran=ran.label if ran else None,
        outcome=outcome,
        reason=reason,
    )


def _told(answers: Sequence[RecordedAnswer]) -> Cell | None:
    """Return what NCCL took by the plugin's record; its number of channels is an upper bound, so it is left out."""
    known = next((answer for answer in answers if answer.algo and answer.proto), None)
    return Cell(algo=known.algo or "", proto=known.proto or "") if known else None


def _judged(
    wanted: TunerRow | None, ran: Cell | None, answers: Sequence[RecordedAnswer], seen: Seen, heard: Heard
) -> tuple[Outcome, str]:
    """Return whether what is wanted is in force, and why it is not."""
    if seen.trouble:
        return Outcome.FAILED, seen.trouble
    if not answers and ran is None:
        return Outcome.UNTRIED, "NCCL said nothing of it, and did not ask the plugin"
    if refusal := next((answer.refused for answer in answers if answer.refused), None):
        return Outcome.REFUSED, f"NCCL says {refusal}"
    if reason := _misled(wanted, answers, heard):
        return Outcome.OTHER, reason
    if wanted is None:
        return Outcome.LEFT_ALONE, ""
    if reason := _differs(wanted, ran):
        return Outcome.OTHER, reason
    return Outcome.APPLIED, ""


def _misled(wanted: TunerRow | None, answers: Sequence[RecordedAnswer], heard: Heard) -> str:
    """Return what is wrong with the plugin's answers, whatever ran."""
    sources = {answer.source for answer in answers}
    if AnswerSource.FORCED in sources:
        return "NCCLPROBE_TUNER_FORCE comes before the table"
    if heard.by_table and sources and sources != {AnswerSource.TABLE if wanted else AnswerSource.LEFT_ALONE}:
        return "the plugin left NCCL alone" if wanted else "the plugin applied a row where none matches"
    if len({(answer.algo, answer.proto, answer.nchannels) for answer in answers}) > 1:
        return "ranks were told different settings"
    return ""


def _differs(wanted: TunerRow, ran: Cell | None) -> str:
    """Return what ran instead of a row."""
    if ran is None:
        return "nothing says what ran"
    same = wanted.algo in (DEFAULT, ran.algo) and wanted.proto in (DEFAULT, ran.proto)
    few = not wanted.nchannels or ran.nchannels is None or ran.nchannels <= wanted.nchannels
    return "" if same and few else f"NCCL ran {ran.label}"


def _too_few(row: TunerRow, ran: Cell | None) -> bool:
    """Return whether NCCL used fewer channels than a row has: its right for little traffic, not at the upper end."""
    return bool(row.nchannels and ran and ran.nchannels and ran.nchannels < row.nchannels)


def _elsewhere(row: TunerRow, wanted: TunerRow | None, heard: Heard) -> str:
    if wanted is not None:
        return f"an earlier row comes first, with {setting(wanted)}"
    return f"the row is for {row.nnodes} nodes, and NCCL saw these ranks on {heard.nnodes}"


def setting(row: TunerRow) -> str:
    """Return ``Tree/LL128/8ch`` for a row."""
    return Cell(algo=row.algo, proto=row.proto, nchannels=row.nchannels or None).label


def span(row: TunerRow) -> str:
    """Return ``all_reduce 64K to 1M``."""
    return f"{row.collective} {format_size(row.min_bytes)} to {format_size(row.max_bytes)}"


def foreign(rows: Iterable[TunerRow]) -> bool:
    """Return whether rows name what NCCL does not have: an MPI library's algorithms."""
    return any(
        (row.algo != DEFAULT and Algo.parse(row.algo) is None)
        or (row.proto != DEFAULT and Proto.parse(row.proto) is None)
        for row in rows
    )


def collectives(rows: Iterable[TunerRow]) -> tuple[Collective, ...]:
    """Return the collectives of rows, each once."""
    return tuple(dict.fromkeys(Collective(row.collective) for row in rows))


def doubts(rows: Iterable[CheckedRow], variables: Iterable[CheckedVariable], nranks: int) -> Iterator[Finding]:
    """Yield what is not in force.

    Args:
        rows: As they were checked.
        variables: Likewise.
        nranks: Ranks that were started.
    """
    rows = tuple(rows)
    yield from overlaps([one.row for one in rows])
    for one in rows:
        subject = f"{span(one.row)} {setting(one.row)}"
        if one.outcome is Outcome.UNTRIED:
            yield _untried(one, subject, nranks)
        else:
            yield from _not_in_force(one, subject)
    for variable in variables:
        if not variable.in_force:
            yield _not_set(variable)


def overlaps(rows: Sequence[TunerRow]) -> Iterator[Finding]:
    """Yield each row that an earlier one takes sizes from: the first that matches wins, without a word."""
    before = Precedence()
    for row in rows:
        number = before.contesting(row)
        before.add(row)
        if number is not None:
            earlier = rows[number]
            low, high = max(row.min_bytes, earlier.min_bytes), min(row.max_bytes, earlier.max_bytes)
            yield warning(
                "tuner-rows-overlap",
                f"{span(row)} {setting(row)}",
                f"{format_size(low)} to {format_size(high)} an earlier row takes, {span(earlier)} {setting(earlier)}.",
                "Let the ranges end where the next ones begin, so that the table says what runs.",
            )


def _untried(one: CheckedRow, subject: str, nranks: int) -> Finding:
    if not tried(one.row, nranks):
        message = f"The row is for {one.row.nranks} ranks, and {nranks} were started."
        return warning("row-untried", subject, message, f"Check it with --nranks {one.row.nranks}.")
    reason = next((size.reason for size in one.sizes if size.reason), "no size lies in it that these ranks can send")
    hint = "Nothing, if no job sends such messages; else look at them in a job's record (NCCLPROBE_TUNER_RECORD)."
    return warning("row-untried", subject, f"The row could not be tried: {reason}.", hint)


def _not_in_force(one: CheckedRow, subject: str) -> Iterator[Finding]:
    """Yield what is wrong within a row, and beside it where no row matches: the others speak for themselves."""
    wrong: dict[tuple[str | None, Outcome, str], list[CheckedSize]] = {}
    for size in one.sizes:
        if size.outcome not in IN_FORCE and (size.wanted is None or size.place in WITHIN):
            wrong.setdefault((size.wanted, size.outcome, size.reason), []).append(size)
    for (wanted, outcome, reason), sizes in wrong.items():
        where = " and ".join(dict.fromkeys(format_size(size.size_bytes) for size in sizes))
        what = wanted or "NCCL's own choice"
        yield error("row-not-in-force", subject, f"At {where} {what} is to run, but {reason}.", _HINTS[outcome])


def _not_set(variable: CheckedVariable) -> Finding:
    seen = ", ".join(dict.fromkeys(word or "no such variable" for word in variable.seen))
    message = f"It is to be {variable.value}, but ranks have {seen}."
    hint = "Check that the MPI library is the one that was measured, and that nothing else sets the variable."
    return error("variable-not-in-force", variable.name, message, hint)
