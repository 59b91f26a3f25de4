"""What people read after ``profile``: whose messages, the sizes that carry them, what ran, findings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from tabulate import tabulate

from ncclprobe.records.profile import Basis, CommKernel, Message, ProfileDocument, ProfileKind, ProfileSource
from ncclprobe.report.text.findings import WIDTH, findings_text
from ncclprobe.units import format_seconds, format_size

_SHOWN = 20
"""Rows of a table before the rest is counted only."""


def profile_text(document: ProfileDocument, path: str = "", *, with_findings: bool = True) -> str:
    """Return whose messages these are, a row a size, what ran, and the findings.

    Args:
        document: The result.
        path: Its run directory; empty for none.
        with_findings: Let the findings stand below; without, they only count for the answer.
    """
    parts = [
        textwrap.fill(profile_verdict(document), WIDTH, break_on_hyphens=False, break_long_words=False),
        _sources(document),
        _messages(document),
        _kernels(document),
        findings_text(document.findings if with_findings else ()),
        f"Run directory: {path}" if path else "",
    ]
    return "\n\n".join(part for part in parts if part)


def profile_verdict(document: ProfileDocument) -> str:
    """Return the answer in a sentence."""
    share = document.comm_share
    tail = "" if share is None else f" NCCL's kernels take {share:.1%} of the kernels' time."
    if not document.messages:
        return f"No message was found.{tail}"
    count, sizes = sum(one.count for one in document.messages), len({one.size_bytes for one in document.messages})
    total = sum(one.count * one.size_bytes for one in document.messages)
    who = f" of {document.rank}" if document.rank else ""
    steps = f" in {document.steps} decode steps" if document.steps else ""
    inferred = sum(one.count for one in document.messages if one.basis is Basis.INFERRED)
    basis = f"; {inferred / count:.0%} of them inferred from graph replays" if inferred and count else ""
    noun = "size" if sizes == 1 else "sizes"
    return f"{count} operations of {sizes} {noun}{who}{steps}, {total / 1e9:.3g} GB in all{basis}.{tail}"


def _sources(document: ProfileDocument) -> str:
    lines = []
    for source in document.sources:
        lines += textwrap.wrap(
            _source(source), WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
        )
    return "\n".join(lines)


def _source(source: ProfileSource) -> str:
    files = f" and {source.files - 1} more" if source.files > 1 else ""
    if source.kind is ProfileKind.SGLANG:
        return f"{source.source}{files}: sglang, {source.operations} decode steps"
    noun = ("kernels", "devices") if source.kind is ProfileKind.NSYS else ("operations", "ranks")
    ranks = f" on {source.ranks} {noun[1]}" if source.ranks > 1 else ""
    alike = {True: ", all alike", False: ", not alike", None: ""}[source.alike]
    return f"{source.source}{files}: {source.kind}, {source.operations} {noun[0]}{ranks}{alike}"


def _messages(document: ProfileDocument) -> str:
    total = sum(one.count * one.size_bytes for one in document.messages) or 1
    rows = [_message(one, total) for one in document.messages[:_SHOWN]]
    if not rows:
        return ""
    table = tabulate(rows, headers=("collective", "type", "size", "count", "of bytes", ""), disable_numparse=True,
                     colalign=("left", "left", "right", "right", "right", "left"))  # fmt: skip
    rest = document.messages[_SHOWN:]
    if not rest:
        return table
    share = sum(one.count * one.size_bytes for one in rest) / total
    return f"{table}\nand {len(rest)} more with {share:.1%} of the bytes; --json has all"


def _message(one: Message, total: int) -> tuple[str, ...]:
    share = one.count * one.size_bytes / total
    basis = f"inferred from {one.seen} seen" if one.basis is Basis.INFERRED else ""
    return one.collective, one.dtype or "-", format_size(one.size_bytes), str(one.count), f"{share:.1%}", basis


def _kernels(document: ProfileDocument) -> str:
    rows = list(dict.fromkeys(_kernel_rows(document.kernels[:_SHOWN])))  # two sources may tell of the same
    if not rows:
        return ""
    table = tabulate(rows, headers=("collective", "type", "algo", "proto", "count", "time", "each"),
                     disable_numparse=True, colalign=("left",) * 4 + ("right",) * 3)  # fmt: skip
    more = len(document.kernels) - _SHOWN
    return f"What ran:\n\n{table}" + (f"\nand {more} more; --json has all" if more > 0 else "")


def _kernel_rows(kernels: tuple[CommKernel, ...]) -> Iterator[tuple[str, ...]]:
    for one in kernels:
        timed = one.time_us is not None and one.count > 0
        time = format_seconds((one.time_us or 0.0) / 1e6) if timed else "-"
        each = format_seconds((one.time_us or 0.0) / one.count / 1e6) if timed else "-"
        yield one.collective, one.dtype or "-", one.algo or "-", one.proto or "-", str(one.count), time, each
