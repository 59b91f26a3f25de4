"""Do the tuner plugin's records of a run agree with NCCL's own log of the same run, message by message?

    python scripts/profile_agreement.py TRIAL... [--all]

TRIAL is a folder with NCCL's logs (nccl.*, a file a process, with COLL or TUNING lines) and the plugin's records
(tuner.*), such as `validate-e2e --workload sglang` leaves in a run's trials/. Processes are paired by their number.
COLL lines tell of every rank (validate-e2e writes them where both arms have NCCL_DEBUG_SUBSYS=INIT,TUNING,COLL); TUNING
lines, taken where there are none, of rank 0 of each communicator, and of what ran.
Where counts differ, or with --all everywhere, both are shown. Exit status 0 if all that both saw agrees, 3 if not.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import sys
from typing import NamedTuple

from tabulate import tabulate

from ncclprobe.records.tuner import TUNED_COLLECTIVES, Recorded
from ncclprobe.units import format_size
from ncclprobe.workload.calls import NcclLines
from ncclprobe.workload.recorded import is_record, read_record
from ncclprobe.workload.streams import PIECE_BYTES, whole_lines


class Message(NamedTuple):
    """What is counted."""

    collective: str
    size: int
    """Bytes of the larger buffer."""


class Choice(NamedTuple):
    """What ran."""

    collective: str
    algo: str
    proto: str


Counts = dict[str, collections.Counter[Message]]
Ran = dict[str, collections.Counter[Choice]]


class Logged(NamedTuple):
    """What NCCL's logs say, by process number."""

    kind: str
    messages: Counts
    others: int
    """Operations that NCCL asks no tuner about."""
    ran: Ran


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", type=pathlib.Path, nargs="+", metavar="TRIAL")
    parser.add_argument("--all", action="store_true", help="show what agrees as well")
    options = parser.parse_args()
    agreed = [compared(trial, show_all=options.all) for trial in options.trials]
    return 0 if all(agreed) else 3


def compared(trial: pathlib.Path, *, show_all: bool) -> bool:
    logged, records = logs_of(trial), records_of(trial)
    both = sorted(set(logged.messages) & set(records))
    print(f"{trial}: {logged.kind} lines of {len(logged.messages)} processes, records of {len(records)}")
    if logged.others:
        print(f"  {logged.others} operations that NCCL asks no tuner about")
    results = [one_process(pid, logged, records[pid], show_all=show_all) for pid in both]
    if not both:
        print("  no process with both; nothing was compared")
    return bool(both) and all(results)


def one_process(pid: str, logged: Logged, record: Recorded, *, show_all: bool) -> bool:
    """Compare a process's messages, and what ran where the log says it."""
    seen, told = logged.messages[pid], messages_in(record)
    rows = [
        (one.collective, format_size(one.size), seen[one], told[one], "" if seen[one] == told[one] else "DIFFERS")
        for one in sorted(set(seen) | set(told), key=lambda one: (one.collective, one.size))
    ]
    alike = sum(not row[-1] for row in rows)
    print(
        f"  process {pid}: {alike} of {len(rows)} messages alike; {seen.total()} operations in the log, "
        f"{told.total()} in the record" + (f", {record.overflow} without room" if record.overflow else "")
    )
    shown = [row for row in rows if show_all or row[-1]]
    if shown:
        print(tabulate(shown, ("collective", "size", "log", "record", "")))
    return alike == len(rows) and same_ran(pid, logged.ran.get(pid), record)


def same_ran(pid: str, logged: collections.Counter[Choice] | None, record: Recorded) -> bool:
    if not logged:
        return True
    told: collections.Counter[Choice] = collections.Counter()
    for answer in record.answers:
        told[Choice(str(answer.collective), answer.algo or "?", answer.proto or "?")] += answer.operations
    for one in sorted(set(logged) | set(told)):
        if logged[one] != told[one]:
            print(f"  process {pid} ran {' '.join(one)} {logged[one]} times by the log, {told[one]} by the record")
    if logged == told:
        print(f"  process {pid}: what ran is alike: " + ", ".join(f"{' '.join(one)} {n}" for one, n in told.items()))
    return logged == told


def messages_in(record: Recorded) -> collections.Counter[Message]:
    counts: collections.Counter[Message] = collections.Counter()
    for answer in record.answers:
        size = answer.size_bytes * answer.count // max(1, answer.operations)  # a group is one question
        counts[Message(str(answer.collective), size)] += answer.operations
    return counts


def records_of(trial: pathlib.Path) -> dict[str, Recorded]:
    contents = ((path, path.read_bytes()) for path in sorted(trial.glob("tuner.*")) if path.is_file())
    records = [read_record(content, str(path)) for path, content in contents if is_record(content)]
    return {str(record.pid): record for record in records if record.asked}


def logs_of(trial: pathlib.Path) -> Logged:
    lines = NcclLines()
    for path in sorted(trial.glob("nccl.*")):
        with path.open("rb") as file:
            for piece in whole_lines(iter(lambda file=file: file.read(PIECE_BYTES), b"")):  # type: ignore[misc]
                lines.feed(piece)
    tally, kind = (lines.calls, "COLL") if lines.calls.ranks else (lines.sized, "TUNING")
    messages: Counts = {}
    others = 0
    for rank, operations in tally.ranks.items():
        counts = messages.setdefault(process_of(rank), collections.Counter())
        for operation, count in operations.items():
            if operation.collective in set(TUNED_COLLECTIVES) and operation.nranks != 1:
                counts[Message(operation.collective, operation.size)] += count
            else:
                others += count
    ran: Ran = {}
    for rank, choices in lines.choices.items():
        mine = ran.setdefault(process_of(rank), collections.Counter())
        for one, count in choices.items():
            mine[Choice(one.collective, one.algo, one.proto)] += count
    return Logged(kind, messages, others, ran)


def process_of(rank: str) -> str:
    """Return ``3365`` for ``vm:3365[0]``."""
    return rank.rpartition(":")[2].partition("[")[0]


if __name__ == "__main__":
    sys.exit(main())
