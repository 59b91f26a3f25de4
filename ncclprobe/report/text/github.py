"""Text for people as GitHub shows it in an issue: tables in its own form, what is laid out by hand in fences."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from ncclprobe.report.text.findings import WIDTH

_RULE = re.compile(r"-+(?:  +-+)*")
_FENCE = "```"
_MARKUP = ("#", "*", "-", ">", " ", "export ")
"""Starts of a paragraph that GitHub would take for something else."""


def github_text(text: str) -> str:
    """Return what pastes well into an issue: the same words, with tables, headings and fences in GitHub's form."""
    return "\n\n".join(part for block in _blocks(text) for part in _converted(block))


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield what empty lines separate."""
    for filled, lines in itertools.groupby(text.splitlines(), key=bool):
        if filled:
            yield list(lines)


def _converted(block: list[str]) -> Iterator[str]:
    """Yield a block's table with what stands before and after it, or its prose."""
    rule = next((at for at, line in enumerate(block) if at and _RULE.fullmatch(line.rstrip())), None)
    if rule is None:
        yield _prose(block)
        return
    spans = [(match.start(), match.end()) for match in re.finditer("-+", block[rule])]
    end = next((at for at in range(rule + 1, len(block)) if not _fits(block[at], spans)), len(block))
    if rule > 1:
        yield _prose(block[: rule - 1])
    yield _table(block[rule - 1], block[rule + 1 : end], spans)
    if end < len(block):
        yield _prose(block[end:])


def _fits(line: str, spans: Sequence[tuple[int, int]]) -> bool:
    """Return whether a line is a row: nothing stands between its columns."""
    gaps = [line[left_end:start] for (_, left_end), (start, _) in itertools.pairwise(spans)]
    return not "".join(gaps).strip() and len(line) <= spans[-1][1]


def _table(header: str, lines: Sequence[str], spans: Sequence[tuple[int, int]]) -> str:
    rows: list[list[str]] = []
    for line in lines:
        cells = [line[start:end].strip() for start, end in spans]
        if rows and not cells[0]:  # the rest of a cell that was wrapped
            rows[-1] = [f"{cell} {more}".strip() for cell, more in zip(rows[-1], cells, strict=True)]
        else:
            rows.append(cells)
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    align = ["right" if _is_right(lines, span) else "left" for span in spans]
    columns = [header[start:end].strip() for start, end in spans]
    return tabulate(rows, columns, tablefmt="github", disable_numparse=True, colalign=align if rows else None)


def _is_right(lines: Sequence[str], span: tuple[int, int]) -> bool:
    cells = [line[span[0] : span[1]].ljust(span[1] - span[0]) for line in lines]
    return any(cell.startswith(" ") and cell.strip() for cell in cells) and not any(
        cell.endswith(" ") for cell in cells
    )


def _prose(lines: list[str]) -> str:
    if len(lines) == 2 and set(lines[1]) == {"="}:
        return f"## {lines[0]}"
    text = "\n".join(lines)
    wrapped = textwrap.fill(" ".join(lines), WIDTH, break_on_hyphens=False, break_long_words=False)
    return text if text == wrapped and not text.startswith(_MARKUP) else f"{_FENCE}\n{text}\n{_FENCE}"
