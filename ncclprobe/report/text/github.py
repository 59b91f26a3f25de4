"""Text for people as GitHub shows it in an issue: tables in its own form, what is laid out by hand in fences.

Words that GitHub could take for markup, HTML, a mention or a reference are set as code: a backslash before ``@`` or
``#`` does not keep it from linking them.

Source: GitHub Flavored Markdown Spec 0.29 (4.5 fenced code blocks, 4.10 tables, 6.3 code spans)
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from ncclprobe.report.text.findings import WIDTH

_RULE = re.compile(r"-+(?:  +-+)*")
_FENCE = "```"
_MARKUP = re.compile(r"^(?:[#*+>=~|\s-]|\d+[.)]|export )", re.MULTILINE)
"""Starts of a line that GitHub would take for something else."""
_SPECIAL = re.compile(r"[\\`*_\[\]<>@#&~$]")
_WORD = re.compile(r"(\(?)(\S+?)([.,:;)]*)(?=\s|$)")
"""A word without the punctuation around it."""


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
    rows = [[_safe(cell) for cell in row] for row in rows]
    align = ["right" if _is_right(lines, span) else "left" for span in spans]
    columns = [_safe(header[start:end].strip()) for start, end in spans]
    return tabulate(rows, columns, tablefmt="github", disable_numparse=True, colalign=align if rows else None)


def _is_right(lines: Sequence[str], span: tuple[int, int]) -> bool:
    cells = [line[span[0] : span[1]].ljust(span[1] - span[0]) for line in lines]
    return any(cell.startswith(" ") and cell.strip() for cell in cells) and not any(
        cell.endswith(" ") for cell in cells
    )


def _prose(lines: list[str]) -> str:
    if len(lines) == 2 and set(lines[1]) == {"="}:
        return f"## {_safe(lines[0])}"
    text = "\n".join(lines)
    wrapped = textwrap.fill(" ".join(lines), WIDTH, break_on_hyphens=False, break_long_words=False)
    return _safe(text) if text == wrapped and not _MARKUP.search(text) else _fenced(text)


def _fenced(text: str) -> str:
    """Return a text in a fence that is longer than any within."""
    fence = max([_FENCE, *(f"{run}`" for run in re.findall("`+", text))], key=len)
    return f"{fence}\n{text}\n{fence}"


def _safe(text: str) -> str:
    """Return a text as GitHub shows it letter by letter."""
    return _WORD.sub(lambda found: f"{found[1]}{_code(found[2])}{found[3]}", text)


def _code(word: str) -> str:
    """Return a word, as code where it holds more than letters, figures and what means nothing to GitHub."""
    if not _SPECIAL.search(word):
        return word.replace("|", "\\|")
    if "|" in word:  # a backslash before it would no longer be told from one that escapes
        return f"<code>{''.join(letter if letter.isalnum() else f'&#{ord(letter)};' for letter in word)}</code>"
    ticks = max(["`", *(f"{run}`" for run in re.findall("`+", word))], key=len)
    space = " " if word.startswith("`") or word.endswith("`") else ""
    return f"{ticks}{space}{word}{space}{ticks}"
