"""What people read after ``sweep``: the verdict, a line a size, the table, findings."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator

from tabulate import tabulate

from ncclprobe.names import DEFAULT
from ncclprobe.records.sweep import CellResult, Ratio, Status, SweepDocument, TableRow, Verdict
from ncclprobe.report.text.environments import (
    chosen_environment,
    environment_key,
    environment_numbers,
    environments_text,
)
from ncclprobe.report.text.findings import WIDTH, findings_text
from ncclprobe.report.text.normal import normal_text, shares
from ncclprobe.report.text.prediction import prediction_text
from ncclprobe.report.text.ratios import ends
from ncclprobe.units import format_seconds, format_size

_COLUMNS = ("size", "default", "busbw", "best other", "time", "vs default", "")
_SHARE, _AFTER_BUSBW = "of limit", 3
_CHANGE = "*"


def sweep_text(document: SweepDocument, path: str = "", *, with_findings: bool = True) -> str:
    """Return the verdict, a row a size, the chosen table, the cost and the findings.

    Args:
        document: The result.
        path: Its run directory; empty for none.
        with_findings: Let the findings stand below; without, they only count for the answer.
    """
    parts = [
        textwrap.fill(verdict_sentence(document), WIDTH, break_on_hyphens=False),
        _sizes_table(document),
        normal_text(document.normal),
        _chosen_table(document.choice.table),
        _environment(document.choice.env),
        prediction_text(document.prediction),
        environments_text(document),
        _effort(document),
        findings_text(document.findings if with_findings else ()),
        f"Run directory: {path}" if path else "",
    ]
    return "\n\n".join(part for part in parts if part)


def verdict_sentence(document: SweepDocument) -> str:
    """Return the answer in a sentence."""
    choice = document.choice
    who = f"{document.library}, {document.nranks} ranks"
    if any(_is_default(cell) and cell.status in (Status.WRONG, Status.TIMEOUT) for cell in document.cells):
        return f"No answer: the library's own choice does not work, so nothing can be compared with it ({who})."
    if choice.verdict is Verdict.KEEP_DEFAULTS:
        return f"{_kept(document)} ({who})."
    ranges = "one range" if len(choice.table) == 1 else f"{len(choice.table)} ranges"
    means = [f"{name}={value}" for name, value in chosen_environment(document).items()]
    means += [f"{ranges} of sizes"] if choice.table else []
    over = "all measured sizes" if document.prediction is None else "the workload's sizes"
    return f"Change: {_percent(choice.gain)} over {over}, by {' and '.join(means)} ({who})."


def looks_faster(document: SweepDocument) -> bool:
    """Return whether the budget ended before gains were confirmed in fresh launches, and an interval excludes 1."""
    spent = any(finding.code == "budget-spent" for finding in document.findings)
    return spent and any(cell.vs_default and cell.vs_default.low > 1 for cell in document.cells if _is_compared(cell))


def _kept(document: SweepDocument) -> str:
    """Return why the defaults are kept: what was compared with them, if anything was."""
    cells = document.cells
    if not any(cell.time_us for cell in cells):
        return "No answer: nothing could be measured"
    if looks_faster(document):
        return "Keep the defaults for now: the budget ended before any gain was confirmed"
    if any(_is_compared(cell) for cell in cells):
        return "Keep the defaults: no setting beats them clearly at any size"
    other = "no other setting was tried" if all(map(_is_default, cells)) else "no other setting works"
    return f"Keep the defaults: {other}, so nothing was compared with them"


def _is_compared(cell: CellResult) -> bool:
    return cell.vs_default is not None and cell.status in (Status.OK, Status.ELIMINATED)


def _percent(ratio: Ratio) -> str:
    low, high = 100 * (ratio.low - 1), 100 * (ratio.high - 1)
    return f"{100 * (ratio.ratio - 1):.1f} % faster (95 % interval {low:.1f} to {high:.1f} %)"


def _sizes_table(document: SweepDocument) -> str:
    rows = [_size_row(document, size, cells) for size, cells in _by_size(document)]
    columns: tuple[str, ...] = _COLUMNS
    align: tuple[str, ...] = ("right",) * 3 + ("left",) + ("right",) * 2 + ("left",)
    if found := shares(document.normal):
        rows = [_inserted(row, found.get(size, "-")) for row, (size, _) in zip(rows, _by_size(document), strict=True)]
        columns, align = _inserted(columns, _SHARE), _inserted(align, "right")
    table = tabulate(rows, headers=columns, disable_numparse=True, colalign=align)
    return f"{table}\n{_CHANGE} change it" if document.choice.verdict is Verdict.CHANGE else table


def _inserted(row: tuple[str, ...], text: str) -> tuple[str, ...]:
    return (*row[:_AFTER_BUSBW], text, *row[_AFTER_BUSBW:])


def _by_size(document: SweepDocument) -> Iterator[tuple[int, list[CellResult]]]:
    sizes: dict[int, list[CellResult]] = defaultdict(list)
    for cell in document.cells:
        sizes[cell.size_bytes].append(cell)
    yield from sorted(sizes.items())


def _size_row(document: SweepDocument, size: int, cells: list[CellResult]) -> tuple[str, ...]:
    default = next(filter(_is_default, cells))
    numbers, env = environment_numbers(document), chosen_environment(document)
    chosen = next((row for row in document.choice.table if row.min_bytes <= size <= row.max_bytes), None)
    others = [cell for cell in cells if _is_compared(cell)]
    best = max(
        others, key=lambda cell: (_is(cell, chosen, env), cell.vs_default.ratio if cell.vs_default else 0), default=None
    )
    start = (format_size(size), _time(default), f"{default.busbw_gbps:.3g}" if default.busbw_gbps else "-")
    if best is None or best.vs_default is None:
        return (*start, "-", "-", "-", "")
    ratio = best.vs_default
    against = f"{ratio.ratio:.3f} ({'-'.join(ends(ratio))})"
    label = _label(best) + (f" [{numbers[environment_key(best.env)]}]" if best.env else "")
    return (*start, label, _time(best), against, _CHANGE if chosen or env else "")


def _is_default(cell: CellResult) -> bool:
    return cell.algo == DEFAULT and not cell.env


def _is(cell: CellResult, row: TableRow | None, env: dict[str, str]) -> bool:
    """Return whether a cell is what the choice runs: a row's setting, or with variables alone the library's own."""
    wanted = (row.algo, row.proto, row.nchannels) if row else (DEFAULT, DEFAULT, None)
    return bool(row or env) and cell.env == env and (cell.algo, cell.proto, cell.nchannels) == wanted


def _label(cell: CellResult | TableRow) -> str:
    parts = [cell.algo] + [cell.proto] * (cell.proto != DEFAULT)
    return "/".join([*parts, f"{cell.nchannels}ch"] if cell.nchannels is not None else parts)


def _time(cell: CellResult) -> str:
    return format_seconds(cell.time_us.median / 1e6) if cell.time_us else "-"


def _chosen_table(rows: tuple[TableRow, ...]) -> str:
    if not rows:
        return ""
    lines = [(row.collective, format_size(row.min_bytes), format_size(row.max_bytes), _label(row)) for row in rows]
    return "The table; the library decides everywhere else:\n\n" + tabulate(
        lines,
        headers=("collective", "from", "to", "setting"),
        disable_numparse=True,
        colalign=("left", "right", "right"),
    )


def _environment(env: dict[str, str]) -> str:
    return "\n".join(["To set:", *(f"  {name}={value}" for name, value in env.items())]) if env else ""


def _effort(document: SweepDocument) -> str:
    cost = document.cost
    share = f", {cost.measured_s / cost.exhaustive_s:.0%} of the plain design's" if cost.exhaustive_s else ""
    samples = sum(cell.samples for cell in document.cells)
    return f"{samples} samples in {document.launches} launches: {format_seconds(cost.measured_s)} of measuring{share}."
