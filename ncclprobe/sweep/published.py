"""Read the table of published bus bandwidths that comes with the package (data/published_busbw says how it is kept)."""

from __future__ import annotations

import csv
import functools
import importlib.resources

import msgspec

from ncclprobe.records.normal import PublishedFigure

TABLE = "published_busbw.csv"


@functools.cache
def published_figures() -> tuple[PublishedFigure, ...]:
    """Return every row."""
    text = (importlib.resources.files(__package__) / TABLE).read_text(encoding="utf-8")
    return tuple(msgspec.convert(row, PublishedFigure, strict=False) for row in csv.DictReader(text.splitlines()))
